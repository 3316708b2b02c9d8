"""Data set `arrays`: the user's own images and labels in an `.npz` file."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from nasrun.core import Task
from nasrun.core.options import FilePath
from nasrun.datasets import splitting
from nasrun.datasets.array_file import ArrayFile
from nasrun.datasets.array_names import PREFIXES
from nasrun.datasets.array_values import class_values, pixel_bytes, plain_labels
from nasrun.datasets.base import TEST_STREAM, Count, Dataset, DatasetError, Raw, Seed, Share, Split
from nasrun.datasets.notes import ReadingNotes
from nasrun.datasets.part_names import TEST, TRAIN, VALIDATION

Layout = Literal["auto", "nhw", "nhwc", "nchw"]

_CHANNELS = (1, 2, 3, 4)
"""Lengths of the channel axis accepted when the layout is inferred: grey, grey with alpha, RGB, RGBA."""

Classes = np.ndarray
"""The labels of the classes as in the file, in the order of their numbers; (classes,)."""


class Arrays(Dataset):
    """Images and labels in an `.npz` file written by `numpy.savez`.

    `images`: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W). `labels`: (N,), integers 0..C-1, all of which occur, or
    strings, which are numbered in sorted order. `test_images`, `test_labels`, `val_images`, `val_labels`: the same,
    optional; without them a share of the images, stratified by class, is held out as test or validation set. Other
    names, labels and pixels are accepted if unambiguous, and `notes` describes how they were interpreted. Arrays of
    objects are rejected.
    """

    name = "arrays"

    def __init__(
        self,
        *,
        path: FilePath,
        layout: Layout = "auto",
        test: Share = 0.2,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`path`: the `.npz` file. `layout`: axis order of `images`; auto: inferred from the shape.

        `test`: share held out as test set if the file has none. The other options are those of `Dataset`.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        if not 0.01 <= test <= 0.9:
            raise ValueError(f"test={test}: must be from 0.01 to 0.9")
        self.path = path
        self.layout = layout
        self.test = test

    @property
    def task(self) -> Task:
        """The task from the header of the images and from the labels; DatasetError if the file is not usable."""
        with ArrayFile(self.path) as file:
            shape, axes = self._image_axes(file, "images")
            channels, height, width = (shape[axis] if axis >= 0 else 1 for axis in axes[1:])
            classes = _classes(file, _labels(file, "labels")[0])[0]
        return Task(self.name, channels, height, width, outputs=len(classes))

    def read(self) -> Raw:
        with ArrayFile(self.path) as file:
            self._image_axes(file, "images")  # gives the clearer message for an empty file
            labels, label_remarks = _labels(file, "labels")
            classes, class_remarks = _classes(file, labels)
            remarks = [*_name_remarks(file), *label_remarks, *class_remarks]
            parts: dict[str, Split] = {}
            for part, prefix in PREFIXES.items():
                if f"{prefix}images" in file.names:
                    parts[part], told = self._part(file, prefix, classes)
                    remarks += told
            _check_shapes(file, parts)
        whole, names = parts[TRAIN], tuple(map(str, classes))
        notes = ReadingNotes(tuple(dict.fromkeys(remarks)))
        if TEST in parts:
            return Raw(whole, parts[TEST], names, validation=parts.get(VALIDATION), notes=notes)
        kept, cut_off = splitting.cut(whole.labels, len(classes), self.test, self._stream(TEST_STREAM))
        if not len(cut_off):
            raise self._error("no class has two images, so none can be kept for the test set")
        training, test = whole.take(kept), whole.take(cut_off)
        return Raw(training, test, names, validation=parts.get(VALIDATION), notes=notes)

    def _error(self, text: str) -> DatasetError:
        return DatasetError(f"dataset.path={self.path}: {text}")

    def _image_axes(self, file: ArrayFile, role: str) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
        """The shape of an array of images, and the indices of its axes N, C, H, W; -1 for the channels of (N, H, W)."""
        shape, dtype = file.header(role)
        name = file.names[role]
        if dtype.kind not in "buif":
            raise self._error(f"{name} are {dtype}; they must be numbers, best uint8, pixels from 0 to 255")
        if 0 in shape or len(shape) not in (3, 4):
            raise self._error(f"{name} have the shape {shape}; expected (N, H, W), (N, H, W, C) or (N, C, H, W)")
        layout = self.layout
        if layout == "auto":
            fitting = ["nhw"] if len(shape) == 3 else []
            if len(shape) == 4:
                fitting += ["nhwc"] if shape[3] in _CHANNELS else []
                fitting += ["nchw"] if shape[1] in _CHANNELS else []
            if len(fitting) != 1:
                raise self._error(
                    f"{name} of the shape {shape} do not tell which axis holds the channels; "
                    "set dataset.layout=nhwc or dataset.layout=nchw"
                )
            layout = fitting[0]  # type: ignore[assignment]
        if len(layout) != len(shape):
            raise self._error(f"{name} have the shape {shape}, which does not fit dataset.layout={layout}")
        return shape, {"nhw": (0, -1, 1, 2), "nhwc": (0, 3, 1, 2), "nchw": (0, 1, 2, 3)}[layout]

    def _part(self, file: ArrayFile, prefix: str, classes: Classes) -> tuple[Split, list[str]]:
        """Images in the axis order of all data sets, with labels numbered by `classes`, and remarks."""
        axes = self._image_axes(file, f"{prefix}images")[1]
        name, label_name = file.names[f"{prefix}images"], file.names[f"{prefix}labels"]
        try:
            images, kind = pixel_bytes(file.values(f"{prefix}images"))
        except ValueError as error:
            raise self._error(f"{name} {error}") from None
        images = images[:, None] if axes[1] == -1 else images.transpose(axes)
        labels, remarks = _labels(file, f"{prefix}labels")
        if labels.shape != (len(images),):
            raise self._error(f"{label_name} have the shape {labels.shape}; expected ({len(images)},), one per image")
        if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
            raise self._error(f"{label_name} are {labels.dtype} and labels are {classes.dtype}; they must agree")
        unknown = np.setdiff1d(labels, classes)
        if len(unknown):
            raise self._error(f"{label_name} hold {unknown[0]!s}, which is not among {file.names['labels']}")
        remarks += [f"{name}: {kind}"] if kind else []
        return Split(np.ascontiguousarray(images), np.searchsorted(classes, labels).astype(np.int64)), remarks


def _labels(file: ArrayFile, role: str) -> tuple[np.ndarray, list[str]]:
    """The labels of a role as integers or text, (N,), and remarks."""
    name = file.names[role]
    try:
        labels, kind = plain_labels(file.values(role), all_used=role == "labels")
    except ValueError as error:
        raise file.error(f"{name} {error}") from None
    return labels, [f"{name}: {kind}"] if kind else []


def _classes(file: ArrayFile, labels: np.ndarray) -> tuple[Classes, list[str]]:
    """The classes among the labels of the training images, and remarks."""
    name = file.names["labels"]
    try:
        classes, kind = class_values(labels)
    except ValueError as error:
        raise file.error(f"{name} {error}") from None
    return classes, [f"{name}: {kind}"] if kind else []


def _name_remarks(file: ArrayFile) -> Iterator[str]:
    """Remarks on arrays with other names and their roles, and on ignored arrays."""
    renamed = [f"{name} ({role})" for role, name in file.names.items() if name != role]
    if renamed:
        yield f"recognised by name: {', '.join(renamed)}"
    if "val_images" in file.names:
        yield f"the validation part is {file.names['val_images']}; dataset.validation is not used"
    if file.others:
        yield f"arrays ignored: {', '.join(file.others)}"


def _check_shapes(file: ArrayFile, parts: dict[str, Split]) -> None:
    """DatasetError if the images of the parts differ in size."""
    shape = parts[TRAIN].images.shape[1:]
    for part, split in parts.items():
        if split.images.shape[1:] != shape:
            names = file.names[f"{PREFIXES[part]}images"], file.names["images"]
            raise file.error(
                f"{names[0]} are {_times(split.images.shape[1:])} and {names[1]} {_times(shape)} "
                "(channels x height x width); they must agree"
            )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
