"""The user's own image files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_sets
from PIL import Image

from nasrun.datasets import DatasetError
from nasrun.datasets.image_folder import ImageFolder

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
    folder = data._load_folder(tmp_path, splits.classes)
    assert all((folder.images[n, 0] == np.asarray(Image.open(path))).all() for n, path in enumerate(files))


def test_train_and_test_folders(tmp_path: Path) -> None:
    fill(tmp_path / "train", 5)
    fill(tmp_path / "test", 2)
    splits = ImageFolder(path=str(tmp_path), height=28, width=28, channels=3).load()
    assert [len(split) for split in (splits.whole_training, splits.test)] == [15, 6]
    assert splits.test.images.shape == (6, 3, 28, 28)
    assert (splits.test.images[:, 0] == splits.test.images[:, 2]).all()


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_resize_keeps_or_changes_proportions(tmp_path: Path, resize: str) -> None:
    """A picture twice as wide as high: left half black-free red, right half blue."""
    for name in "ab":
        (tmp_path / name).mkdir()
        pixels = np.zeros((20, 40, 3), dtype=np.uint8)
        pixels[:, :20, 0] = pixels[:, 20:, 2] = 200
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    data = ImageFolder(path=str(tmp_path), height=16, width=16, channels=3, resize=resize)
    image = data._load_image(tmp_path / "a" / "0.png").astype(int)
    assert image.shape == (3, 16, 16)
    assert image[0, 8, 2] > 190  # red on the left
    assert image[2, 8, 13] > 190  # blue on the right
    if resize == "pad":
        assert image[:, 1].max() == image[:, 14].max() == 0
    else:
        assert image[0, 0, 2] > 190


def test_other_sizes_of_channels_and_modes(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    grey, colour = (ImageFolder(path=str(tmp_path), height=2, width=3, channels=n) for n in (1, 3))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        picture = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode.replace("LA", "L")).convert(mode)
        suffix = ".tif" if mode == "CMYK" else ".png"
        picture.save(tmp_path / f"{mode}{suffix}")
        for data, channels in ((grey, 1), (colour, 3)):
            image = data._load_image(tmp_path / f"{mode}{suffix}")
            assert image.shape == (channels, 2, 3)
            assert image.min() >= 254


def test_a_photograph_is_turned_as_the_camera_noted(tmp_path: Path) -> None:
    picture = Image.new("L", (4, 2))
    picture.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    image = ImageFolder(path=str(tmp_path), height=4, width=2, channels=1)._load_image(tmp_path / "turned.png")
    assert image[0].argmax() == 1


def test_unreadable_images_are_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    path = tmp_path / "coat" / "007.png"
    whole = path.read_bytes()
    for content in (b"", b"no image", whole[:100], whole[: len(whole) - 40]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=f"^{path}: cannot be read as an image") as error:
            ImageFolder(path=str(tmp_path)).load()
        assert "\n" not in str(error.value)
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(path)
    with pytest.raises(DatasetError, match=f"^{path}: more than 8 bits per pixel"):
        ImageFolder(path=str(tmp_path)).load()


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(DatasetError) as error:
            ImageFolder(path=str(path)).load()
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"dataset.path={path}: ")

    assert message(tmp_path / "nowhere").startswith("no such folder")
    assert message(tmp_path).startswith(f"{tmp_path} holds 0 folder(s)")
    fill(tmp_path / "some", 2)
    (tmp_path / "some" / "empty").mkdir()
    assert message(tmp_path / "some").startswith(f"{tmp_path / 'some' / 'empty'} holds no image")
    fill(tmp_path / "half" / "train", 2)
    assert "holds the folders train; expected one folder per class, or train and test" in message(tmp_path / "half")
    fill(tmp_path / "half" / "test", 2)
    (tmp_path / "half" / "test" / "hat").mkdir()
    assert message(tmp_path / "half").startswith(f"{tmp_path / 'half' / 'test' / 'hat'} is a class that")
    (tmp_path / "half" / "val").mkdir()
    assert message(tmp_path / "half").startswith("holds the folders test, train, val;")


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, 3, suffix=".PNG")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "coat" / "notes.txt").write_text("none")
    (tmp_path / "coat" / "._000.PNG").write_bytes(b"what a file manager leaves")
    splits = ImageFolder(path=str(tmp_path), validation=0.3).load()
    assert len(splits.whole_training) + len(splits.test) == 9


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
