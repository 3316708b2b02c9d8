"""The curves of a comparison: the mean of each group over trials, epochs or time, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasrun.reports.compare import statistics
from nasrun.reports.compare.numbers import budget, front_volumes, incumbent
from nasrun.reports.compare.runs import ComparedRun, Comparison

CURVE_RESAMPLES = 2000
CURVE_POINTS = 200
FRONT_POINTS = 60


@dataclass(frozen=True)
class Curve:
    """A group's incumbent: x float (points,), then mean and 95 % bootstrap interval of the mean at each."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def trial_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent after 1, 2, ... trials, from the first at which all its runs have one; a run that ended
    keeps it."""
    length = budget(comparison)
    curves = {}
    for group, runs in comparison.groups.items():
        longest = min(length, max(len(run.values) for run in runs))
        lines = np.array([np.pad(incumbent(run), (0, length), mode="edge")[:longest] for run in runs])
        curves[group] = _curve(np.arange(1.0, longest + 1), lines)
    return curves


def epoch_curves(comparison: Comparison) -> dict[str, Curve]:
    """Each group's incumbent over the trained epochs; empty if each trial is a whole training run in all groups, or
    epochs are not known."""
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

    Empty if trials were looked up in a table without times.
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
    """Mean and interval of lines (runs, points), at the points where all of them have a value."""
    known = np.isfinite(lines).all(axis=0)
    x, lines = x[known], lines[:, known]
    low, high = statistics.bootstrap_means(lines, CURVE_RESAMPLES)
    return Curve(x, lines.mean(axis=0), low, high)
