"""The confidence in a selection: the probability that the network with the best score is really the best."""

from collections.abc import Sequence
from math import erf, sqrt

import numpy as np

POINTS = 2001
REACH = 8.0
CERTAIN = REACH + 10


def noise_of_pairs(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Standard deviation of a score, estimated from networks trained twice; None for fewer than two such networks."""
    if len(pairs) < 2:
        return None
    return sqrt(sum((first - second) ** 2 for first, second in pairs) / (2 * len(pairs)))


def noise_of_share(share: float, images: int) -> float:
    """Standard deviation of an accuracy `share` measured on `images` images, which are a sample of all possible
    images."""
    return sqrt(max(share * (1 - share), 1 / (4 * images)) / images)


def probability_of_best(scores: Sequence[float], noise: float) -> float:
    """The probability that the first of some networks is the best, if scores have normal noise of equal deviation and
    nothing else is known. 1 for a single network."""
    if len(scores) < 2:
        return 1.0
    if noise <= 0:
        return float(all(scores[0] > other for other in scores[1:]))
    grid = np.linspace(-REACH, REACH, POINTS)
    density = np.exp(-(grid**2) / 2)
    below = np.ones_like(grid)
    for other in scores[1:]:
        if scores[0] - other > CERTAIN * noise:
            continue  # the factor is 1 to all digits
        below *= [(1 + erf(value / sqrt(2))) / 2 for value in grid + (scores[0] - other) / noise]
    return float((density * below).sum() / density.sum())
