"""Decides whether mirrored images keep their class, as photographs of cats do, and digits do not."""

import re
from typing import NamedTuple

import numpy as np

from nasrun.core.seeding import Purpose, generator
from nasrun.datasets.base import MIRROR_STREAM, Dataset, Split

MOST_IMAGES = 4000
AT_A_TIME = 250
"""Images in memory as floats."""
SIDE = 16
RIDGE = 0.1
KEPT = 0.9
DEVIATIONS = 2
"""Mirrored images count as different if their recognition rate is less than this share of that of the originals, and
the difference exceeds this number of standard deviations."""

_SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


class Mirrors(NamedTuple):
    """Whether images may be mirrored, and why."""

    allowed: bool
    reason: str


def mirrors_of(dataset: Dataset) -> Mirrors:
    """Decide from knowledge of the data set, from the names of its classes, or else from its training images.

    In the last case, a linear classifier of small greyscale images (ridge regression) is fitted to one half of the
    images and applied to the other half, both original and mirrored, and vice versa. It recognises mirrored digits, or
    drawings that all face one way, far less often.
    """
    if dataset.mirrored is not None:
        return Mirrors(dataset.mirrored, f"known of {dataset.name}")
    splits = dataset.load()
    sided = [name for name in splits.classes if _SIDES.search(name)]
    if sided:
        return Mirrors(False, f"a class is called {sided[0]}")
    plain, mirrored, count = recognised(splits.train, len(splits.classes), generator(0, Purpose.SPLIT, MIRROR_STREAM))
    deviation = (2 * plain * (1 - plain) / count) ** 0.5
    allowed = mirrored >= KEPT * plain or plain - mirrored <= DEVIATIONS * deviation
    shares = f"{100 * mirrored:.0f} % of mirrored ones, {100 * plain:.0f} % of the others"
    return Mirrors(bool(allowed), f"a linear classifier recognises {shares}")


def recognised(split: Split, classes: int, rng: np.random.Generator) -> tuple[float, float, int]:
    """The recognition rates of a linear classifier for original and mirrored images of a part, and the number of
    images."""
    chosen = rng.permutation(len(split))[:MOST_IMAGES]
    parts = np.array_split(chosen, -(-len(chosen) // AT_A_TIME))
    pictures, labels = np.concatenate([_small(split.images[some]) for some in parts]), split.labels[chosen]
    rows = [_standardised(some, pictures) for some in (pictures, pictures[:, :, ::-1])]
    right = np.zeros(2)
    half = len(chosen) // 2
    for own, other in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        known, wanted = rows[0][own], np.eye(classes)[labels[own]]
        penalty = RIDGE * len(known) * np.eye(known.shape[1])
        weights = np.linalg.solve(known.T @ known + penalty, known.T @ wanted)
        right += [np.count_nonzero((some[other] @ weights).argmax(1) == labels[other]) for some in rows]
    return float(right[0] / len(chosen)), float(right[1] / len(chosen)), len(chosen)


def _small(images: np.ndarray) -> np.ndarray:
    """Greyscale images of at most `SIDE` by `SIDE`, float64 (N, rows, columns), from uint8 (N, C, H, W)."""
    small: np.ndarray = images.mean(1, dtype=np.float64)
    for axis in (1, 2):
        size = small.shape[axis]
        cuts = np.linspace(0, size, min(SIDE, size) + 1).astype(int)
        widths = np.diff(cuts).reshape((-1, 1) if axis == 1 else (1, -1))
        small = np.add.reduceat(small, cuts[:-1], axis) / widths
    return small


def _standardised(pictures: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Images as rows with a constant at the end, standardised by the mean and deviation of others."""
    rows = (pictures - by.mean()) / max(by.std(), 1e-9)
    return np.concatenate((rows.reshape(len(rows), -1), np.ones((len(rows), 1))), axis=1)
