"""Ties in a comparison: two values that differ by less than the metric can resolve are equal.

Means over repeats are rounded, in older versions of nasrun more than once; a difference of 1e-16 must not affect ranks.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nasrun.reports.compare.runs import ComparedRun
from nasrun.tables import SHIPPED

ROUNDING = 1e-9
"""Share of the largest value that counts as rounding, if the resolution of a metric is not known."""

PARTS = {"val_accuracy": "validation", "test_accuracy": "test"}
"""The metrics that are shares of images, with the part of the data that they are computed on."""


def tolerance(name: str, runs: Sequence[ComparedRun], values: np.ndarray) -> float:
    """The largest difference between two values of a metric that counts as a tie.

    Half of the metric's resolution, which is one image of the part that it is measured on, or the last decimal of a
    shipped table, divided by the number of repeats in a mean. `ROUNDING` if neither is known.
    """
    known = [_resolution(name, run) for run in runs]
    steps = [step for step in known if step is not None]
    if len(steps) < len(known):
        largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
        return ROUNDING * float(largest)
    return min(steps) / 2


def _resolution(name: str, run: ComparedRun) -> float | None:
    """The smallest step of a metric of a run; None if it is not known."""
    repeats = int(run.config.get("evaluator.repeats", 1)) if name == run.objective.metric else 1
    named = (run.header.facts.get("table") or {}).get("name")
    if named is not None and name.endswith(("accuracy", "regret")):
        kind = next((kind for kind in SHIPPED if kind.name == named), None)
        return None if kind is None or kind.resolution is None else kind.resolution / repeats
    count = run.data.counts.get(PARTS.get(name, ""), 0) if run.data is not None else 0
    return 1 / count / repeats if count else None


def merged(values: Mapping[str, Mapping[int, float]], limit: float) -> dict[str, dict[int, float]]:
    """The values by group and seed, with ties made equal: each chain of values no further apart than `limit` becomes
    its middle value. Values without ties, and non-finite ones, do not change."""
    places = [(group, seed) for group, found in values.items() for seed in found]
    numbers = np.array([values[group][seed] for group, seed in places], dtype=float)
    equal = merge(numbers, limit)
    result: dict[str, dict[int, float]] = {group: {} for group in values}
    for (group, seed), value in zip(places, equal.tolist(), strict=True):
        result[group][seed] = value
    return result


def merge(numbers: np.ndarray, limit: float) -> np.ndarray:
    """Float (values,) with ties made equal, as in `merged`; independent of their order."""
    result = np.array(numbers, dtype=float)
    order = np.argsort(result, kind="stable")
    order = order[np.isfinite(result[order])]
    if not len(order):
        return result
    ordered = result[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > limit]))
    for first, end in zip(starts, [*starts[1:], len(ordered)], strict=True):
        result[order[first:end]] = ordered[(first + end - 1) // 2]
    return result
