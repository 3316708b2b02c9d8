"""What every data set gives: uint8 images, int64 labels, a seeded stratified split, and the numbers to normalise with.

The keyword-only arguments of a data set's constructor are the keys of its YAML. Three of them are common to all:
`validation`, `split_seed` and `train_samples`.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from nasrun.datasets import splitting
from nasrun.protocols import Task
from nasrun.schema import AtLeast, Between, ConfigError
from nasrun.seeding import Purpose, generator

Share = Annotated[float, Between(0.01, 0.9)]
"""A part of the images that is cut off for validation or test."""
Seed = Annotated[int, AtLeast(0)]
Count = Annotated[int, AtLeast(1)]

# The second number of a stream of `Purpose.SPLIT`: each cut draws from its own, so that none moves another.
VALIDATION_STREAM, TEST_STREAM, SUBSET_STREAM, SYNTHETIC_STREAM = range(4)

_SMALLEST_STD = 1 / 255
"""One grey level: a channel that hardly varies is not blown up, and a constant one does not divide by zero."""


class DatasetError(ConfigError):
    """Data that cannot be used. Its text is one line: the file, what is wrong with it, and what would be right."""


@dataclass(frozen=True)
class Split:
    """Images and labels of one part of a data set.

    `images`: uint8 (N, channels, height, width), C-contiguous, pixels 0 to 255. `labels`: int64 (N,), from 0.
    ValueError where the arrays are of other types or lengths.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """The images and labels at `indices`, as copies."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Splits:
    """A data set as a search uses it: `train` to fit weights, `validation` to compare, `test` once at the end.

    `mean`, `std`: one float per channel, in pixels scaled to [0, 1], of the images of `train` alone; `std` is at
    least 1/255. `classes`: the names of the labels 0, 1, 2, ... `left_out`: training images that `train_samples` left
    out, which only the final training of a winner sees.
    """

    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    left_out: Split | None = None

    @property
    def whole_training(self) -> Split:
        """`train`, `validation` and `left_out`: all that the winner of a search may be trained on. A copy each time."""
        parts = [part for part in (self.train, self.validation, self.left_out) if part is not None]
        return Split(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))


class Raw(NamedTuple):
    """What a data set reads before anything is cut off: all training data, the test data, the class names."""

    training: Split
    test: Split
    classes: tuple[str, ...]


class Dataset(ABC):
    """Images with labels, split by seed. Nothing is read before `load` (or, for the user's own data, `task`).

    A data set can be pickled; the copy reads its files again.
    """

    #: The name in the YAML, in tables and in directory names.
    name: str

    def __init__(self, *, validation: Share = 0.1, split_seed: Seed = 0, train_samples: Count | None = None) -> None:
        """`validation`: share of the training data that is kept for comparing architectures, cut by class.

        `split_seed`: seed of every cut; apart from the run's seed, so that runs with different seeds compare.
        `train_samples`: only so many training images, equally many of each class; the validation data stay whole.
        ValueError, beginning with the name of the option, where a value is out of its range.
        """
        if not 0.01 <= validation <= 0.9:
            raise ValueError(f"validation={validation}: must be from 0.01 to 0.9")
        if split_seed < 0:
            raise ValueError(f"split_seed={split_seed}: must be at least 0")
        if train_samples is not None and train_samples < 1:
            raise ValueError(f"train_samples={train_samples}: must be at least 1")
        self.validation = validation
        self.split_seed = split_seed
        self.train_samples = train_samples
        self._splits: Splits | None = None

    @property
    @abstractmethod
    def task(self) -> Task:
        """What a network for this data must do. Reads no image; DatasetError where the user's data are not usable."""

    @abstractmethod
    def _read(self) -> Raw:
        """All images and labels; DatasetError where a file is missing or wrong."""

    def load(self) -> Splits:
        """Read, verify and split the data; later calls return the same object.

        DatasetError, in one line, names a file that is missing or wrong, or an option that does not fit the data.
        """
        if self._splits is None:
            raw = self._read()
            kept, cut_off = splitting.cut(
                raw.training.labels, len(raw.classes), self.validation, self._stream(VALIDATION_STREAM)
            )
            if not len(cut_off):
                raise DatasetError(f"dataset {self.name}: no class has two images, so none can be kept for validation")
            left_out = None
            if self.train_samples is not None:
                if reason := refuse_samples(self.train_samples, len(kept), len(raw.classes)):
                    raise DatasetError(f"dataset.{reason}")
                labels = raw.training.labels[kept]
                chosen = splitting.subset(labels, len(raw.classes), self.train_samples, self._stream(SUBSET_STREAM))
                left_out = raw.training.take(np.delete(kept, chosen))
                kept = kept[chosen]
            train = raw.training.take(kept)
            mean, std = channel_statistics(train.images)
            self._splits = Splits(train, raw.training.take(cut_off), raw.test, mean, std, raw.classes, left_out)
        return self._splits

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the images, labels and class names as split: equal where two runs saw equal data."""
        splits = self.load()
        digest = hashlib.sha256("\0".join(splits.classes).encode())
        for split in (splits.train, splits.validation, splits.test):
            digest.update(str(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
        return digest.hexdigest()

    def _stream(self, cut: int) -> np.random.Generator:
        return generator(self.split_seed, Purpose.SPLIT, cut)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the files itself: that is quicker than hundreds of megabytes through a pipe.
        return {**self.__dict__, "_splits": None}


def refuse_samples(samples: int, available: int, classes: int) -> str | None:
    """Why `train_samples` does not fit training data of `available` images, as `train_samples=...`; None if it does."""
    if samples > available:
        return f"train_samples={samples}: must be at most {available}, what validation leaves for training"
    if samples < classes:
        return f"train_samples={samples}: must be at least {classes}, one for each class"
    return None


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 (N, C, H, W) images, in pixels scaled to [0, 1].

    The sums are of integers, hence exact and the same on every machine.
    """
    total = np.zeros(images.shape[1], dtype=np.uint64)
    squares = np.zeros(images.shape[1], dtype=np.uint64)
    for start in range(0, len(images), 2048):
        chunk = images[start : start + 2048].astype(np.uint32)
        total += chunk.sum(axis=(0, 2, 3), dtype=np.uint64)
        squares += (chunk * chunk).sum(axis=(0, 2, 3), dtype=np.uint64)
    pixels = images.size // images.shape[1]
    mean = [int(value) / pixels for value in total]
    variance = [int(square) / pixels - value * value for square, value in zip(squares, mean, strict=True)]
    std = [max(0.0, value) ** 0.5 / 255 for value in variance]
    return tuple(value / 255 for value in mean), tuple(max(value, _SMALLEST_STD) for value in std)
