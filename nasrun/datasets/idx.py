"""IDX files as used by MNIST: a big-endian header (magic, sizes), then unsigned bytes; optionally gzip-compressed.

Format: http://yann.lecun.com/exdb/mnist/. Magic 0x00000801 is a list of labels, 0x00000803 a stack of images.
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from nasrun.datasets.base import DatasetError

_REMEDY = "replace or delete it"


def read_idx(path: Path, shape: tuple[int, ...], sha256: str) -> np.ndarray:
    """The uint8 array of an IDX file (compressed if named `.gz`) with exactly this shape and content.

    `sha256` is that of the unpacked file. DatasetError names the file and the problem: a truncated or damaged gz,
    another magic, other counts, missing or trailing bytes, other content.
    """
    header = struct.calcsize(f">{1 + len(shape)}I")
    size = header + int(np.prod(shape))
    data = read_unpacked(path, size)
    magic = 0x800 + len(shape)
    found = int.from_bytes(data[:4], "big")
    if len(data) < header:
        raise DatasetError(f"{path}: truncated: {len(data)} bytes are not even an IDX header of {header}; {_REMEDY}")
    if found != magic:
        raise DatasetError(f"{path}: not the IDX file expected here: magic {found}, not {magic}; {_REMEDY}")
    counts = struct.unpack(f">{len(shape)}I", data[4:header])
    if counts != shape:
        raise DatasetError(f"{path}: holds {_times(counts)} values, not {_times(shape)}; {_REMEDY}")
    if len(data) < size:
        raise DatasetError(f"{path}: truncated: {len(data):,} bytes unpacked, not {size:,}; {_REMEDY}")
    if len(data) > size:
        raise DatasetError(f"{path}: bytes follow after the {size:,} announced by its header; {_REMEDY}")
    content = hashlib.sha256(data).hexdigest()
    if content != sha256:
        raise DatasetError(f"{path}: wrong content: SHA-256 {content} unpacked, not {sha256}; {_REMEDY}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape).copy()


def read_unpacked(path: Path, size: int) -> bytes:
    """The content of a file, unpacked if its name ends in `.gz`: at most `size` + 1 bytes, to limit memory.
    DatasetError if it cannot be read, or if the gz is truncated or damaged."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            return bytes(file.read(size + 1))
    except EOFError:
        raise DatasetError(f"{path}: truncated: the gz file ends too early; {_REMEDY}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"{path}: not a whole gz file ({error}); {_REMEDY}") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
