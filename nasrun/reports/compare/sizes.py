"""For runs under different limits: the sizes and quality of their networks, and the front of those that no smaller one
beats."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nasrun.reports.compare.runs import ComparedRun, Comparison

HEAD = ("group", "seeds", "parameters", "flops", "measure", "mean", "on_front")
READING = "On the front: no group whose networks are, on average over the seeds, at most as large is better."


class Size(NamedTuple):
    """A group: means over its seeds. `value`: of `measure`, the test accuracy, or the objective if there is none.

    `on_front`: no other group has at most as many parameters and is at least as good, unless both are equal.
    """

    group: str
    seeds: int
    parameters: float
    flops: float | None
    measure: str
    value: float
    on_front: bool


def sizes(comparison: Comparison) -> list[Size]:
    """The groups by size, smallest first; empty if limits do not distinguish them, or sizes are not known."""
    if not any(key.startswith("constraints.") for key in comparison.by):
        return []
    if any(run.parameters is None for run in comparison.runs):
        return []
    measure = "test_accuracy"
    if any(measure not in run.final for run in comparison.runs):
        measure = comparison.objective.metric
    larger_is_better = measure == "test_accuracy" or comparison.objective.mode == "max"
    found = [_size(group, runs, measure, comparison) for group, runs in comparison.groups.items()]
    sign = 1.0 if larger_is_better else -1.0
    marked = [one._replace(on_front=not any(beats(other, one, sign) for other in found)) for one in found]
    return sorted(marked, key=lambda one: (one.parameters, -sign * one.value))


def _size(group: str, runs: Sequence[ComparedRun], measure: str, comparison: Comparison) -> Size:
    best = np.nanmax if comparison.objective.mode == "max" else np.nanmin
    values = [run.final[measure] if measure in run.final else float(best(run.values)) for run in runs]
    flops = [run.flops for run in runs if run.flops is not None]
    parameters = float(np.mean([run.parameters for run in runs if run.parameters is not None]))
    mean_flops = float(np.mean(flops)) if len(flops) == len(runs) else None
    return Size(group, len(runs), parameters, mean_flops, measure, float(np.mean(values)), on_front=False)


def beats(one: Size, other: Size, sign: float) -> bool:
    """Whether one is at most as large as the other and at least as good, and not equal to it. `sign`: 1 if higher
    values are better, else -1."""
    smaller, better = one.parameters <= other.parameters, sign * one.value >= sign * other.value
    return smaller and better and (one.parameters, one.value) != (other.parameters, other.value)


def size_rows(found: Sequence[Size]) -> Iterator[Sequence[object]]:
    """The rows of `sizes.csv`, with all digits and a header row."""
    yield HEAD
    for one in found:
        yield [*one[:-1], int(one.on_front)]


def size_cells(found: Sequence[Size]) -> list[tuple[str, ...]]:
    """The same as text, with a header row; accuracies in percent."""
    percent = found[0].measure.endswith("accuracy") and all(abs(one.value) <= 1 for one in found)
    head = ("group", "seeds", "parameters", "FLOPs", found[0].measure + (" (%)" if percent else ""), "front")
    rows: list[tuple[str, ...]] = [head]
    for one in found:
        value = f"{100 * one.value:.2f}" if percent else f"{one.value:.4g}"
        flops = "-" if one.flops is None else f"{one.flops:,.0f}"
        rows.append((one.group, str(one.seeds), f"{one.parameters:,.0f}", flops, value, "yes" if one.on_front else ""))
    return rows
