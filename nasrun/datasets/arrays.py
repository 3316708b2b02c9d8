"""The user's own images as a numpy file: an `.npz` with `images` and `labels`."""

import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Literal, TypeVar

import numpy as np

from nasrun.core import Task
from nasrun.core.home import at_home
from nasrun.datasets import splitting
from nasrun.datasets.base import TEST_STREAM, Count, Dataset, DatasetError, Raw, Seed, Share, Split

_Value = TypeVar("_Value")

Layout = Literal["auto", "nhw", "nhwc", "nchw"]

_CHANNELS = (1, 2, 3, 4)
"""What the axis of the channels can be long when a layout is guessed: grey, grey and alpha, RGB, RGBA."""


class Arrays(Dataset):
    """Images and labels of an `.npz` file, as `numpy.savez` writes it.

    `images`: uint8 (N, H, W), (N, H, W, C) or (N, C, H, W). `labels`: (N,), whole numbers 0..C-1 of which each
    occurs, or strings, which are numbered in sorted order. `test_images`, `test_labels`: the same, optional; without
    them a share of the images is cut off as test set, by class. Arrays of objects are refused.
    """

    name = "arrays"

    def __init__(
        self,
        *,
        path: str,
        layout: Layout = "auto",
        test: Share = 0.2,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`path`: the `.npz` file. `layout`: order of the axes of `images`; auto where their shape tells it.

        `test`: share that becomes the test set where the file has none. The other options are those of `Dataset`.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        if not 0.01 <= test <= 0.9:
            raise ValueError(f"test={test}: must be from 0.01 to 0.9")
        self.path = path
        self.layout = layout
        self.test = test

    @property
    def task(self) -> Task:
        """Read from the header of `images` and from the labels; DatasetError where the file is not usable."""
        with self._open() as file:
            self._names(file)
            shape = self._header(file, "images")
            channels, height, width = (shape[axis] if axis >= 0 else 1 for axis in self._axes(shape, "images")[1:])
            classes = self._classes(self._array(file, "labels"))
        return Task(self.name, channels, height, width, outputs=len(classes))

    def _read(self) -> Raw:
        with self._open() as file:
            names = self._names(file)
            self._axes(self._header(file, "images"), "images")  # the plainer message, where the file holds nothing
            labels = self._array(file, "labels")
            classes = self._classes(labels)
            whole = self._split(file, "", labels, classes)
            if "test_images" in names:
                test = self._split(file, "test_", self._array(file, "test_labels"), classes)
                if test.images.shape[1:] != whole.images.shape[1:]:
                    raise self._error(
                        f"test_images are {_times(test.images.shape[1:])} and images {_times(whole.images.shape[1:])} "
                        "(channels x height x width); they must agree"
                    )
                return Raw(whole, test, tuple(map(str, classes)))
        kept, cut_off = splitting.cut(whole.labels, len(classes), self.test, self._stream(TEST_STREAM))
        if not len(cut_off):
            raise self._error("no class has two images, so none can be kept for the test set")
        return Raw(whole.take(kept), whole.take(cut_off), tuple(map(str, classes)))

    def _error(self, text: str) -> DatasetError:
        return DatasetError(f"dataset.path={self.path}: {text}")

    def _open(self) -> zipfile.ZipFile:
        path = at_home(self.path)
        if not path.is_file():
            raise self._error("no such file; it must be an .npz file with the arrays images and labels")
        try:
            return zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise self._error(
                f"not a whole .npz file ({error}); write it with numpy.savez(path, images=..., labels=...)"
            ) from None

    def _names(self, file: zipfile.ZipFile) -> set[str]:
        """The names of the arrays in the file; DatasetError where one is missing."""
        names = {name.removesuffix(".npy") for name in file.namelist()}
        wanted = ["images", "labels"]
        if names & {"test_images", "test_labels"}:
            wanted += ["test_images", "test_labels"]
        for name in wanted:
            if name not in names:
                raise self._error(f"holds no array {name!r}, only {', '.join(sorted(names)) or 'nothing'}")
        return names

    def _header(self, file: zipfile.ZipFile, name: str) -> tuple[int, ...]:
        """The shape of an array of images, which must be bytes; its pixels are not read."""
        shape, dtype = self._read_member(file, name, _shape_and_type)
        if dtype != np.uint8:
            raise self._error(f"{name} are {dtype}; they must be uint8, pixels from 0 to 255")
        return shape

    def _array(self, file: zipfile.ZipFile, name: str) -> np.ndarray:
        return self._read_member(file, name, lambda stream: np.lib.format.read_array(stream, allow_pickle=False))

    def _read_member(self, file: zipfile.ZipFile, name: str, read: Callable[[IO[bytes]], _Value]) -> _Value:
        """What `read` makes of one array's file; DatasetError where that is damaged or holds objects."""
        try:
            with file.open(f"{name}.npy") as stream:
                return read(stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, MemoryError) as error:
            raise self._error(f"the array {name!r} is damaged ({error}); write the file again") from None
        except ValueError as error:
            if "allow_pickle" in str(error):
                error = ValueError("it is an array of objects, which could run any code when read")
            raise self._error(f"the array {name!r} is refused: {' '.join(str(error).split())}") from None

    def _axes(self, shape: tuple[int, ...], name: str) -> tuple[int, int, int, int]:
        """The axes of images in the order N, C, H, W; -1 for the channels of (N, H, W)."""
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
        return {"nhw": (0, -1, 1, 2), "nhwc": (0, 3, 1, 2), "nchw": (0, 1, 2, 3)}[layout]

    def _split(self, file: zipfile.ZipFile, prefix: str, labels: np.ndarray, classes: np.ndarray) -> Split:
        """Images in the order of axes that all data sets have, with labels numbered by `classes`."""
        name = f"{prefix}images"
        axes = self._axes(self._header(file, name), name)
        images = self._array(file, name)
        images = images[:, None] if axes[1] == -1 else images.transpose(axes)
        if labels.shape != (len(images),):
            raise self._error(f"{prefix}labels have the shape {labels.shape}; expected ({len(images)},), one per image")
        if (labels.dtype.kind == "U") != (classes.dtype.kind == "U") or labels.dtype.kind not in "iuU":
            raise self._error(f"{prefix}labels are {labels.dtype} and labels are {classes.dtype}; they must agree")
        unknown = np.setdiff1d(labels, classes)
        if len(unknown):
            raise self._error(f"{prefix}labels hold {unknown[0]!s}, which is not among labels")
        return Split(np.ascontiguousarray(images), np.searchsorted(classes, labels).astype(np.int64))

    def _classes(self, labels: np.ndarray) -> np.ndarray:
        """The classes in the order of their numbers."""
        if labels.ndim != 1 or labels.dtype.kind not in "iuU":
            raise self._error(
                f"labels are {labels.dtype} of the shape {labels.shape}; expected whole numbers or text, one per image"
            )
        classes = np.unique(labels)
        if len(classes) < 2:
            raise self._error(f"labels hold {len(classes)} class; at least 2 are needed")
        if labels.dtype.kind != "U" and not np.array_equal(classes, np.arange(len(classes))):
            raise self._error(
                f"labels run from {classes[0]} to {classes[-1]} in {len(classes)} classes; they must be 0 to "
                f"{len(classes) - 1}, each in use; or text"
            )
        return classes


def _shape_and_type(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return tuple(shape), dtype


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
