"""Cache of decoded images: small sets in memory, others in a memory-mapped file.

The name of the file is a hash of everything that determines its pixels: the contents of the image files in order, the
size, the resize method, and the version of Pillow. It is created atomically by one process while others wait.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasrun.core.home import at_home
from nasrun.core.locks import locked
from nasrun.datasets.base import DatasetError
from nasrun.datasets.decoding import Reading, decode, digests_of_files, write_at
from nasrun.datasets.image_files import ImageError, ImageReader
from nasrun.datasets.mapped import ImageFile, Images, MappedImages, reserve
from nasrun.datasets.sources import cache_folder

FORMAT = 1
"""Version of the layout, part of the file's name."""
SMALL = 64 * 2**20
"""Total bytes of image files and their pixels below which every run decodes them to memory."""
AUTO = "auto"
PARTIAL = ".partial"


@dataclass(frozen=True)
class ReadImages:
    """Images in the order of their files, with records and failures (`Reading`), and a `remark` on their location.
    Images of files that are corrupt or failed must be excluded."""

    images: Images
    records: np.ndarray
    failures: Sequence[ImageError]
    remark: str | None = None


def read_images(paths: Sequence[Path], reader: ImageReader, cache: str | None, *, skip: bool) -> ReadImages:
    """Load the images of some files. `cache`: the folder of the cache file; `auto`: nasrun's cache folder, except for
    few images; None: no cache, decode to memory. `skip`: as for `decode`.

    DatasetError, in one line, if a given folder cannot be written to, or if the images do not fit in memory.
    """
    size = len(paths) * int(np.prod(reader.shape))
    if cache is None or (cache == AUTO and size + _bytes_of(paths) < SMALL):
        return _into_memory(paths, reader, skip=skip)
    folder = cache_folder() / "images" if cache == AUTO else at_home(cache)
    path = folder / f"{_key(paths, reader, skip=skip)}.images"
    if (whole := _opened(path)) is not None:
        return _mapped(whole)
    try:
        return _created(path, paths, reader, skip=skip)
    except OSError as error:
        reason = f"{folder}: cannot hold {_gigabytes(size)} of decoded pictures ({error.strerror or error})"
        remedy = "name another folder as dataset.cache=FOLDER"
        if cache != AUTO:
            raise DatasetError(f"dataset.cache={cache}: {reason}; {remedy}") from None
        if size > memory_bytes() // 2:
            raise DatasetError(f"{reason}, nor can the memory; {remedy} or in $NASRUN_CACHE") from None
        print(f"nasrun: {reason}; they are decoded into memory, in every run; {remedy}", file=sys.stderr)
        return _into_memory(paths, reader, skip=skip)


def _into_memory(paths: Sequence[Path], reader: ImageReader, *, skip: bool) -> ReadImages:
    images = np.zeros((len(paths), *reader.shape), dtype=np.uint8)

    def write(place: int, pixels: np.ndarray) -> None:
        images[place] = pixels

    return ReadImages(images, *decode(paths, reader, write, skip=skip))


def _mapped(file: ImageFile) -> ReadImages:
    images = MappedImages(file, np.arange(len(file.records)))
    remark = f"decoded pictures: {file.path} ({_gigabytes(file.pixels.nbytes)}), mapped into memory"
    return ReadImages(images, file.records, (), remark)


def _opened(path: Path) -> ImageFile | None:
    """The cache file; None if it is missing or incomplete."""
    try:
        return ImageFile(path)
    except (OSError, ValueError, EOFError):
        return None


def _created(path: Path, paths: Sequence[Path], reader: ImageReader, *, skip: bool) -> ReadImages:
    """Create the cache file, or wait for another process that does. A failure leaves no file; files of killed processes
    are removed. OSError if it cannot be written."""
    folder, name = path.parent, f"{len(paths):,} pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", name, "decodes"):
        if (whole := _opened(path)) is not None:
            return _mapped(whole)
        for left in folder.glob(f"*{PARTIAL}"):
            left.unlink()
        print(f"{name}: decoding them once; later runs start from {path}", file=sys.stderr, flush=True)
        partial = path.with_suffix(PARTIAL)
        try:
            reading = _write(partial, paths, reader, skip=skip)
            if not reading.failures:
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    if reading.failures:
        return ReadImages(np.empty((0, *reader.shape), np.uint8), *reading)
    return _mapped(ImageFile(path))


def _write(path: Path, paths: Sequence[Path], reader: ImageReader, *, skip: bool) -> Reading:
    shape = (len(paths), *reader.shape)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        file.flush()
        start, size = file.tell(), int(np.prod(shape))
        reserve(file.fileno(), start + size)
        reading = decode(paths, reader, write_at(file.fileno(), start), skip=skip)
        file.seek(start + size)
        np.lib.format.write_array(file, reading.records, version=(1, 0), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return reading


def _key(paths: Sequence[Path], reader: ImageReader, *, skip: bool) -> str:
    """The name of a cache file: SHA-256 of everything that determines its pixels, in hex."""
    import PIL

    settings = {"shape": reader.shape, "resize": reader.resize, "skip": skip, "pillow": PIL.__version__}
    content = hashlib.sha256(json.dumps({"format": FORMAT, **settings}, sort_keys=True).encode())
    for digest in digests_of_files(paths):
        content.update(digest or b"-" * content.digest_size)
    return content.hexdigest()[:32]


def _bytes_of(paths: Sequence[Path]) -> int:
    """Total bytes of files; inaccessible ones count as zero."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EACCES, errno.ELOOP):
                raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
    return total


def memory_bytes() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _gigabytes(size: int) -> str:
    return f"{size / 10**9:.2f} GB" if size >= 10**8 else f"{size / 10**6:.1f} MB"
