"""The user's own image files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_sets
from PIL import Image

from nasrun.datasets import DatasetError
from nasrun.datasets.image_folder import ImageFolder
from tests import picture_files
from tests.support import fingerprint

RAW = small_sets.mini()


def fill(folder: Path, per_class: int, suffix: str = ".png") -> Path:
    """The first images of three classes as files, named so that their order is not that of their writing."""
    for label, name in enumerate(("shirt", "bag", "coat")):
        (folder / name).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(RAW.training.labels == label)[:per_class]):
            picture = Image.fromarray(RAW.training.images[index, 0])
            picture.save(folder / name / f"{(number * 7) % 100:03d}{suffix}")
    return folder


def test_pixels_classes_and_order(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    data = ImageFolder(path=str(tmp_path), height=28, width=28, channels=1)
    assert (data.task.channels, data.task.height, data.task.width, data.task.outputs) == (1, 28, 28, 3)
    splits = data.load()
    assert splits.classes == ("bag", "coat", "shirt")
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [22, 2, 6]
    for part in (splits.train, splits.validation, splits.test):
        for image, label in zip(part.images, part.labels, strict=True):
            original = RAW.training.labels[:200][[(image == other).all() for other in RAW.training.images[:200]]]
            assert {"shirt": 0, "bag": 1, "coat": 2}[splits.classes[label]] in original
    files = sorted((tmp_path / "bag").iterdir())
    raw = ImageFolder(path=str(tmp_path), height=28, width=28, channels=1, test=0.01).read()  # one of 30 is cut off
    bags = [raw.training.images[raw.training.labels == 0], raw.test.images[raw.test.labels == 0]]
    assert sorted(image.tobytes() for part in bags for image in part) == sorted(
        np.asarray(Image.open(path)).tobytes() for path in files
    )
    order = [image.tobytes() for image in bags[0]]
    assert order == [pixels for path in files if (pixels := np.asarray(Image.open(path)).tobytes()) in order]


def test_train_and_test_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", 5)
    fill(tmp_path / "test", 2)
    splits = ImageFolder(path=str(tmp_path), height=28, width=28, channels=3).load()
    assert [len(split) for split in (splits.whole_training, splits.test)] == [15, 6]
    assert splits.test.images.shape == (6, 3, 28, 28)
    assert (splits.test.images[:, 0] == splits.test.images[:, 2]).all()


def load(path: Path, **options: Any) -> ImageFolder:
    """The data set of a folder, read."""
    data = ImageFolder(path=str(path), height=20, width=20, **options)
    data.load()
    return data


def sizes(data: ImageFolder) -> list[int]:
    splits = data.load()
    return [len(part) for part in (splits.train, splits.validation, splits.test)]


def test_unreadable_images_are_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    path = tmp_path / "coat" / "007.png"
    path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=rf"^{path}: cannot be read as an image .*dataset\.corrupt=skip$") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(path)
    with pytest.raises(DatasetError, match=f"^{path}: 16 bits per channel"):
        load(tmp_path)


def test_all_files_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    """Ten by name and the number of the others, in all parts, with a remedy of each kind."""
    picture_files.fill(tmp_path / "train")
    picture_files.fill(tmp_path / "test", 3, seed=1)
    for number in range(9):
        (tmp_path / "train" / "dog" / f"{number}.png").write_bytes(b"" if number else b"text")
    picture_files.write_png16(tmp_path / "train" / "cat" / "0.png", np.full((20, 20, 3), 4095))
    (tmp_path / "test" / "emu" / "1.png").write_bytes(b"text")
    (tmp_path / "test" / "emu" / "2.png").write_bytes(b"text")
    with pytest.raises(DatasetError) as error:
        load(tmp_path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"dataset.path={tmp_path}: 12 files cannot be used: train/cat/0.png: 16 bits per channel, ")
    for part in ("train/dog/0.png: cannot be read as an image (of no known kind), ", "(it is empty), and 2 more; "):
        assert part in text
    assert "; of train/cat/0.png: save it with 8" in text
    assert "; of train/dog/0.png: replace or delete it; " in text
    assert text.endswith("to ignore files that cannot be read as images, add dataset.corrupt=skip")


def test_corrupt_files_are_skipped_where_that_is_wished_and_counted(tmp_path: Path) -> None:
    picture_files.fill(tmp_path)
    for number in range(3):
        (tmp_path / "dog" / f"{number}.png").write_bytes(b"")
    data = load(tmp_path, corrupt="skip")
    assert sum(sizes(data)) == 33
    assert data.notes.passed_over == {"that cannot be read as images (dataset.corrupt=skip)": 3}
    found = fingerprint(data)
    same = picture_files.fill(tmp_path / "same")
    for number in range(3):
        (same / "dog" / f"{number}.png").unlink()
    assert fingerprint(load(same)) == found
    # A picture that is whole and too deep is not corrupt.
    picture_files.write_png16(tmp_path / "dog" / "0.png", np.full((20, 20, 3), 4095))
    with pytest.raises(DatasetError, match="16 bits per channel; save it with 8"):
        load(tmp_path, corrupt="skip")
    (tmp_path / "dog" / "0.png").unlink()
    for path in (tmp_path / "emu").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="emu holds no image that can be read"):
        load(tmp_path, corrupt="skip")


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(DatasetError) as error:
            ImageFolder(path=str(path)).load()
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"dataset.path={path}: ")

    assert message(tmp_path / "nowhere").startswith("no such folder")
    assert message(Path(__file__)).startswith("a file; unpack it to a folder per class, or read an .npz file by")
    assert message(tmp_path).startswith(f"{tmp_path} holds 0 folders")
    fill(tmp_path / "some", 2)
    (tmp_path / "some" / "empty").mkdir()
    assert message(tmp_path / "some").startswith(f"{tmp_path / 'some' / 'empty'} holds no image")
    (tmp_path / "some" / "other").mkdir()
    (tmp_path / "some" / "other" / "notes.txt").write_text("none")
    empty = f"{tmp_path / 'some' / 'empty'}, {tmp_path / 'some' / 'other'}"
    assert message(tmp_path / "some").startswith(
        f"{empty} hold no image that can be read (ignored: 1 .txt); known kinds: .apng"
    )
    fill(tmp_path / "half" / "test", 2)
    assert "holds the folders test; expected one folder per class, or train, val and test" in message(tmp_path / "half")
    fill(tmp_path / "half" / "train", 2)
    (tmp_path / "half" / "test" / "hat").mkdir()
    assert message(tmp_path / "half").startswith(f"{tmp_path / 'half' / 'test' / 'hat'} is a class that")
    (tmp_path / "half" / "val").mkdir()
    assert message(tmp_path / "half").startswith("holds the folders test, train, val;")
    assert message(tmp_path / "half").endswith("; val holds no folder of a class: fill it, or move it away")
    picture_files.fill(tmp_path / "flat", 2, classes=(".",))
    assert message(tmp_path / "flat").endswith("; 2 images in it: move each into the folder of its class")
    picture_files.fill(tmp_path / "single", classes=("cat",))
    assert message(tmp_path / "single").startswith(f"{tmp_path / 'single'} holds 1 folder (cat); expected one")
    picture_files.fill(tmp_path / "wrapped" / "photos")
    assert message(tmp_path / "wrapped").endswith(
        f"; are the classes in dataset.path={tmp_path / 'wrapped' / 'photos'}?"
    )
    picture_files.fill(tmp_path / "ones", 1)
    assert message(tmp_path / "ones").startswith("no class has two images (cat, dog, emu), so none can be kept")


@pytest.mark.parametrize("others", [("val", "valid"), ("val", "cats"), ("test", "Testing")])
def test_parts_that_could_be_two_things_are_refused(tmp_path: Path, others: tuple[str, ...]) -> None:
    for name in ("train", *others):
        picture_files.fill(tmp_path / name, 2)
    with pytest.raises(DatasetError, match=r"holds the folders .*; expected one folder per class, or train, val and"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "VALID", "Test"),
        ("training", "dev", "testing"),
        ("training_set", "validation_set", "test_set"),
        ("seg_train", "val images", "TestSet"),
    ],
)
def test_a_validation_part_of_ones_own_is_used(tmp_path: Path, train: str, validation: str, test: str) -> None:
    """Whatever the capitals: no image is cut off, and the winner is trained on both parts."""
    picture_files.fill(tmp_path / train, 12)
    picture_files.fill(tmp_path / validation, 5, seed=1)
    picture_files.fill(tmp_path / test, 4, seed=2)
    data = load(tmp_path, validation=0.5)
    splits = data.load()
    assert sizes(data) == [36, 15, 12]
    assert len(splits.whole_training) == 51
    expected = load(tmp_path / validation, test=0.01).read()
    own = {image.tobytes() for image in splits.validation.images}
    assert {image.tobytes() for image in expected.training.images} < own
    assert fingerprint(load(tmp_path, split_seed=1)) == fingerprint(data)
    assert data.notes.remarks == (f"the validation part is {validation}/; dataset.validation is not used",)
    few = load(tmp_path, train_samples=9).load()
    assert [len(few.train), len(few.validation), len(few.whole_training)] == [9, 15, 51]


@pytest.mark.parametrize("others", [(), ("val",), ("test",)])
def test_parts_without_a_folder_are_cut_off_train(tmp_path: Path, others: tuple[str, ...]) -> None:
    picture_files.fill(tmp_path / "train", 20)
    for seed, name in enumerate(others, 1):
        picture_files.fill(tmp_path / name, 4, seed=seed)
    data = load(tmp_path)
    expected = {(): [43, 5, 12], ("val",): [48, 12, 12], ("test",): [54, 6, 12]}[others]
    assert sizes(data) == expected
    told = " ".join(data.notes.remarks)
    assert ("validation images are split off train/ (dataset.validation)" in told) == ("val" not in others)
    assert ("test images are split off train/ (dataset.test)" in told) == ("test" not in others)


def test_a_part_may_lack_a_class_but_for_train(tmp_path: Path) -> None:
    picture_files.fill(tmp_path / "train")
    picture_files.fill(tmp_path / "test", classes=("cat", "dog"), seed=1)
    (tmp_path / "test" / "emu").mkdir()
    data = load(tmp_path)
    assert np.bincount(data.load().test.labels, minlength=3).tolist() == [12, 12, 0]
    for path in sorted((tmp_path / "train" / "emu").iterdir()):
        path.unlink()
    with pytest.raises(DatasetError, match="train/emu holds no image that can be read; known kinds"):
        load(tmp_path)
    picture_files.fill(tmp_path / "train")
    for path in sorted((tmp_path / "test").glob("*/*")):
        path.unlink()
    with pytest.raises(DatasetError, match="test holds no image that can be read; known kinds"):
        load(tmp_path)


def test_images_in_folders_of_a_class_are_read(tmp_path: Path) -> None:
    picture_files.fill(tmp_path)
    picture_files.fill(tmp_path / "cat", 10, ("left", "right"), seed=1)
    data = load(tmp_path)
    assert data.load().classes == ("cat", "dog", "emu")
    assert sum(sizes(data)) == 56
    assert data.notes.passed_over == {}


def test_other_files_and_hidden_ones_are_passed_over_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, 3, suffix=".PNG")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "__MACOSX" / "coat").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "coat" / "._000.PNG").write_bytes(b"what a zip of a Mac holds")
    (tmp_path / "coat" / "notes.txt").write_text("none")
    (tmp_path / "coat" / "._000.PNG").write_bytes(b"what a file manager leaves")
    (tmp_path / "labels.csv").write_text("none")
    (tmp_path / "stray.png").write_bytes((tmp_path / "coat" / "000.PNG").read_bytes())
    data = load(tmp_path, validation=0.3)
    assert sum(sizes(data)) == 9
    assert data.notes.passed_over == {"hidden": 3, ".txt": 1, "not in the folder of a class": 2}


def test_hostile_names_of_classes_are_read(tmp_path: Path) -> None:
    names = (
        "naïve café",
        "日本 語",
        "=cmd",
        "a,b",
        "comma\ttab",
        "<b>x<",
        "-dash",
        "'q\"",
        "%d${HOME}",
        "emoji🙂",
        "RTL\u202e",
    )
    picture_files.fill(tmp_path, 3, names)
    data = load(tmp_path)
    assert data.load().classes == tuple(sorted(names))
    assert sum(sizes(data)) == 33


def test_without_pillow_one_line_says_what_to_install(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from nasrun.datasets.image_folder import ImageFolder\n"
        f"data = ImageFolder(path={str(tmp_path)!r}); print(data.task.outputs); data.load()"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "3\n"
    assert done.stderr.splitlines()[-1].endswith("dataset=image_folder: needs Pillow; install nasrun[images]")
