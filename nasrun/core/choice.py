"""How sure the choice of a search is: the probability that the network with the best score is the best."""

from collections.abc import Sequence
from math import erf, sqrt

import numpy as np

POINTS = 2001
REACH = 8.0
CERTAIN = REACH + 10


def noise_of_pairs(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Standard deviation of a score, from networks that were trained twice; None below two of these."""
    if len(pairs) < 2:
        return None
    return sqrt(sum((first - second) ** 2 for first, second in pairs) / (2 * len(pairs)))


def noise_of_share(share: float, images: int) -> float:
    """Standard deviation of a share of right answers among so many images, which are a sample of those there are."""
    return sqrt(max(share * (1 - share), 1 / (4 * images)) / images)


def probability_of_best(scores: Sequence[float], noise: float) -> float:
    """The probability that the first of some networks is the best of them, by scores of equal and normal noise, where
    nothing else is known of them. 1 for a single one."""
    if len(scores) < 2:
        return 1.0
    if noise <= 0:
        return float(all(scores[0] > other for other in scores[1:]))
    grid = np.linspace(-REACH, REACH, POINTS)
    density = np.exp(-(grid**2) / 2)
    below = np.ones_like(grid)
    for other in scores[1:]:
        if scores[0] - other > CERTAIN * noise:
            continue  # its factor is 1 in all digits
        below *= [(1 + erf(value / sqrt(2))) / 2 for value in grid + (scores[0] - other) / noise]
    return float((density * below).sum() / density.sum())
