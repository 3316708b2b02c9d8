"""The measure of a claim: a number per seed.

A measure is a metric of the finished run (`test_accuracy`, `val_regret`, ...; of its test, else of its best trial), or
a statistic over its trials in order, written `NAME(METRIC)`, such as `last_fifth(val_accuracy)`; `NAME(METRIC, N)` uses
generations of N trials in place of 30.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError, flat, nearest, typed
from nasrun.reports.reproduction.plan import Selection
from nasrun.reports.sweep_runs import SweepRun

GENERATION = 30
"""Number of trials of a generation, in tables over generations (slides)."""

Values = Sequence[float | None]


def generation_bests(values: Values, size: int = GENERATION) -> dict[int, float]:
    """The best value of each generation, numbered from 1; a generation without any value is left out."""
    bests = {}
    for number in range(math.ceil(len(values) / size)):
        present = [value for value in values[number * size : (number + 1) * size] if value is not None]
        if present:
            bests[number + 1] = max(present)
    return bests


def _present(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _first_met(values: Values, size: int) -> float:
    """The first generation that reached the highest value."""
    bests = generation_bests(values, size)
    return float(next(number for number, best in bests.items() if best == max(bests.values())))


STATISTICS: dict[str, Callable[[Values, int], float]] = {
    "highest": lambda values, _: max(_present(values)),
    "mean": lambda values, _: exact_mean(_present(values)),
    "first_fifth": lambda values, _: exact_mean(_present(values[: len(values) // 5])),
    "last_fifth": lambda values, _: exact_mean(_present(values[-(len(values) // 5) :])),
    "generations": lambda values, size: exact_mean([*generation_bests(values, size).values()]),
    "first_met": _first_met,
}
"""Statistics over the trials of a run, given the size of a generation; `generations`: the mean of the best of each."""

PATTERN = re.compile(r"(\w+)\((\w+)(?:, (\d+))?\)")


def matching(runs: Sequence[SweepRun], where: Mapping[str, str]) -> list[SweepRun]:
    """The runs with the options and values of `where`."""
    found = []
    for run in runs:
        known = {key: typed(value) for key, value in flat(run.config).items()} | dict(run.choices)
        if all(known.get(key) == value for key, value in where.items()):
            found.append(run)
    return found


def measured(runs: Sequence[SweepRun], selection: Selection) -> dict[int, float]:
    """The measure by seed (the mean if several runs have one seed), or by repeat if one architecture is asked for."""
    chosen = matching(runs, selection.where)
    if selection.genome is not None:
        repeats = [value for run in chosen for value in run.repeats(selection.genome, selection.measure)]
        return dict(enumerate(repeats))
    found: dict[int, list[float]] = {}
    for run in chosen:
        found.setdefault(int(run.config["seed"]), []).append(_of_run(run, selection.measure))
    return {seed: exact_mean(values) for seed, values in sorted(found.items())}


def _of_run(run: SweepRun, measure: str) -> float:
    statistic = PATTERN.fullmatch(measure)
    if statistic:
        name, metric, size = statistic.groups()
        if name not in STATISTICS:
            raise ConfigError(f"{measure}: no such statistic; {nearest(name, STATISTICS)}")
        return STATISTICS[name](run.values(metric), int(size or GENERATION))
    best = run.summary["best"] or {}
    known = {**best, **best.get("metrics", {}), **run.summary["final"]}
    if not isinstance(known.get(measure), int | float):
        raise ConfigError(f"{run.directory}: has no {measure}; {nearest(measure, known)}")
    return float(known[measure])
