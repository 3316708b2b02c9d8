"""Data on the device: normalised, shuffled, augmented."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from nasrun.datasets import Split, Splits
from nasrun.datasets.base import channel_statistics
from nasrun.training import data as data_module
from nasrun.training.augmentation import augmented
from nasrun.training.data import DeviceData
from nasrun.training.settings import TrainSettings
from tests.training.conftest import random_split

FORMATS = [torch.contiguous_format, torch.channels_last]


def device_data(train: Split, validation: Split | None = None) -> DeviceData:
    mean, std = channel_statistics(train.images)
    other = validation or train
    test = Split(other.images, other.labels)  # an object of its own: one shared with validation is never trained on
    return DeviceData(Splits(train, other, test, mean, std, ("a", "b")), "cpu")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(
    data: DeviceData, settings: TrainSettings, seed: int = 0, memory_format: torch.memory_format = FORMATS[0]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    split = data.split("train")
    return list(data.training_batches(split, settings, memory_format, generator(seed), generator(seed + 1000)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_training_part_is_standardised(channels: int, memory_format: torch.memory_format) -> None:
    data = device_data(random_split(300, channels, 9, 7))
    images = data.normalise(data.split("train").images, memory_format)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=memory_format)
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0] * channels, abs=1e-4)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1] * channels, abs=1e-4)


def test_other_parts_are_normalised_by_the_numbers_of_the_training_part() -> None:
    train = random_split(50, 3, 6, 5)
    bright = Split(np.full((4, 3, 6, 5), 255, np.uint8), np.zeros(4, np.int64))
    data = device_data(train, bright)
    mean, std = channel_statistics(train.images)
    [(images, _)] = data.batches(data.split("validation"), 10, torch.channels_last)
    expected = torch.tensor([(1 - m) / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1).expand(4, 3, 6, 5)
    torch.testing.assert_close(images, expected)


def test_normalising_leaves_the_bytes_as_they_are() -> None:
    split = random_split(20, 1, 5, 5)
    before = split.images.copy()
    data = device_data(split)
    epoch(data, TrainSettings(batch_size=4, shift=1, flip=True))
    list(data.batches(data.split("train"), 7, torch.channels_last))
    assert np.array_equal(split.images, before)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("count", "size"), [(100, 32), (100, 25), (100, 1), (5, 32), (5000, 33)])
def test_an_epoch_visits_each_sample_at_most_once_in_full_batches(
    count: int, size: int, memory_format: torch.memory_format
) -> None:
    # The labels number the images, and 5000 images are more than one chunk.
    data = device_data(random_split(count, 1, 2, 3))
    batches = epoch(data, TrainSettings(batch_size=size), memory_format=memory_format)
    size = min(size, count)
    assert [len(labels) for _, labels in batches] == [size] * (count // size)
    seen = torch.cat([labels for _, labels in batches])
    assert len(seen.unique()) == len(seen) == count // size * size
    assert seen.tolist() != sorted(seen.tolist())
    expected = data.normalise(data.split("train").images[seen], memory_format)
    assert torch.equal(torch.cat([images for images, _ in batches]), expected)
    assert all(images.is_contiguous(memory_format=memory_format) for images, _ in batches)


def test_the_generators_decide_the_order() -> None:
    data = device_data(random_split(60, 1, 6, 6))
    settings = TrainSettings(batch_size=16, shift=2, flip=True)
    first, again, other = epoch(data, settings, 1), epoch(data, settings, 1), epoch(data, settings, 2)
    assert all(torch.equal(a, b) and torch.equal(x, y) for (x, a), (y, b) in zip(first, again, strict=True))
    assert not torch.equal(torch.cat([labels for _, labels in first]), torch.cat([labels for _, labels in other]))


def test_another_epoch_has_another_order_and_reaches_the_remainder() -> None:
    data = device_data(random_split(20, 1, 2, 2))
    order, augment = generator(1), generator(2)
    orders = []
    for _ in range(12):
        batches = data.training_batches(data.split("train"), TrainSettings(batch_size=16), FORMATS[0], order, augment)
        orders.append(torch.cat([labels for _, labels in batches]))
    assert all(not torch.equal(one, other) for one, other in pairwise(orders))
    assert len(torch.cat(orders).unique()) == 20


def test_the_order_does_not_depend_on_augmentation() -> None:
    data = device_data(random_split(60, 1, 6, 6))
    plain = epoch(data, TrainSettings(batch_size=16), 1)
    shifted = epoch(data, TrainSettings(batch_size=16, shift=1), 1)
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in shifted]
    assert not torch.equal(plain[0][0], shifted[0][0])


def test_measuring_batches_hold_everything_in_order() -> None:
    data = device_data(random_split(50, 1, 3, 3))
    batches = list(data.batches(data.split("train"), 16, torch.contiguous_format))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(50))
    expected = data.normalise(data.split("train").images, torch.contiguous_format)
    assert torch.equal(torch.cat([images for images, _ in batches]), expected)


def test_a_part_is_moved_once() -> None:
    data = device_data(random_split(8, 1, 3, 3))
    assert data.split("train") is data.split("train")
    assert len(data.split("whole_training")) == 16


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """A (C, H, W) image moved by whole pixels, pixel by pixel, with zeros where nothing came from."""
    result = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = image[:, row - down, column - right]
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_augmented_images_are_moved_and_mirrored_ones(
    channels: int, shift: int, flip: bool, memory_format: torch.memory_format
) -> None:
    # No pixel is zero, so that a border of zeros cannot pass for image.
    images = torch.randint(1, 256, (150, channels, 5, 7), dtype=torch.uint8, generator=generator(1))
    given = images.contiguous(memory_format=memory_format)
    before = given.clone()
    results = augmented(given, TrainSettings(shift=shift, flip=flip), generator(2))
    assert results.dtype == torch.uint8
    assert results.shape == images.shape
    assert torch.equal(given, before)
    seen: set[tuple[int, int]] = set()
    mirrored = 0
    reach = range(-shift, shift + 1)
    for image, result in zip(images.numpy(), results.numpy(), strict=True):
        matches = [
            (down, right, mirror)
            for down in reach
            for right in reach
            for mirror in ((False, True) if flip else (False,))
            if np.array_equal(result, moved(image, down, right)[:, :, :: -1 if mirror else 1])
        ]
        assert len(matches) == 1
        seen.add(matches[0][:2])
        mirrored += matches[0][2]
    assert seen == {(down, right) for down in reach for right in reach}
    assert 50 < mirrored < 100 if flip else mirrored == 0


def test_flip_alone_mirrors_about_half() -> None:
    images = torch.randint(0, 256, (1000, 3, 4, 6), dtype=torch.uint8, generator=generator(1))
    results = augmented(images, TrainSettings(flip=True), generator(2))
    mirrored = (results == images.flip(3)).flatten(1).all(1)
    untouched = (results == images).flatten(1).all(1)
    assert (mirrored ^ untouched).all()
    assert 420 < int(mirrored.sum()) < 580


def test_without_options_nothing_changes() -> None:
    images = torch.randint(0, 256, (10, 1, 4, 6), dtype=torch.uint8)
    assert torch.equal(augmented(images, TrainSettings(), generator(2)), images)


def test_batches_hold_augmented_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = device_data(random_split(40, 1, 4, 4))
    monkeypatch.setattr(data_module, "augmented", lambda images, settings, generator: torch.zeros_like(images))
    for options in ({"shift": 1}, {"flip": True}):
        batches = epoch(data, TrainSettings(batch_size=8, **options))  # type: ignore[arg-type]
        assert all(torch.allclose(images, data.offset.expand_as(images)) for images, _ in batches)
