"""Methods compared over several benchmarks: a column per benchmark, average ranks, and the critical difference over
them.

Source: Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7: a benchmark is one block
of Friedman's test, in which groups are ranked by their means over seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nasrun.core.options import ConfigError, show
from nasrun.reports.compare import ties
from nasrun.reports.compare.look import PLAIN_LOOK, Look
from nasrun.reports.compare.numbers import Measure, measures, tabulate
from nasrun.reports.compare.question import Question
from nasrun.reports.compare.read import ComparedRun
from nasrun.reports.compare.runs import Comparison, check_key, compare_selected, differing
from nasrun.reports.compare.tables import digits, factor, heading

FEW_BENCHMARKS = 10
"""Demsar's advice (section 3.2.2): with more than this many data sets Nemenyi's test has some power."""


@dataclass(frozen=True)
class OverMeasure:
    """A measure on all benchmarks. `columns`: by benchmark. `ranks`: the groups with a number per benchmark, with signs
    such that higher is better; its ranks and tests are over benchmarks."""

    name: str
    columns: Mapping[str, Measure]
    ranks: Measure


@dataclass(frozen=True)
class Over:
    """Comparisons by benchmark. `measures`: those that all of them have. `remarks`: for the reader."""

    benchmarks: Mapping[str, Comparison]
    measures: Sequence[OverMeasure]
    remarks: Sequence[str]


def compare_over(
    runs: Sequence[ComparedRun],
    remarks: Sequence[str],
    over: Sequence[str],
    by: Sequence[str],
    question: Question,
    look: Look = PLAIN_LOOK,
) -> Over:
    """The comparison of runs on several benchmarks. `over`: the keys that distinguish the benchmarks, such as
    `dataset`.

    ConfigError if the runs of one benchmark cannot be compared, or there is only one benchmark.
    """
    chosen = by or differing(runs)
    for key in over:
        if key == "seed":
            raise ConfigError("over=seed: does not distinguish benchmarks; leave it out: all statistics are over seeds")
        if key in chosen:
            raise ConfigError(f"over={key}: distinguishes groups, not benchmarks; choose other groups: by=KEY")
        check_key(runs, key, "over")
    apart: dict[str, list[ComparedRun]] = {}
    for run in runs:
        apart.setdefault("/".join(show(run.value(key)) for key in over), []).append(run)
    if len(apart) < 2:
        raise ConfigError(f"over={','.join(over)}: all runs have {next(iter(apart))}; leave it out")
    one_by_one = {name: replace(compare_selected(found, (), chosen, over), name=name) for name, found in apart.items()}
    benchmarks = look.applied_to_all(one_by_one)
    told = [*remarks, *_told(benchmarks)]
    common = [
        group
        for group in dict.fromkeys(group for one in benchmarks.values() for group in one.groups)
        if all(group in one.groups for one in benchmarks.values())
    ]
    left = sorted({group for one in benchmarks.values() for group in one.groups} - set(common))
    if left:
        told.append(f"not on every benchmark, so without a rank: {', '.join(left)}")
    if len(benchmarks) <= FEW_BENCHMARKS:
        told.append(
            f"ranks over {len(benchmarks)} benchmarks say little: tests over more than {FEW_BENCHMARKS} have power"
        )
    found = {name: measures(one, question) for name, one in benchmarks.items()}
    return Over(benchmarks, list(_over_measures(benchmarks, found, common, question)), told)


def _told(benchmarks: Mapping[str, Comparison]) -> list[str]:
    """The remarks on all benchmarks: common ones once, others with the benchmark's name."""
    lines = dict.fromkeys(line for one in benchmarks.values() for line in one.remarks)
    shared = [line for line in lines if all(line in one.remarks for one in benchmarks.values())]
    return shared + [
        f"{name}: {line}" for name, one in benchmarks.items() for line in one.remarks if line not in shared
    ]


def _over_measures(
    benchmarks: Mapping[str, Comparison],
    found: Mapping[str, Sequence[Measure]],
    groups: Sequence[str],
    question: Question,
) -> Iterable[OverMeasure]:
    """The measures that all benchmarks have: the objectives as one measure, whatever they are, and the others by
    name."""
    first = next(iter(found.values()))
    for place, measure in enumerate(first):
        columns = {
            name: all_of[place] if place == 0 else next((one for one in all_of if one.name == measure.name), None)
            for name, all_of in found.items()
        }
        known = {name: one for name, one in columns.items() if one is not None}
        if len(known) < len(columns) or not groups:
            continue
        values: dict[str, dict[int, float]] = {group: {} for group in groups}
        for number, (name, one) in enumerate(known.items()):
            sign = 1.0 if one.mode == "max" else -1.0
            means = {row.group: sign * row.mean for row in one.rows}
            scores = np.array([means.get(group, np.nan) for group in groups])
            limit = ties.tolerance(one.metric or one.name, benchmarks[name].runs, scores)
            for group, score in zip(groups, ties.merge(scores, limit).tolist(), strict=True):
                values[group][number] = score
        title = measure.name if len({one.name for one in known.values()}) == 1 else "objective"
        ranks = tabulate(title, "max", values, range(len(known)), question)
        yield OverMeasure(title, known, ranks)


def cells(measure: OverMeasure) -> list[tuple[str, ...]]:
    """The table as text, with a header row: a column per benchmark, best average rank first."""
    head = ("group", *(f"{name}: {heading(one)}" for name, one in measure.columns.items()), "average rank")
    ordered = sorted(measure.ranks.rows, key=lambda row: (row.rank or 0.0, row.group))
    return [head, *((row.group, *_means(measure, row.group), _rank(row.rank)) for row in ordered)]


def _rank(rank: float | None) -> str:
    return "-" if rank is None else f"{rank:.2f}"


def _means(measure: OverMeasure, group: str) -> list[str]:
    shown = []
    for one in measure.columns.values():
        row = next((row for row in one.rows if row.group == group), None)
        scale = factor(one)
        spread = "" if row is None or row.deviation is None else f" ± {digits(scale * row.deviation)}"
        shown.append("-" if row is None else digits(scale * row.mean) + spread)
    return shown


def rows(found: Sequence[OverMeasure]) -> Iterable[Sequence[Any]]:
    """The tables with all digits, one below the other, with a header row."""
    yield ["measure", "group", "benchmark", "mean", "deviation", "seeds", "average_rank"]
    for measure in found:
        ranks = {row.group: row.rank for row in measure.ranks.rows}
        for name, one in measure.columns.items():
            for row in one.rows:
                yield [measure.name, row.group, name, row.mean, row.deviation, row.seeds, ranks.get(row.group)]
