"""The numbers of a comparison: incumbent curves, a table over seeds, tests of pairs.

An incumbent is the best value so far. Everything is over seeds: a run counts once, with the best that it found.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.reports.compare import statistics, ties
from nasrun.reports.compare.question import PLAIN, Cut, Question, p_value
from nasrun.reports.compare.runs import ComparedRun, Comparison
from nasrun.reports.front import MOST_OBJECTIVES, hypervolume

CURVE_RESAMPLES = 2000
CURVE_POINTS = 200
HYPERVOLUME = "hypervolume"
FRONT_POINTS = 60
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
    """Two groups compared seed by seed. `difference`: mean of first less second; `p`: of the test that was asked for,
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
    both None below two groups or two common seeds. `metric`, `title`: what is measured, and the name to show,
    where they are not the name itself. Values that are ties are equal (`nasrun.reports.compare.ties`).
    """

    name: str
    mode: Literal["max", "min"]
    values: Mapping[str, Mapping[int, float]]
    rows: Sequence[Row]
    tests: Sequence[Test]
    friedman: float | None
    critical_difference: float | None
    metric: str = ""
    title: str = ""


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


def measures(comparison: Comparison, question: Question = PLAIN) -> list[Measure]:
    """The objective, with several of them the hypervolume of the front, and every final metric that all runs have: test
    accuracy (else test loss), regrets of a table."""
    comparison_runs, groups = comparison.runs, comparison.groups
    question.check(list(groups), comparison_runs)
    length, name, mode = budget(comparison), comparison.objective.metric, comparison.objective.mode
    average = random_average(comparison)
    gain = average[0] if average else None
    made = []
    cuts: Sequence[Cut | None] = question.cuts or (None,)
    for cut in cuts:
        found = {
            group: {run.seed: float(incumbent(run)[: cut.trials(run) if cut else length][-1]) for run in runs}
            for group, runs in groups.items()
        }
        one = measure_of(comparison, name, mode, found, question, gain)
        made.append(one if cut is None else _cut_off(one, cut))
    made += _hypervolumes(comparison, question, length)
    for name in FINAL:
        skipped = name == "test_loss" and any(measure.name == "test_accuracy" for measure in made)
        if not skipped and all(name in run.final for run in comparison_runs):
            found = {group: {run.seed: run.final[name] for run in runs} for group, runs in groups.items()}
            better: Literal["max", "min"] = "max" if name.endswith("accuracy") else "min"
            made.append(measure_of(comparison, name, better, found, question))
    return made


def _cut_off(measure: Measure, cut: Cut) -> Measure:
    """A measure under the name of the point that it was taken at."""
    title = f"{measure.name} after {cut}"
    return replace(measure, name=measure.name + cut.suffix, metric=measure.name, title=title)


def _hypervolumes(comparison: Comparison, question: Question, length: int) -> list[Measure]:
    """The hypervolume of each run's front at the end, as a list of one; empty without several objectives."""
    volumes = front_volumes(comparison)
    if volumes is None:
        return []
    found = {
        group: {run.seed: float(volumes(run, min(length, len(run.values)))) for run in runs}
        for group, runs in comparison.groups.items()
    }
    return [measure_of(comparison, HYPERVOLUME, "max", found, question)]


def front_volumes(comparison: Comparison) -> Callable[[ComparedRun, int], float] | None:
    """What gives the hypervolume of the front of a run's first trials, all above one reference point; None where runs
    have one objective, or more than `hypervolume` is told of.

    The point is `objective.reference`, or the worst that any of the runs measured in each objective.
    """
    objectives = comparison.runs[0].objectives
    if not 2 <= len(objectives) <= MOST_OBJECTIVES or any(run.scores is None for run in comparison.runs):
        return None
    signs = np.array([1.0 if one.mode == "max" else -1.0 for one in objectives])
    scores = {id(run): signs * run.scores for run in comparison.runs if run.scores is not None}
    worst = np.nanmin(np.concatenate(list(scores.values())), axis=0)
    given = comparison.runs[0].config.get("objective.reference")
    reference = signs * np.array(given, dtype=float) if isinstance(given, list) else worst

    def volume(run: ComparedRun, trials: int) -> float:
        rows = scores[id(run)][:trials]
        return hypervolume(rows[np.isfinite(rows).all(axis=1)], reference)

    return volume


def measure_of(
    comparison: Comparison,
    name: str,
    mode: Literal["max", "min"],
    values: Mapping[str, Mapping[int, float]],
    question: Question,
    average: float | None = None,
) -> Measure:
    """The table and the tests of a value that each run has. `average`: of random architectures."""
    everything = np.array([value for found in values.values() for value in found.values()])
    values = ties.merged(values, ties.tolerance(name, comparison.runs, everything))
    return tabulate(name, mode, values, comparison.seeds, question, average)


def tabulate(
    name: str,
    mode: Literal["max", "min"],
    values: Mapping[str, Mapping[int, float]],
    seeds: Sequence[int],
    question: Question,
    average: float | None = None,
) -> Measure:
    """The table and the tests of values by group and seed, ties made equal. `seeds`: those that all groups have."""
    sign = 1.0 if mode == "max" else -1.0
    seeds = [seed for seed in seeds if all(np.isfinite(found[seed]) for found in values.values())]
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
        _tests(values, scores, sign, [row.group for row in rows], question) if testable else [],
        statistics.friedman(scores) if testable else None,
        statistics.critical_difference(len(values), len(seeds)) if testable else None,
    )


def _deviation(numbers: np.ndarray) -> float | None:
    """Sample standard deviation; exactly 0 for equal numbers, which rounding would not give."""
    if len(numbers) < 2:
        return None
    return float(numbers.std(ddof=1)) if np.ptp(numbers) > 0 else 0.0


def _tests(
    values: Mapping[str, Mapping[int, float]],
    scores: np.ndarray,
    sign: float,
    order: Sequence[str],
    question: Question,
) -> list[Test]:
    """The pairs of groups, the better one first; scores (common seeds, groups), higher is better."""
    column = {group: scores[:, place] for place, group in enumerate(values)}
    pairs = list(itertools.combinations([group for group in order if group in column], 2))
    if question.reference is not None:
        pairs = [pair for pair in pairs if question.reference in pair]
    all_of = {group: sign * np.array([v for v in found.values() if np.isfinite(v)]) for group, found in values.items()}

    def p_of(first: str, second: str) -> float:
        if question.test == "permutation":
            return statistics.permutation_test(column[first], column[second])
        place = all_of if question.test == "mannwhitney" else column
        return p_value(question.test, place[first], place[second])

    p_values = [p_of(first, second) for first, second in pairs]
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


def epoch_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent over the epochs that were trained; empty where trials are whole trainings in all groups,
    so that their number says the same, or where epochs are not known."""
    runs = comparison.runs
    if not any(run.segmented for run in runs) or any(run.epochs is None for run in runs):
        return {}
    clocks = {id(run): run.epochs for run in runs if run.epochs is not None}
    return {group: _over(found, [clocks[id(run)] for run in found]) for group, found in comparison.groups.items()}


def hypervolume_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's hypervolume over the trials, at up to `FRONT_POINTS` of them; empty without several objectives."""
    volumes, length = front_volumes(comparison), budget(comparison)
    if volumes is None:
        return {}
    grid = np.unique(np.linspace(1, length, min(FRONT_POINTS, length)).astype(int))
    lines = {
        group: np.array([[volumes(run, int(trials)) for trials in grid] for run in runs])
        for group, runs in comparison.groups.items()
    }
    return {group: _curve(grid.astype(float), found) for group, found in lines.items()}


def time_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent over the seconds since its runs began, on a grid from the first result to the last.

    Empty where trials were looked up in a table that holds no times.
    """
    curves: dict[str, Curve] = {}
    if not all(run.timed for run in comparison.runs):
        return curves
    for group, runs in comparison.groups.items():
        curves[group] = _over(runs, [run.seconds for run in runs])
    return curves


def _over(runs: Sequence[ComparedRun], clocks: Sequence[np.ndarray]) -> Curve:
    """The incumbent of runs over a clock of each, float (trials,), on a grid from the first result to the last."""
    grid = np.linspace(
        min(float(clock[0]) for clock in clocks), max(float(clock[-1]) for clock in clocks), CURVE_POINTS
    )
    lines = []
    for run, clock in zip(runs, clocks, strict=True):
        place = np.searchsorted(clock, grid, side="right") - 1
        lines.append(np.where(place >= 0, incumbent(run)[np.maximum(place, 0)], np.nan))
    return _curve(grid, np.array(lines))


def _curve(x: np.ndarray, lines: np.ndarray) -> Curve:
    """Mean and interval of lines (runs, points), where all of them have a value."""
    known = np.isfinite(lines).all(axis=0)
    x, lines = x[known], lines[:, known]
    low, high = statistics.bootstrap_means(lines, CURVE_RESAMPLES)
    return Curve(x, lines.mean(axis=0), low, high)
