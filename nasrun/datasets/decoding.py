"""Decodes many image files on all cores.

Uses threads: Pillow releases the interpreter lock while it decodes and scales, so that two cores decode twice as many
images as one. Processes would have to import the user's program again.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from nasrun.core.progress import progress
from nasrun.datasets.image_files import CorruptImageError, ImageError, ImageReader
from nasrun.datasets.mapped import record_type

AT_A_TIME = 32
"""Number of files per task of a thread."""

Write = Callable[[int, np.ndarray], None]
"""Receives the index of an image and its pixels, contiguous uint8 (C, H, W), from several threads."""
_Value = TypeVar("_Value")


class Reading(NamedTuple):
    """The result of reading files: a record of each (`record_type`), and the errors of unusable ones."""

    records: np.ndarray
    failures: list[ImageError]


def decode(paths: Sequence[Path], reader: ImageReader, write: Write, *, skip: bool) -> Reading:
    """Decode files and write their pixels. `skip`: files that are not images are recorded as `corrupt` instead of as
    failures."""
    records = np.zeros(len(paths), record_type(reader.shape[0]))

    def one(place: int) -> ImageError | None:
        try:
            found = reader.decode(paths[place])
        except ImageError as error:
            records[place]["corrupt"] = True
            return None if skip and isinstance(error, CorruptImageError) else error
        pixels = np.ascontiguousarray(found.pixels)
        write(place, pixels)
        sums, squares = moments(pixels)
        digest = np.frombuffer(hashlib.sha256(pixels.data).digest(), np.uint8)
        records[place] = (digest, sums, squares, found.width, found.height, found.frames, found.transparent, False)
        return None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about metadata, palettes and large images
        failures = on_all_cores(one, len(paths), f"decoding {len(paths):,} pictures")
    return Reading(records, [error for error in failures if error is not None])


def moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the pixels and of their squares per channel of uint8 (C, H, W), as exact integers."""
    values = pixels.reshape(len(pixels), -1).astype(np.float64)  # exact below 2**53
    return values.sum(1).astype(np.uint64), np.einsum("cp,cp->c", values, values).astype(np.uint64)


def digests_of_files(paths: Sequence[Path]) -> list[bytes]:
    """SHA-256 of the content of each file; empty if it cannot be read."""

    def one(place: int) -> bytes:
        path = paths[place]
        try:
            if not path.is_file():  # a pipe would block for ever
                return b""
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return b""

    return on_all_cores(one, len(paths), f"looking at {len(paths):,} pictures")


def on_all_cores(work: Callable[[int], _Value], count: int, what: str) -> list[_Value]:
    """The results of a function for 0, 1, ..., called by one thread per available core."""

    def some(start: int) -> list[_Value]:
        return [work(place) for place in range(start, min(start + AT_A_TIME, count))]

    found: list[_Value] = []
    pool = ThreadPoolExecutor(_cores(), "nasrun-decode")
    try:
        with progress(what, count) as tell:
            for values in pool.map(some, range(0, count, AT_A_TIME)):
                found += values
                tell(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_at(descriptor: int, offset: int) -> Write:
    """Writes images to an open file, consecutively from an offset."""

    def write(place: int, pixels: np.ndarray) -> None:
        rest: Any = pixels.data.cast("B")
        at = offset + place * len(rest)
        while len(rest):
            done = os.pwrite(descriptor, rest, at)
            rest, at = rest[done:], at + done

    return write
