"""Statistics over seeds, using only numpy: means and intervals, paired tests, effect sizes, ranks.

Random numbers (resampling) come from a generator with a fixed seed, so that the same numbers always give the same
intervals and p-values.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nasrun.core.averages import exact_mean

RESAMPLES = 10_000
EXACT_PAIRS = 14
"""Maximum number of pairs for which all sign patterns are enumerated (16,384); beyond, `RESAMPLES` of them are
drawn."""

_SEED = 20061122


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the remaining values after a quarter, rounded down, is cut off at each end.

    Less sensitive to single runs than the mean, and based on more runs than the median (Agarwal et al. 2021, "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice", section 4.3).
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    cut = len(ordered) // 4
    return exact_mean(ordered[cut : len(ordered) - cut].tolist())


def bootstrap_means(values: np.ndarray, resamples: int = RESAMPLES, share: float = 0.95) -> np.ndarray:
    """Percentile bootstrap intervals of the mean over the first axis: float (2, ...) of values (seeds, ...).

    All columns are resampled alike: whole curves are drawn, not points of them.
    """
    values = np.asarray(values, dtype=float)
    count = len(values)
    rng = np.random.default_rng(_SEED)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    means = weights @ values.reshape(count, -1)
    tail = (1 - share) / 2
    limits: np.ndarray = np.quantile(means, [tail, 1 - tail], axis=0).reshape(2, *values.shape[1:])
    return np.where(np.ptp(values, axis=0) == 0, values[0], limits)  # no rounding if all are equal


def bootstrap_mean(values: np.ndarray) -> Interval:
    """The 95 % percentile bootstrap interval of the mean of values (seeds,)."""
    return Interval(*map(float, bootstrap_means(values)))


def permutation_test(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value of a paired permutation test of the mean difference.

    Under the null hypothesis each pair's difference is equally likely with either sign. All patterns of signs are
    enumerated up to `EXACT_PAIRS` pairs; beyond, `RESAMPLES` are drawn, including the observed one. With n pairs the
    p-value is at least 2 / 2**n: with 5 it cannot fall below 0.0625.
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    count = len(differences)
    if count <= EXACT_PAIRS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
        extra = 0
    else:
        signs = np.random.default_rng(_SEED).choice((1.0, -1.0), size=(RESAMPLES, count))
        extra = 1
    sums = np.abs(signs @ differences)
    observed = abs(float(differences.sum()))
    # Sums that are mathematically equal differ in the last digits.
    reached = int((sums >= observed - 1e-9 * float(np.abs(differences).sum())).sum())
    return (reached + extra) / (len(sums) + extra)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, running = [0.0] * len(p_values), 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = running
    return corrected


def paired_cohen_d(first: np.ndarray, second: np.ndarray) -> float:
    """Mean of the differences over their sample deviation; infinite if all are equal and not zero, 0 if all are
    zero."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if deviation <= 1e-12 * abs(mean) or deviation == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation


def cohen_d(first: np.ndarray, second: np.ndarray) -> float:
    """Difference of the means over the pooled sample deviation, of at least two values each (Cohen 1988); infinite if
    both groups are constant and the means differ, 0 if they do not."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    mean = exact_mean(first.tolist()) - exact_mean(second.tolist())
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in (first, second))
    deviation = math.sqrt(squares / (len(first) + len(second) - 2))
    if deviation <= 1e-12 * abs(mean) or deviation == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation


def vargha_delaney(first: np.ndarray, second: np.ndarray) -> float:
    """A12: the probability that a value of `first` is above one of `second`, ties counted half (Vargha and Delaney
    2000)."""
    difference = np.subtract.outer(np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of scores (seeds, groups) within each row, the highest score first: 1 is best, ties share their mean."""
    scores = np.asarray(scores, dtype=float)
    above = (scores[:, :, None] < scores[:, None, :]).sum(axis=2)
    equal = (scores[:, :, None] == scores[:, None, :]).sum(axis=2)
    result: np.ndarray = 1 + above + (equal - 1) / 2
    return result


def friedman(scores: np.ndarray) -> float:
    """p-value of Friedman's test, corrected for ties, that all groups are equal; scores (seeds, groups).

    1 if every row is one tie. With two groups it is the approximation of the sign test.
    """
    rows, groups = scores.shape
    ranked = ranks(scores)
    spread = float(((ranked - (groups + 1) / 2) ** 2).sum())
    if spread == 0:
        return 1.0
    statistic = (groups - 1) * rows**2 * float(((ranked.mean(axis=0) - (groups + 1) / 2) ** 2).sum()) / spread
    return chi_square_tail(statistic, groups - 1)


def chi_square_tail(value: float, degrees: int) -> float:
    """Probability that a chi-square variable with integer degrees of freedom is at least `value` (closed form)."""
    half = value / 2
    if degrees % 2:
        total, power, factor = math.erfc(math.sqrt(half)), 0.5, math.exp(-half) * math.sqrt(half) / math.gamma(1.5)
    else:
        total, power, factor = 0.0, 0.0, math.exp(-half)
    while power < degrees / 2:
        total += factor
        power += 1
        factor *= half / power
    return min(1.0, total)


def critical_difference(groups: int, blocks: int, level: float = 0.05) -> float:
    """The difference of average ranks from which two groups differ by Nemenyi's test (Demsar 2006, equation in 3.2.2).

    `blocks`: number of rankings that are averaged. The critical value is the upper `level` quantile of the range of as
    many normal variables as there are groups, over the root of 2; it is computed, not looked up.
    """
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _normal_range(middle, groups) < 1 - level else (low, middle)
    return high / math.sqrt(2) * math.sqrt(groups * (groups + 1) / (6 * blocks))


def _normal_range(width: float, count: int) -> float:
    """Probability that the range of `count` standard normal variables is at most `width`."""
    points = np.linspace(-9.0, 9.0 + width, 4001)
    below = _normal(points) - _normal(points - width)
    density = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(count * density * below ** (count - 1), points))


def _normal(points: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-point / math.sqrt(2)) for point in points])


def cliques(average_ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Ranges of groups, in the order of their average ranks, within which none differ: as (first, last) indices.

    `average_ranks` in ascending order. Only the longest ranges of at least two are returned (Demsar 2006, figure 1).
    """
    found: list[tuple[int, int]] = []
    for first in range(len(average_ranks)):
        last = int(np.searchsorted(average_ranks, average_ranks[first] + difference, side="left")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
