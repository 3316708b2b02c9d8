"""The quality of runs before their end: regret over time, the time to a target, the area under the curve."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.reports.compare.curves import Curve
from nasrun.reports.compare.numbers import budget, incumbent
from nasrun.reports.compare.question import Question
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.compare.ties import tolerance


@dataclass(frozen=True)
class Progress:
    """The progress of a group. `area`: mean over the trials of the best so far, one number per run; `reached`: number
    of trials that each run took to the target, None if it did not reach it; empty without a target."""

    group: str
    area: Sequence[float]
    reached: Sequence[int | None]

    @property
    def count(self) -> int:
        """Number of runs that reached the target."""
        return sum(trials is not None for trials in self.reached)

    @property
    def median(self) -> float | None:
        """The median number of trials to the target, over the runs that reached it."""
        found = [trials for trials in self.reached if trials is not None]
        return float(statistics.median(found)) if found else None


def optimum(comparison: Comparison) -> float | None:
    """The best value of the benchmark table that all runs used; None if it is not known."""
    known = [run.optimum for run in comparison.runs]
    found = [value for value in known if value is not None]
    if len(found) < len(known) or np.ptp(found) > 1e-9 * max(map(abs, found)):
        return None
    return found[0]


def progress(comparison: Comparison, target: float | None) -> list[Progress]:
    """The progress of each group to a target, by default the optimum of the table, if known."""
    goal, length = optimum(comparison) if target is None else target, budget(comparison)
    sign = 1.0 if comparison.objective.mode == "max" else -1.0
    found = []
    for group, runs in comparison.groups.items():
        lines = [np.pad(incumbent(run), (0, length), mode="edge")[:length] for run in runs]
        limit = tolerance(comparison.objective.metric, runs, np.concatenate(lines))
        reached: list[int | None] = []
        for line in lines if goal is not None else []:
            there = np.flatnonzero(sign * line >= sign * (goal or 0.0) - limit)
            reached.append(int(there[0]) + 1 if len(there) else None)
        found.append(Progress(group, [float(np.nanmean(line)) for line in lines], reached))
    return found


def target_of(comparison: Comparison, question: Question) -> float | None:
    """The target: the one asked for, else the best of the table, if known."""
    return optimum(comparison) if question.target is None else question.target


def regret_curves(comparison: Comparison, curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """The distance of each group's incumbent to the optimum of the table; empty if that is not known."""
    best = optimum(comparison)
    if best is None:
        return {}
    if comparison.objective.mode == "max":
        return {name: Curve(one.x, best - one.mean, best - one.high, best - one.low) for name, one in curves.items()}
    return {name: Curve(one.x, one.mean - best, one.low - best, one.high - best) for name, one in curves.items()}


def rows(found: Sequence[Progress], target: float | None) -> Iterable[Sequence[object]]:
    """The table with all digits, headings first."""
    yield ["group", "seeds", "area_mean", "area_deviation", "target", "reached", "trials_to_target_median"]
    for one in found:
        spread = statistics.stdev(one.area) if len(one.area) > 1 else None
        count = one.count if one.reached else None
        yield [one.group, len(one.area), exact_mean(one.area), spread, target, count, one.median]
