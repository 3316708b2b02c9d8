"""The numbers of a comparison: a table over seeds, tests of pairs (`curves` has the progress of runs).

An incumbent is the best value so far. All statistics are over seeds: a run counts once, with the best that it found.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.reports.compare import statistics, ties
from nasrun.reports.compare.question import PLAIN, Cut, Question, is_share, p_value
from nasrun.reports.compare.runs import ComparedRun, Comparison
from nasrun.reports.front import MOST_OBJECTIVES, hypervolume

HYPERVOLUME = "hypervolume"
FINAL = ("test_accuracy", "test_loss", "val_regret", "test_regret")


class Row(NamedTuple):
    """A group in the table of a measure. `rank`: its average over the common seeds, 1 is best; None with a single
    group.

    `gain`: how much better the mean is than the average random architecture, in the unit of the measure; None if no
    trial was random, and for measures other than the objective.
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
    """Two groups compared seed by seed, or all runs of both if the test is unpaired.

    `pairs`: number of common seeds, or of runs of the smaller group. `difference`: mean of first less second; `p`:
    p-value of the chosen test, `p_holm`: corrected for the number of tests; `cohen_d`, `a12`: effect sizes, with signs
    such that positive, or above 0.5, means that the first is better.
    """

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
    """A value that each run has at its end, with its statistics. `values`: by group, then by seed.

    `friedman`: p-value of the test that all groups are equal; `critical_difference`: of average ranks, by Nemenyi; both
    None below two groups or two common seeds. `metric`, `title`: the metric, and the displayed name, if they differ
    from the name. `share`: whether values are shown in percent. Values that are ties are equal
    (`nasrun.reports.compare.ties`).
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
    share: bool = False


def budget(comparison: Comparison) -> int:
    """The number of trials after which the runs are compared.

    All of them, unless runs were given different numbers of trials: then the smallest. A strategy that ended by itself
    has used its budget.
    """
    given = [int(run.config.get("trials", len(run.values))) for run in comparison.runs]
    if "trials" in comparison.by or len(set(given)) == 1:
        return max(len(run.values) for run in comparison.runs)
    return min(len(run.values) for run in comparison.runs)


def incumbent(run: ComparedRun) -> np.ndarray:
    """The best value so far after each trial, float (trials,); NaN before the first success."""
    best = np.fmax if run.objective.mode == "max" else np.fmin
    result: np.ndarray = best.accumulate(run.values)
    return result


def random_average(comparison: Comparison) -> tuple[float, int] | None:
    """Mean objective of the different architectures that were drawn at random in any of the runs, and their number."""
    drawn: dict[tuple[int | str, ...], float] = {}
    for run in comparison.runs:
        for genome, value in run.samples.items():
            drawn.setdefault(genome, value)
    return (float(np.mean(list(drawn.values()))), len(drawn)) if drawn else None


def measures(comparison: Comparison, question: Question = PLAIN) -> list[Measure]:
    """The objective, with several objectives the hypervolume of the front, and every final metric that all runs have:
    test accuracy (else test loss), regrets of a table."""
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
    made += [one if cut is None else _cut_off(one, cut) for cut in cuts for one in _volumes(comparison, question, cut)]
    for name in FINAL:
        skipped = name == "test_loss" and any(measure.name == "test_accuracy" for measure in made)
        if not skipped and all(name in run.final for run in comparison_runs):
            found = {group: {run.seed: run.final[name] for run in runs} for group, runs in groups.items()}
            better: Literal["max", "min"] = "max" if name.endswith("accuracy") else "min"
            one = measure_of(comparison, name, better, found, question)
            made.append(replace(one, title=f"{name} at the end of the runs") if question.cuts else one)
    return made


def _cut_off(measure: Measure, cut: Cut) -> Measure:
    """A measure with the name of the point at which it was taken."""
    title = f"{measure.name} after {cut}"
    return replace(measure, name=measure.name + cut.suffix, metric=measure.name, title=title)


def _volumes(comparison: Comparison, question: Question, cut: Cut | None) -> list[Measure]:
    """The hypervolume of each run's front at a cut, as a list of one; empty without several objectives."""
    volumes, length = front_volumes(comparison), budget(comparison)
    if volumes is None:
        return []
    found = {
        group: {run.seed: float(volumes(run, cut.trials(run) if cut else length)) for run in runs}
        for group, runs in comparison.groups.items()
    }
    return [measure_of(comparison, HYPERVOLUME, "max", found, question)]


def front_volumes(comparison: Comparison) -> Callable[[ComparedRun, int], float] | None:
    """A function that gives the hypervolume of the front of a run's first trials, for all runs above one reference
    point; None if runs have one objective, or more than `hypervolume` supports.

    The point is `objective.reference`, or the worst value that any run measured in each objective.
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
    if name.endswith("regret"):  # a difference of shares is itself a share, however small
        share = is_share(comparison.objective.metric, np.concatenate([run.values for run in comparison.runs]))
    else:
        share = is_share(name, everything)
    return replace(tabulate(name, mode, values, comparison.seeds, question, average), share=share)


def tabulate(
    name: str,
    mode: Literal["max", "min"],
    values: Mapping[str, Mapping[int, float]],
    seeds: Sequence[int],
    question: Question,
    average: float | None = None,
) -> Measure:
    """The table and the tests of values by group and seed, with ties made equal. `seeds`: those that all groups
    have."""
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
    testable, order = len(seeds) > 1 and len(values) > 1, [row.group for row in rows]
    if question.test == "mannwhitney":
        tests = _unpaired_tests(values, sign, order, question)
    else:
        tests = _paired_tests(values, scores, sign, order, question) if testable else []
    return Measure(
        name,
        mode,
        values,
        rows,
        tests,
        statistics.friedman(scores) if testable else None,
        statistics.critical_difference(len(values), len(seeds)) if testable else None,
    )


def _deviation(numbers: np.ndarray) -> float | None:
    """Sample standard deviation; exactly 0 for equal numbers, which rounding would not give."""
    if len(numbers) < 2:
        return None
    return float(numbers.std(ddof=1)) if np.ptp(numbers) > 0 else 0.0


def _paired_tests(
    values: Mapping[str, Mapping[int, float]],
    scores: np.ndarray,
    sign: float,
    order: Sequence[str],
    question: Question,
) -> list[Test]:
    """The pairs of groups, the better one first; scores (common seeds, groups), higher is better."""
    column = {group: scores[:, place] for place, group in enumerate(values)}

    def test(first: str, second: str) -> Test:
        one, two = column[first], column[second]
        scipys = question.test != "permutation"
        p = p_value(question.test, one, two) if scipys else statistics.permutation_test(one, two)
        difference = sign * exact_mean((one - two).tolist())
        effects = statistics.paired_cohen_d(one, two), statistics.vargha_delaney(one, two)
        return Test(first, second, len(scores), difference, p, p, *effects)

    return _corrected([test(first, second) for first, second in _pairs(order, question)])


def _unpaired_tests(
    values: Mapping[str, Mapping[int, float]], sign: float, order: Sequence[str], question: Question
) -> list[Test]:
    """The pairs of groups of at least two runs, the better one first, over all runs of both."""
    known = {group: sign * np.array([v for v in found.values() if np.isfinite(v)]) for group, found in values.items()}

    def test(first: str, second: str) -> Test:
        one, two = known[first], known[second]
        p = p_value(question.test, one, two)
        difference = sign * (exact_mean(one.tolist()) - exact_mean(two.tolist()))
        effects = statistics.cohen_d(one, two), statistics.vargha_delaney(one, two)
        return Test(first, second, min(len(one), len(two)), difference, p, p, *effects)

    enough = [group for group in order if len(known[group]) > 1]
    return _corrected([test(first, second) for first, second in _pairs(enough, question)])


def _pairs(groups: Sequence[str], question: Question) -> list[tuple[str, str]]:
    """All pairs of groups, or those with the reference group."""
    pairs = list(itertools.combinations(groups, 2))
    return pairs if question.reference is None else [pair for pair in pairs if question.reference in pair]


def _corrected(tests: Sequence[Test]) -> list[Test]:
    """The tests with p-values corrected for their number."""
    corrected = statistics.holm([test.p for test in tests])
    return [test._replace(p_holm=p) for test, p in zip(tests, corrected, strict=True)]
