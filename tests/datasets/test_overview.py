"""The description of a data set before training on it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.core.options import ConfigError
from nasrun.datasets.arrays import Arrays
from nasrun.datasets.base import Dataset
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.gap_filling import GapFilling
from nasrun.datasets.image_folder import ImageFolder
from nasrun.datasets.overview import NAMED, Overview, as_json, from_json, overview_of
from nasrun.datasets.synthetic import Synthetic
from nasrun.reports.data import NAME, data_section, read_overview, result_warnings, write_overview
from tests.picture_files import CLASSES, fill, picture
from tests.support import with_options
from tests.training.auto_encoders import smooth


def overview(data: Dataset) -> Overview:
    data.load()
    found = overview_of(data)
    assert found is not None
    return found


def of_folder(path: Path, **options: Any) -> Overview:
    return overview(ImageFolder(path=str(path), height=20, width=20, **options))


def test_nothing_is_told_of_data_that_were_not_read() -> None:
    assert overview_of(FashionMnistMini()) is None


def test_a_published_set_takes_two_lines() -> None:
    found = overview(FashionMnistMini())
    assert found.lines() == [
        "images: 9,000 to train, 1,000 to validate, 2,000 to test; 10 classes, equally many of each",
        "images of each class (train + validation + test): 900 + 100 + 200",
    ]
    assert found.totals == [1200] * 10
    few = overview(FashionMnistMini(train_samples=100)).lines()
    assert few[0].startswith(
        "images: 100 to train, 1,000 to validate, 2,000 to test, 8,900 left for the final training;"
    )
    assert few[1].endswith(": 10 + 100 + 200 + 890")


def test_images_of_each_class_and_the_share_of_the_largest(tmp_path: Path) -> None:
    fill(tmp_path, 160, ("a",))
    fill(tmp_path, 40, ("b",), seed=1)
    found = of_folder(tmp_path)
    assert found.lines()[:2] == [
        "images: 144 to train, 16 to validate, 40 to test; 2 classes, the largest a with 80.0 %",
        "images of each class (train + validation + test): a 115+13+32, b 29+3+8",
    ]
    assert (found.largest_test_class, found.largest_test_share) == ("a", 0.8)
    assert found.warnings() == []
    assert not found.lines()[2].startswith("unbalanced classes")
    fill(tmp_path, 30, ("c",), seed=2)
    assert of_folder(tmp_path).lines()[2] == (
        "unbalanced classes: to weight all classes equally, search with objective=val_balanced_accuracy and train with "
        "evaluator.class_weights=balanced"
    )


def test_of_many_classes_the_smallest_and_largest_are_named(tmp_path: Path) -> None:
    counts = np.arange(30) + 10
    labels = np.repeat(np.arange(30), counts)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    line = overview(Arrays(path=str(tmp_path / "x.npz"))).lines()[1]
    assert line.count("+") - 2 == 2 * NAMED
    assert ": 0 7+1+2, 1 " in line
    assert line.endswith("(smallest and largest)")


def test_classes_of_few_images_and_parts_without_one_are_named(tmp_path: Path) -> None:
    fill(tmp_path)
    fill(tmp_path, 1, ("rare",), seed=1)
    fill(tmp_path, 4, ("seldom",), seed=2)
    assert of_folder(tmp_path).warnings() == [
        "fewer than 5 images: rare (1), seldom (4); add more, or leave these classes out",
        "no validation image of rare, seldom, so these classes are not measured there",
        "no test image of rare, so these classes are not measured there",
    ]


def test_a_test_folder_that_is_a_copy_of_the_training_folder_is_warned_about(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    for path in (tmp_path / "test").glob("*/*"):
        path.rename(path.with_name(f"copy of {path.name}"))
    found = of_folder(tmp_path)
    assert found.equal.test_in_training == 36
    assert found.warnings() == [
        "36 of 36 test images are also in training, so the test result is too high; is one part a copy of the other?"
    ]
    assert "equal files: train/cat/0.png = test/cat/copy of 0.png, " in "\n".join(found.facts())
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    shutil.rmtree(tmp_path / "test")
    fill(tmp_path / "test", 2, seed=7)
    assert of_folder(tmp_path).warnings() == [
        "36 of 36 validation images are also in training, so memorising wins; is one part a copy of the other?"
    ]


def test_repeated_images_are_counted_by_part_and_class(tmp_path: Path) -> None:
    """By their pixels: another kind of file with the same picture is the same image."""
    fill(tmp_path / "train")
    fill(tmp_path / "val", 6, seed=1)
    fill(tmp_path / "test", 6, seed=2)
    one, other = picture(0, np.random.default_rng(9)), picture(1, np.random.default_rng(10))
    one.save(tmp_path / "train" / "cat" / "a.png")
    one.save(tmp_path / "train" / "cat" / "b.bmp")
    one.save(tmp_path / "test" / "dog" / "c.tif")
    other.save(tmp_path / "test" / "dog" / "d.png")
    other.save(tmp_path / "val" / "dog" / "e.png")
    found = of_folder(tmp_path)
    assert found.equal.within == {"train": 1, "validation": 0, "test": 0}
    assert (found.equal.validation_in_train, found.equal.test_in_training, found.equal.in_two_classes) == (0, 2, 1)
    assert found.notes.equal == (
        ("train/cat/a.png", "train/cat/b.bmp"),
        ("train/cat/a.png", "test/dog/c.tif"),
        ("val/dog/e.png", "test/dog/d.png"),
    )
    assert "equal images: 1 to train repeat another one of the same part" in found.facts()
    assert found.warnings() == [
        "2 of 20 test images are also in training, so the test result is too high",
        "1 image in more than one class",
    ]


def test_images_for_both_validation_and_test_are_no_copies() -> None:
    data = Synthetic(samples=100)
    data.validation = "test"  # as published sets take it
    found = overview(data)
    assert found.validation_is_test
    assert found.images["validation"] == found.images["test"] == [2] * 10
    assert found.totals == [12] * 10
    assert found.warnings() == []


def test_sizes_and_files_passed_over_are_told(tmp_path: Path) -> None:
    fill(tmp_path)
    picture(0, np.random.default_rng(1), (3000, 2)).save(tmp_path / "cat" / "long.png")
    picture(0, np.random.default_rng(2), (1, 1)).save(tmp_path / "dog" / "dot.png")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    (tmp_path / "dog" / "bad.png").write_text("none")
    (tmp_path / "stray.png").write_text("none")
    lines = of_folder(tmp_path, corrupt="skip").lines()
    assert lines[2] == "pictures: 1 x 1 (dog/dot.png) to 3,000 x 2 (cat/long.png) pixels, read at 20 x 20"
    assert lines[3] == (
        "ignored: 3 files: 1 .txt, 1 not in the folder of a class, 1 that cannot be read as images "
        "(dataset.corrupt=skip)"
    )


def test_names_of_classes_and_files_obey_no_terminal(tmp_path: Path) -> None:
    fill(tmp_path, 3, ("a\x1b[31m", "b\nc", "d"))
    lines = of_folder(tmp_path).lines()
    assert all(line.isprintable() for line in lines)


def test_a_regression_has_no_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "picture.npy", smooth(3, 96, 96))
    found = overview(
        with_options(GapFilling, path=str(tmp_path / "picture.npy"), size=8, region=16, patches=None, contrast=0.0)
    )
    train, validation, test = (sum(found.images[part]) for part in ("train", "validation", "test"))
    assert found.lines() == [f"images: {train} to train, {validation} to validate, {test} to test"]


@pytest.mark.parametrize("kind", ["folder", "synthetic", "regression"])
def test_it_comes_back_from_its_file(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        fill(tmp_path / "set")
        (tmp_path / "set" / "notes.txt").write_text("none")
        found = of_folder(tmp_path / "set")
    elif kind == "synthetic":
        found = overview(Synthetic(samples=100, train_samples=50))
    else:
        np.save(tmp_path / "picture.npy", smooth(3, 96, 96))
        data = with_options(
            GapFilling, path=str(tmp_path / "picture.npy"), size=8, region=16, patches=None, contrast=0.0
        )
        found = overview(data)
    assert read_overview(tmp_path) is None
    write_overview(found, tmp_path)
    assert read_overview(tmp_path) == found
    section = data_section(tmp_path, {"final": {}})
    assert section is not None
    assert section["facts"] == found.facts()
    assert (section["table"] is None) == (kind == "regression")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("images"),
        lambda content: content["images"].update(train=[1]),
        lambda content: content["images"].update(test=[0, 0, 0]),
        lambda content: content["images"].update(test="abc"),
        lambda content: content.update(classes=None),
        lambda content: content.update(size=[1]),
        lambda content: content["notes"].update(passed_over=[]),
        lambda content: content["notes"].update(smallest={"width": 1}),
        lambda content: content["equal"].update(within=3),
    ],
)
def test_a_damaged_file_is_refused_in_a_line(tmp_path: Path, change: Any) -> None:
    fill(tmp_path / "set")
    content = json.loads(json.dumps(as_json(of_folder(tmp_path / "set"))))
    assert from_json(content).classes == CLASSES
    change(content)
    (tmp_path / NAME).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"data\.json: damaged \(.+\); delete it to continue without$") as error:
        read_overview(tmp_path)
    assert "\n" not in str(error.value)
    (tmp_path / NAME).write_text("[" * 100_000)
    with pytest.raises(ConfigError, match=r"data\.json: damaged"):
        read_overview(tmp_path)


def test_a_result_that_one_class_would_score_is_warned_about(tmp_path: Path) -> None:
    fill(tmp_path, 160, ("a",))
    fill(tmp_path, 40, ("b",), seed=1)
    found = of_folder(tmp_path)
    assert result_warnings(found, {"final": {"test_accuracy": 0.8}}) == [
        "test_accuracy 0.8000 is no better than answering a for every image, which gives 0.8000: more epochs or trials "
        "may help"
    ]
    assert result_warnings(found, {"final": {"test_accuracy": 0.81}}) == []
    assert result_warnings(found, {"final": {}}) == []
    assert result_warnings(None, {"final": {"test_accuracy": 0.1}}) == []
