"""Which images may be mirrored: what is known, what the names of classes say, and a look at the images."""

from pathlib import Path

import numpy as np
import pytest

from nasrun.datasets import Dataset
from nasrun.datasets.arrays import Arrays
from nasrun.datasets.cifar10 import Cifar10
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.mirrors import mirrors_of, recognised
from nasrun.datasets.mnist import Mnist
from nasrun.datasets.synthetic import Synthetic


def arrays(folder: Path, images: np.ndarray, labels: np.ndarray) -> Dataset:
    np.savez(folder / "own.npz", images=images, labels=labels)
    return Arrays(path=str(folder / "own.npz"))


def test_what_is_known_needs_no_look() -> None:
    for dataset, allowed in ((Cifar10(root="nowhere"), True), (Mnist(root="nowhere"), False)):
        assert mirrors_of(dataset) == (allowed, f"known of {dataset.name}")
        assert dataset.loaded is None


@pytest.mark.parametrize("classes", [("left", "right"), ("turn left", "stop"), ("hand_RIGHT", "foot"), ("a", "Left 2")])
def test_names_of_sides_are_not_mirrored(tmp_path: Path, classes: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    labels = np.array(classes)[np.arange(60) % 2]
    found = mirrors_of(arrays(tmp_path, rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), labels))
    assert not found.allowed
    assert found.reason.startswith("a class is called ")


@pytest.mark.parametrize("classes", [("leftover", "bright"), ("cat", "dog"), ("0", "1")])
def test_images_that_are_symmetric_on_average_may_be_mirrored(tmp_path: Path, classes: tuple[str, str]) -> None:
    # A bright spot anywhere on the left or the right: high up in the one class, low down in the other.
    rng, count = np.random.default_rng(0), 400
    images = rng.integers(0, 60, (count, 12, 16), dtype=np.uint8)
    places = rng.integers(0, 14, count)
    for number, place in enumerate(places):
        row = 1 if number % 2 else 8
        images[number, row : row + 3, place : place + 3] = 250
    found = mirrors_of(arrays(tmp_path, images, np.array(classes)[np.arange(count) % 2]))
    assert found.allowed
    assert "a linear classifier recognises" in found.reason


def test_images_that_face_one_way_are_not(tmp_path: Path) -> None:
    # Class 0 has its spot on the left, class 1 on the right: mirrored, each is the other.
    rng, count = np.random.default_rng(0), 200
    images = rng.integers(0, 200, (count, 10, 10, 3), dtype=np.uint8)
    for number in range(count):
        images[number, 2:8, 1:4] += np.uint8(50) if number % 2 else np.uint8(0)
        images[number, 2:8, 6:9] += np.uint8(0) if number % 2 else np.uint8(50)
    dataset = arrays(tmp_path, images, np.arange(count) % 2)
    assert not mirrors_of(dataset).allowed
    plain, mirrored, seen = recognised(dataset.load().train, 2, np.random.default_rng(1))
    assert plain > 0.8
    assert mirrored < 0.2
    assert seen == len(dataset.load().train)


def test_the_look_agrees_with_what_is_known_and_repeats_itself() -> None:
    shoes = mirrors_of(FashionMnistMini())
    assert not shoes.allowed  # all of them point to the left
    assert shoes == mirrors_of(FashionMnistMini())
    patterns = Synthetic(samples=400, classes=4)
    patterns.mirrored = None
    assert not mirrors_of(patterns).allowed


def test_photographs_and_digits(shared_data: str) -> None:
    photographs = Cifar10(root=shared_data, train_samples=2000)
    digits = Mnist(root=shared_data, train_samples=2000)
    photographs.mirrored = digits.mirrored = None
    assert mirrors_of(photographs).allowed
    assert not mirrors_of(digits).allowed
