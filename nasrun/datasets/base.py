"""The interface of data sets: uint8 images, labels or targets, a seeded split, and constants for normalisation.

Each image has an int64 label (classification) or an image of target values (regression). The keyword-only arguments of
a data set's constructor are the keys of its YAML. All data sets have `validation`, `split_seed` and `train_samples`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from nasrun.core import Task
from nasrun.core.answers import is_users
from nasrun.core.options import AtLeast, Between, ConfigError, brief, first_line
from nasrun.core.seeding import Purpose, generator
from nasrun.datasets import splitting
from nasrun.datasets.mapped import Images, MappedImages, in_memory, joined, taken
from nasrun.datasets.notes import ReadingNotes

Share = Annotated[float, Between(0.01, 0.9)]
"""Share of the images held out for validation or test."""
OnTest = Literal["test"]
"""Instead of a share: compare architectures on the test images."""
Seed = Annotated[int, AtLeast(0)]
Count = Annotated[int, AtLeast(1)]

# The second number of a stream of `Purpose.SPLIT`: each split has its own stream, so that they are independent.
VALIDATION_STREAM, TEST_STREAM, SUBSET_STREAM, SYNTHETIC_STREAM, PATCH_STREAM, GAP_STREAM, MIRROR_STREAM = range(7)

_AT_A_TIME = 2**23
"""Number of pixels converted to larger integers at a time."""
_SMALLEST_STD = 1 / 255
"""One grey level, as lower bound: nearly constant channels are not amplified, and constant ones do not divide by
zero."""


class DatasetError(ConfigError):
    """Data cannot be used. The text is one line: the file, the problem, and what is expected."""


@dataclass(frozen=True)
class Split:
    """Images of one part of a data set, with labels or targets.

    Raises:
        ValueError: an array has another type or shape than documented.
    """

    images: Images
    """uint8 (N, channels, height, width), pixels 0 to 255: a C-contiguous array, or images in a file, indexed like an
    array (`MappedImages`)."""
    labels: np.ndarray
    """int64 (N,), classes from 0; for regression all 0."""
    targets: np.ndarray | None = None
    """Target values of a regression, uint8 or float32 (N, outputs, height, width); None for classification."""
    weights: np.ndarray | None = None
    """uint8 (N, 1, height, width), 1 where targets count in the loss, else 0; None: all count."""

    def __post_init__(self) -> None:
        for what, array in (("images", self.images), ("labels", self.labels)):
            if not hasattr(array, "dtype"):
                raise ValueError(f"{what} must be an array, not {brief(array)}")
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}")
        count, _, *pixels = self.images.shape
        if self.targets is not None:
            found = f"not {self.targets.dtype} {self.targets.shape}"
            if self.targets.dtype not in (np.uint8, np.float32) or self.targets.ndim != 4:
                raise ValueError(f"targets must be uint8 or float32 (N, C, H, W), {found}")
            if (len(self.targets), *self.targets.shape[2:]) != (count, *pixels):
                raise ValueError(f"targets must be ({count}, C, {', '.join(map(str, pixels))}), {found}")
        if self.weights is not None:
            found = f"not {self.weights.dtype} {self.weights.shape}"
            if self.targets is None:
                raise ValueError("weights must come with targets")
            if self.weights.dtype != np.uint8 or self.weights.shape != (count, 1, *pixels):
                raise ValueError(f"weights must be uint8 ({count}, 1, {', '.join(map(str, pixels))}), {found}")
            if not self.weights.any() or self.weights.max() > 1:
                raise ValueError("weights must be 0 or 1, and 1 somewhere")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def arrays(self) -> tuple[Images, ...]:
        """All arrays: images, labels, and targets and weights if present."""
        return tuple(array for array in (self.images, self.labels, self.targets, self.weights) if array is not None)

    def take(self, indices: np.ndarray) -> "Split":
        """The part with the images at `indices`, as copies except for images in a file."""
        return _split(taken(array, indices) for array in self.arrays)

    def with_all(self, others: "Sequence[Split]") -> "Split":
        """This part and others of the same data set concatenated, as copies except for images in a file."""
        return _split(joined(arrays) for arrays in zip(*(s.arrays for s in (self, *others)), strict=True))

    def in_memory(self) -> "Split":
        """The same part with all images in memory."""
        return replace(self, images=in_memory(self.images))


def _split(arrays: Iterable[Images]) -> Split:
    images, *others = arrays
    return Split(images, *map(in_memory, others))


@dataclass(frozen=True)
class Splits:
    """A data set split for a search."""

    train: Split
    """Data to train on."""
    validation: Split
    """Data to compare architectures."""
    test: Split
    """Data to test the winner, once, at the end."""
    mean: tuple[float, ...]
    """Means of the channels of the images of `train`, in pixels scaled to [0, 1]."""
    std: tuple[float, ...]
    """Standard deviations in the same form; at least 1/255."""
    classes: tuple[str, ...]
    """The names of the labels 0, 1, 2, ...; empty for regression."""
    left_out: Split | None = None
    """Training images excluded by `train_samples`, used only by the final training of a winner."""
    target_mean: tuple[float, ...] = ()
    """Regression only: means of the channels of the targets of `train`, in their units (grey levels for uint8)."""
    target_std: tuple[float, ...] = ()
    """Standard deviations in the same form."""
    background: float = 0.0
    """Regression only: how much a pixel of weight 0 counts for the training loss."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in memory; test images that also serve for validation count twice."""
        parts = (self.train, self.validation, self.test, self.left_out)
        return sum(array.nbytes for part in parts if part is not None for array in part.arrays)

    @property
    def whole_training(self) -> Split:
        """All data for the final training: `train`, `validation` and `left_out`. A new copy on each call, except for
        images in a file.

        Never includes test images, also if they serve as `validation`.
        """
        rest = (self.validation if self.validation is not self.test else None, self.left_out)
        return self.train.with_all([part for part in rest if part is not None])

    def in_memory(self) -> "Splits":
        """The same splits with all images in memory, for processes without access to the files of this machine."""
        same = self.validation is self.test
        test = self.test.in_memory()
        left_out = self.left_out and self.left_out.in_memory()
        validation = test if same else self.validation.in_memory()
        return replace(self, train=self.train.in_memory(), validation=validation, test=test, left_out=left_out)


class Raw(NamedTuple):
    """The unsplit content of a data set: all training data, the test data, the class names.

    `groups`: int64 (N,), group numbers of training images that must not be separated by the validation split (patches
    of one region). None: no groups. `validation`: the validation set, if the data have one; otherwise it is split off.
    `notes`: remarks from reading.
    """

    training: Split
    test: Split
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    validation: Split | None = None
    notes: ReadingNotes = ReadingNotes()


class Dataset(ABC):
    """Images with labels or target images, split by seed.

    Nothing is read before `load` (or, for the user's own data, `task`). A data set can be pickled; the copy reads its
    files again.
    """

    name: str
    """The name in the YAML, in tables and in directory names."""

    background: float = 0.0
    """Regression only: how much a pixel of weight 0 counts for the training loss, from 0 to 1."""

    mirrored: bool | None = None
    """Whether a mirrored image has the same class; None: unknown (`nasrun.datasets.mirrors`)."""

    place: Callable[[Splits], Splits] = staticmethod(lambda splits: splits)
    """Called with the splits after reading; its return value replaces them (arrays in shared memory)."""

    def __init__(
        self, *, validation: Share | OnTest = 0.1, split_seed: Seed = 0, train_samples: Count | None = None
    ) -> None:
        """Set how the data are split.

        Args:
            validation: share of the training data held out to compare architectures, stratified by class. Or `test`:
                train on all training data and compare architectures on the test images, as some papers do; the test
                result is then not an estimate for new images.
            split_seed: seed of all splits; independent of the run's seed, so that runs with different seeds are
                comparable.
            train_samples: number of training images to use, the same number per class; validation data are not
                reduced.

        Raises:
            ValueError: a value is out of range; the text starts with the name of the option.
        """
        if validation != "test" and not 0.01 <= validation <= 0.9:
            raise ValueError(f"validation={validation}: must be from 0.01 to 0.9")
        if split_seed < 0:
            raise ValueError(f"split_seed={split_seed}: must be at least 0")
        if train_samples is not None and train_samples < 1:
            raise ValueError(f"train_samples={train_samples}: must be at least 1")
        self.validation = validation
        self.split_seed = split_seed
        self.train_samples = train_samples
        self._splits: Splits | None = None
        self._notes = ReadingNotes()

    @property
    @abstractmethod
    def task(self) -> Task:
        """The task of a network for this data. Reads no images; DatasetError if the user's data are not usable."""

    @abstractmethod
    def read(self) -> Raw:
        """Read all data; DatasetError if a file is missing or invalid."""

    def _statistics(self, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel for the standardisation of images, in pixels scaled to [0, 1]."""
        return channel_statistics(train.images)

    def load(self) -> Splits:
        """Read, verify and split the data; later calls return the same object.

        Raises:
            DatasetError: a file is missing or invalid, or an option does not fit the data; the text is one line.
        """
        if self._splits is None:
            raw = _read(self)
            self._notes = raw.notes
            classes = max(1, len(raw.classes))
            labels = raw.training.labels
            kept, validation = self._cut(raw, classes)
            left_out = None
            if self.train_samples is not None:
                if reason := refuse_samples(self.train_samples, len(kept), classes):
                    raise DatasetError(f"dataset.{reason}")
                chosen = splitting.subset(labels[kept], classes, self.train_samples, self._stream(SUBSET_STREAM))
                left_out = raw.training.take(np.delete(kept, chosen))
                kept = kept[chosen]
            train = raw.training.take(kept)
            mean, std = self._statistics(train)
            splits = Splits(train, validation, raw.test, mean, std, raw.classes, left_out)
            if train.targets is not None:
                target_mean, target_std = target_statistics(train.targets)
                splits = replace(splits, target_mean=target_mean, target_std=target_std, background=self.background)
            self._splits = self.place(splits)
        return self._splits

    def _cut(self, raw: Raw, classes: int) -> tuple[np.ndarray, Split]:
        """The sorted indices of the training images, and the validation part."""
        everything, stream = np.arange(len(raw.training)), self._stream(VALIDATION_STREAM)
        if raw.validation is not None:
            return everything, raw.validation
        if self.validation == "test":
            return everything, raw.test
        if raw.groups is None:
            kept, cut_off = splitting.cut(raw.training.labels, classes, self.validation, stream)
        else:
            kept, cut_off = splitting.cut_groups(raw.groups, self.validation, stream)
        if not len(cut_off):
            what = "class has two images" if raw.groups is None else "second region is left"
            raise DatasetError(f"dataset {self.name}: no {what}, so none can be kept for validation")
        return kept, raw.training.take(cut_off)

    @property
    def notes(self) -> ReadingNotes:
        """Remarks from reading the data; empty before, and if another process has read them."""
        return self._notes

    @property
    def loaded(self) -> Splits | None:
        """The splits, if they are read already."""
        return self._splits

    def hold(self, splits: Splits) -> None:
        """Make `load` return these splits, which another process has read."""
        self._splits = splits

    def _stream(self, cut: int) -> np.random.Generator:
        return generator(self.split_seed, Purpose.SPLIT, cut)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the files itself, which is faster than sending hundreds of megabytes through a pipe.
        return {name: value for name, value in self.__dict__.items() if name != "place"} | {"_splits": None}


def _read(dataset: Dataset) -> Raw:
    """What a data set reads; DatasetError if that of a user's class is not what its task describes."""
    if not is_users(dataset):
        return dataset.read()
    name, task = f"dataset: {type(dataset).__name__}.read", dataset.task
    try:
        raw: Any = dataset.read()
    except ValueError as error:  # of `Split`, or of the user
        raise DatasetError(f"{name}: {first_line(error)}") from error
    if not isinstance(raw, Raw):
        raise DatasetError(f"{name} returned {brief(raw)}; expected a nasrun.datasets.base.Raw")
    if task.kind == "classification" and len(raw.classes) != task.outputs:
        raise DatasetError(f"{name}: {len(raw.classes)} names of classes; expected {task.outputs}, as its task says")
    shape = (task.channels, task.height, task.width)
    for part in ("training", "test", *(["validation"] if raw.validation is not None else [])):
        split: Any = getattr(raw, part)
        if not isinstance(split, Split):
            raise DatasetError(f"{name}: {part} is {brief(split)}; expected a nasrun.datasets.Split")
        if split.images.shape[1:] != shape:
            raise DatasetError(
                f"{name}: {part} images are {split.images.shape[1:]}; expected {shape}, as its task says"
            )
        wrong = [label for label in np.unique(split.labels) if not 0 <= label < task.outputs]
        if task.kind == "classification" and wrong:
            raise DatasetError(f"{name}: {part} has label {wrong[0]}; expected 0 to {task.outputs - 1}")
    return raw


def refuse_samples(samples: int, available: int, classes: int) -> str | None:
    """The message if `train_samples` does not fit `available` training images, as `train_samples=...`; None if it
    does."""
    if samples > available:
        return f"train_samples={samples}: must be at most {available}, what validation leaves for training"
    if samples < classes:
        return f"train_samples={samples}: must be at least {classes}, one for each class"
    return None


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 (N, C, H, W) images, in pixels scaled to [0, 1].

    The sums are of integers, hence exact and equal on every machine.
    """
    pixels = len(images) * math.prod(images.shape[2:])
    if isinstance(images, MappedImages):
        total, squares = (images.records[name].sum(0, dtype=np.uint64) for name in ("sums", "squares"))
    else:
        total, squares = _sums(images)
    mean = [int(value) / pixels for value in total]
    variance = [int(square) / pixels - value * value for square, value in zip(squares, mean, strict=True)]
    std = [max(0.0, value) ** 0.5 / 255 for value in variance]
    return tuple(value / 255 for value in mean), tuple(max(value, _SMALLEST_STD) for value in std)


def _sums(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the pixels and of their squares per channel, each uint64 (C,)."""
    total = np.zeros(images.shape[1], dtype=np.uint64)
    squares = np.zeros(images.shape[1], dtype=np.uint64)
    some = max(1, _AT_A_TIME // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), some):
        chunk = images[start : start + some].astype(np.uint32)
        total += chunk.sum(axis=(0, 2, 3), dtype=np.uint64)
        squares += (chunk * chunk).sum(axis=(0, 2, 3), dtype=np.uint64)
    return total, squares


def target_statistics(targets: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of targets (N, C, H, W), in their units.

    A constant channel gets the deviation 1.
    """
    if targets.dtype == np.uint8:
        mean, std = channel_statistics(targets)
        return tuple(255 * value for value in mean), tuple(255 * value for value in std)
    values = targets.astype(np.float64).transpose(1, 0, 2, 3).reshape(targets.shape[1], -1)
    mean, std = values.mean(1), values.std(1)
    std[std <= 1e-9 * abs(mean)] = 1.0  # the computed deviation of equal numbers is not exactly zero
    return tuple(map(float, mean)), tuple(map(float, std))
