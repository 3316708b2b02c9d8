"""The numbers of a comparison: incumbent curves, a table over seeds, tests of pairs.

An incumbent is the best value so far. Everything is over seeds: a run counts once, with the best that it found.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.reports.compare import statistics, ties
from nasrun.reports.compare.runs import ComparedRun, Comparison

CURVE_RESAMPLES = 2000
CURVE_POINTS = 200
FINAL = ("test_accuracy", "test_loss", "val_regret", "test_regret")


class Row(NamedTuple):
    """A group in the table of a measure. `rank`: its average over the common seeds, 1 is best; None for one group.

    `gain`: how much better the mean is than the average random architecture, in the unit of the measure; None where no
    trial was random, and for measures that are not the objective.
    """

    group: str
    seeds: int
    mean: float
    deviation: float | None
    iqm: float
    low: float
    high: float
    best: float
    rank: float | None
    gain: float | None


class Test(NamedTuple):
    """Two groups compared seed by seed. `difference`: mean of first less second; `p`: of the paired permutation test,
    `p_holm`: corrected for the number of pairs; `cohen_d`, `a12`: effect sizes, turned so that positive, or above 0.5,
    means that the first is better."""

    first: str
    second: str
    pairs: int
    difference: float
    p: float
    p_holm: float
    cohen_d: float
    a12: float


@dataclass(frozen=True)
class Measure:
    """A value that each run has at its end, with what is said of it. `values`: by group, then by seed.

    `friedman`: p-value of the test that all groups are alike; `critical_difference`: of average ranks, by Nemenyi;
    both None below two groups or two common seeds. Values that are ties are equal (`nasrun.reports.compare.ties`).
    """

    name: str
    mode: Literal["max", "min"]
    values: Mapping[str, Mapping[int, float]]
    rows: Sequence[Row]
    tests: Sequence[Test]
    friedman: float | None
    critical_difference: float | None


@dataclass(frozen=True)
class Curve:
    """A group's incumbent: x float (points,), then mean and 95 % bootstrap interval of the mean at each."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def budget(comparison: Comparison) -> int:
    """After how many trials the runs are compared.

    All of them, unless runs were given different numbers of trials: then the fewest. A strategy that ended by itself
    has used its budget.
    """
    given = [int(run.config.get("trials", len(run.values))) for run in comparison.runs]
    if "trials" in comparison.by or len(set(given)) == 1:
        return max(len(run.values) for run in comparison.runs)
    return min(len(run.values) for run in comparison.runs)


def incumbent(run: ComparedRun) -> np.ndarray:
    """The best value so far after each trial, float (trials,); NaN before the first that succeeded."""
    best = np.fmax if run.objective.mode == "max" else np.fmin
    result: np.ndarray = best.accumulate(run.values)
    return result


def random_average(comparison: Comparison) -> tuple[float, int] | None:
    """Mean objective of the architectures that were drawn at random in any of the runs, each once, and their number."""
    drawn: dict[tuple[int | str, ...], float] = {}
    for run in comparison.runs:
        for genome, value in run.samples.items():
            drawn.setdefault(genome, value)
    return (float(np.mean(list(drawn.values()))), len(drawn)) if drawn else None


def measures(comparison: Comparison) -> list[Measure]:
    """The objective, and every final metric that all runs have: test accuracy (else test loss), regrets of a table."""
    length, name, mode = budget(comparison), comparison.objective.metric, comparison.objective.mode
    found = {
        group: {run.seed: float(incumbent(run)[:length][-1]) for run in runs}
        for group, runs in comparison.groups.items()
    }
    average = random_average(comparison)
    made = [_measure(comparison, name, mode, found, average[0] if average else None)]
    for name in FINAL:
        skipped = name == "test_loss" and any(measure.name == "test_accuracy" for measure in made)
        if not skipped and all(name in run.final for run in comparison.runs):
            found = {group: {run.seed: run.final[name] for run in runs} for group, runs in comparison.groups.items()}
            made.append(_measure(comparison, name, "max" if name.endswith("accuracy") else "min", found, None))
    return made


def _measure(
    comparison: Comparison,
    name: str,
    mode: Literal["max", "min"],
    values: Mapping[str, Mapping[int, float]],
    average: float | None,
) -> Measure:
    sign = 1.0 if mode == "max" else -1.0
    everything = np.array([value for found in values.values() for value in found.values()])
    values = ties.merged(values, ties.tolerance(name, comparison.runs, everything))
    seeds = [seed for seed in comparison.seeds if all(np.isfinite(found[seed]) for found in values.values())]
    scores = np.array([[sign * found[seed] for found in values.values()] for seed in seeds])
    ranked = statistics.ranks(scores).mean(axis=0) if seeds and len(values) > 1 else None
    rows = []
    for place, (group, found) in enumerate(values.items()):
        numbers = np.array([value for value in found.values() if np.isfinite(value)])
        if not len(numbers):
            continue
        mean = exact_mean(numbers.tolist())
        rows.append(
            Row(
                group,
                len(numbers),
                mean,
                _deviation(numbers),
                statistics.interquartile_mean(numbers),
                *statistics.bootstrap_mean(numbers),
                float((sign * numbers).max() * sign),
                None if ranked is None else float(ranked[place]),
                None if average is None else sign * (mean - average),
            )
        )
    rows.sort(key=lambda row: -sign * row.mean)
    testable = len(seeds) > 1 and len(values) > 1
    return Measure(
        name,
        mode,
        values,
        rows,
        _tests(list(values), scores, sign, [row.group for row in rows]) if testable else [],
        statistics.friedman(scores) if testable else None,
        statistics.critical_difference(len(values), len(seeds)) if testable else None,
    )


def _deviation(numbers: np.ndarray) -> float | None:
    """Sample standard deviation; exactly 0 for equal numbers, which rounding would not give."""
    if len(numbers) < 2:
        return None
    return float(numbers.std(ddof=1)) if np.ptp(numbers) > 0 else 0.0


def _tests(groups: Sequence[str], scores: np.ndarray, sign: float, order: Sequence[str]) -> list[Test]:
    """Every pair of groups, the better one first; scores (seeds, groups), higher is better."""
    column = {group: scores[:, place] for place, group in enumerate(groups)}
    pairs = list(itertools.combinations([group for group in order if group in column], 2))
    p_values = [statistics.permutation_test(column[first], column[second]) for first, second in pairs]
    return [
        Test(
            first,
            second,
            len(scores),
            sign * exact_mean((column[first] - column[second]).tolist()),
            p,
            corrected,
            statistics.paired_cohen_d(column[first], column[second]),
            statistics.vargha_delaney(column[first], column[second]),
        )
        for (first, second), p, corrected in zip(pairs, p_values, statistics.holm(p_values), strict=True)
    ]


def trial_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent after 1, 2, ... trials, from where all its runs have one; a run that ended keeps it."""
    length = budget(comparison)
    curves = {}
    for group, runs in comparison.groups.items():
        longest = min(length, max(len(run.values) for run in runs))
        lines = np.array([np.pad(incumbent(run), (0, length), mode="edge")[:longest] for run in runs])
        curves[group] = _curve(np.arange(1.0, longest + 1), lines)
    return curves


def time_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent over the seconds since its runs began, on a grid from the first result to the last.

    Empty where trials were looked up in a table that holds no times.
    """
    curves: dict[str, Curve] = {}
    if not all(run.timed for run in comparison.runs):
        return curves
    for group, runs in comparison.groups.items():
        first = min(float(run.seconds[0]) for run in runs)
        last = max(float(run.seconds[-1]) for run in runs)
        grid = np.linspace(first, last, CURVE_POINTS)
        lines = []
        for run in runs:
            place = np.searchsorted(run.seconds, grid, side="right") - 1
            lines.append(np.where(place >= 0, incumbent(run)[np.maximum(place, 0)], np.nan))
        curves[group] = _curve(grid, np.array(lines))
    return curves


def _curve(x: np.ndarray, lines: np.ndarray) -> Curve:
    """Mean and interval of lines (runs, points), where all of them have a value."""
    known = np.isfinite(lines).all(axis=0)
    x, lines = x[known], lines[:, known]
    low, high = statistics.bootstrap_means(lines, CURVE_RESAMPLES)
    return Curve(x, lines.mean(axis=0), low, high)
