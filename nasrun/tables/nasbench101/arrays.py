"""How NAS-Bench-101's hashes and trainings lie in arrays, in memory and in the cache."""

import numpy as np


def halves_of(digests: np.ndarray) -> np.ndarray:
    """Hashes as uint8 (rows, 16) in the form that `CellIndex` takes."""
    return np.ascontiguousarray(np.ascontiguousarray(digests).view(">u8").T, dtype=np.uint64)


def starts_of(rows: np.ndarray, count: int) -> np.ndarray:
    """`Trainings.starts` for trainings that stand in the order of their rows, of which there are `count`."""
    return np.searchsorted(rows, np.arange(count + 1))
