"""Decoded images in a memory-mapped file, for parts of a data set that are not held in memory.

The file has two consecutive arrays in NumPy's format: the pixels, uint8 (N, C, H, W), and a record per image
(`record_type`), which is written last. So a file without records is incomplete.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

Rows = int | slice | np.ndarray


def record_type(channels: int) -> np.dtype[Any]:
    """The type of a record of an image: `digest` (SHA-256 of its pixels), `sums` and `squares` of its channels; `width`
    and `height` of its file; whether it had more `frames`, was `transparent`, or is `corrupt`."""
    return np.dtype(
        [
            ("digest", np.uint8, 32),
            ("sums", "<u8", channels),
            ("squares", "<u8", channels),
            ("width", "<i4"),
            ("height", "<i4"),
            ("frames", "?"),
            ("transparent", "?"),
            ("corrupt", "?"),
        ]
    )


class ImageFile:
    """A complete file of decoded images. ValueError if it is malformed, OSError if it cannot be read.

    A copy in another process maps the same file, so that both share the page cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            shape, offset = _pixels_at(file)
            file.seek(offset + int(np.prod(shape)))
            self.records: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        if self.records.shape != shape[:1] or self.records.dtype != record_type(shape[1]):
            raise ValueError("the records are not those of the images")
        # Copy-on-write: torch warns about read-only arrays, and nothing must be written to the file.
        self.pixels: np.ndarray = np.memmap(path, np.uint8, "c", offset, shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageFile, (self.path,)


def _pixels_at(file: Any) -> tuple[tuple[int, ...], int]:
    """The shape and the offset of the pixels."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not in the format of numpy 1.0")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    if kind != np.uint8 or len(shape) != 4 or by_columns:
        raise ValueError(f"the pixels are {kind} {shape}")
    return shape, file.tell()


class MappedImages:
    """A selection of images of a file, indexed like an array and read on access.

    `rows`: int64, their indices in the file.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4
    nbytes = 0
    """Bytes in memory."""

    def __init__(self, file: ImageFile, rows: np.ndarray) -> None:
        self.file, self.rows = file, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.rows), *self.file.pixels.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Rows) -> np.ndarray:
        """Images as an array in memory; a single one as a view of the file."""
        found: np.ndarray = self.file.pixels[self.rows[index]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def at(self, indices: np.ndarray) -> "MappedImages":
        """The images at some indices."""
        return MappedImages(self.file, self.rows[indices])

    @cached_property
    def records(self) -> np.ndarray:
        """The records of the images."""
        found: np.ndarray = self.file.records[self.rows]
        return found


Images = np.ndarray | MappedImages
"""Images of a part of a data set, uint8 (N, C, H, W), in memory or in a file."""


def taken(images: Images, indices: np.ndarray) -> Images:
    """The images at some indices; a copy if they are in memory."""
    return images.at(indices) if isinstance(images, MappedImages) else images[indices]


def joined(parts: Sequence[Images]) -> Images:
    """The images of several parts concatenated; a copy, unless all are in one file."""
    first = parts[0]
    if isinstance(first, MappedImages):
        files = [part for part in parts if isinstance(part, MappedImages) and part.file.path == first.file.path]
        if len(files) == len(parts):
            return MappedImages(first.file, np.concatenate([part.rows for part in files]))
    return np.concatenate([np.asarray(part) for part in parts])


def in_memory(images: Images) -> np.ndarray:
    """All images in memory."""
    return np.asarray(images)


def image_digests(images: Images) -> np.ndarray:
    """SHA-256 of the values of each image, or of other arrays in little-endian order, uint8 (N, 32); of images in a
    file from its records."""
    if isinstance(images, MappedImages):
        found: np.ndarray = images.records["digest"]
        return found
    kind = images.dtype.newbyteorder("<")
    digests = b"".join(hashlib.sha256(np.ascontiguousarray(image, kind).data).digest() for image in images)
    return np.frombuffer(digests, np.uint8).reshape(len(images), hashlib.sha256().digest_size)


def reserve(descriptor: int, size: int) -> None:
    """Reserve disk space for a file; OSError if there is not enough. Writing to a mapped file on a full disk would kill
    the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
