"""Array formats of NAS-Bench-101's hashes and training runs, in memory and in the cache."""

import numpy as np


def halves_of(digests: np.ndarray) -> np.ndarray:
    """Convert hashes, uint8 (rows, 16), to the form expected by `CellIndex`."""
    return np.ascontiguousarray(np.ascontiguousarray(digests).view(">u8").T, dtype=np.uint64)


def starts_of(rows: np.ndarray, count: int) -> np.ndarray:
    """`Trainings.starts` for training runs sorted by their `count` rows."""
    return np.searchsorted(rows, np.arange(count + 1))
