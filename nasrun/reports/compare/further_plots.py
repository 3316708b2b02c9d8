"""Plots that only some comparisons have: a heat map over two keys, and fronts of several objectives."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core.options import show
from nasrun.reports.compare.look import Look
from nasrun.reports.compare.numbers import Measure, budget
from nasrun.reports.compare.plots import COLOURS
from nasrun.reports.compare.question import is_share
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.compare.tables import digits, factor, heading
from nasrun.reports.front import non_dominated
from nasrun.reports.plot_style import INK, SMALL, add_legend, literal, new_figure, shades_of_blue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 400
"""Maximum number of cells of a heat map; the numbers of more would not be readable."""
POINTS = 200


def draw_further(comparison: Comparison, measures: Sequence[Measure], look: Look) -> "dict[str, Figure]":
    """The plots by name: `heat_<measure>` if two keys distinguish the groups, `front` with two objectives."""
    figures = {}
    if len(comparison.by) == 2 and len(comparison.groups) > 3:
        for measure in measures:
            heat = _heat_map(comparison, measure)
            if heat is not None:
                figures[f"heat_{measure.name}"] = heat
    if len(comparison.runs[0].objectives) == 2 and all(run.scores is not None for run in comparison.runs):
        figures["front"] = _fronts(comparison, look)
    return figures


def _heat_map(comparison: Comparison, measure: Measure) -> "Figure | None":
    """The mean over seeds for each pair of values of two keys; None if one of them has a single value."""
    first, second = comparison.by
    places = {name: (runs[0].value(first), runs[0].value(second)) for name, runs in comparison.groups.items()}
    rows, columns = (_ordered([place[axis] for place in places.values()]) for axis in (0, 1))
    if min(len(rows), len(columns)) < 2 or len(rows) * len(columns) > MOST_CELLS:
        return None
    scale, means = factor(measure), np.full((len(rows), len(columns)), np.nan)
    for row in measure.rows:
        one, two = places[row.group]
        means[rows.index(one), columns.index(two)] = scale * row.mean
    figure, axes = new_figure(second, first, height=1.6 + 0.42 * len(rows))
    image = axes.imshow(means, cmap=shades_of_blue(), aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), [literal(show(value)) for value in columns])
    axes.set_yticks(range(len(rows)), [literal(show(value)) for value in rows])
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    for (one, two), value in np.ndenumerate(means):
        text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL}
        if np.isfinite(value):
            axes.text(two, one, digits(value), color="white" if value > middle else INK, **text)
    figure.colorbar(image, ax=axes, label=heading(measure))
    return figure


def _ordered(values: Sequence[Any]) -> list[Any]:
    """The different values, numbers in numerical order."""
    known = list(dict.fromkeys(values))
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    return sorted(numbers) + [value for value in known if value not in numbers]


def _fronts(comparison: Comparison, look: Look) -> "Figure":
    """For each group the best front of all its runs, as points, and what half of its runs attain, as a line.

    Source of the latter: Fonseca and Fleming 1996, "On the performance assessment and comparison of stochastic
    multiobjective optimizers": the median attainment surface.
    """
    one, two = comparison.runs[0].objectives
    signs = np.array([1.0 if objective.mode == "max" else -1.0 for objective in (one, two)])
    measured = np.concatenate([run.scores for run in comparison.runs if run.scores is not None])
    shares = [is_share(objective.metric, measured[:, place]) for place, objective in enumerate((one, two))]
    scales = np.where(shares, 100.0, 1.0)
    across, up = (f"{metric.metric}{' (%)' * share}" for metric, share in zip((one, two), shares, strict=True))
    figure, axes = new_figure(across, up)
    length, fronts = budget(comparison), []
    for place, (group, runs) in enumerate(comparison.groups.items()):
        colour = look.colour(group) or COLOURS[place % len(COLOURS)]
        scores = [signs * run.scores[:length] for run in runs if run.scores is not None]
        scores = [rows[np.isfinite(rows).all(axis=1)] for rows in scores]
        everything = np.concatenate(scores)
        best = signs * scales * everything[non_dominated(everything)]
        fronts += [rows[non_dominated(rows)] for rows in scores if len(rows)]
        grid = np.linspace(everything[:, 0].min(), everything[:, 0].max(), POINTS)
        attained = np.median([attainment(rows, grid) for rows in scores], axis=0)
        seen = np.isfinite(attained)
        line = signs * scales * np.stack([grid[seen], attained[seen]], axis=1)
        axes.step(line[:, 0], line[:, 1], where="post", color=colour, label=literal(group))
        axes.scatter(best[:, 0], best[:, 1], s=16, color=colour, alpha=0.6, linewidths=0)
    edges = np.sort(signs * scales * _shown(np.concatenate(fronts)), axis=0)
    axes.set_xlim(*edges[:, 0])
    axes.set_ylim(*edges[:, 1])
    return add_legend(figure, axes)


def _shown(points: np.ndarray) -> np.ndarray:
    """The part of all fronts (points, objectives; higher is better) that a plot shows: float (2, objectives), the
    lowest and the highest scores.

    Points far below the others, such as the smallest network, without any operation, are left out: those more than
    three times the interquartile range below the lower quartile.
    """
    lower, upper = np.quantile(points, [0.25, 0.75], axis=0)
    low, high = np.maximum(points.min(axis=0), lower - 3 * (upper - lower)), points.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 0.5)
    return np.stack([low - margin, high + margin])


def attainment(scores: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The best second score among the rows of scores (points, 2) whose first score is at least that of the grid
    (steps,), -inf if there is none; higher is better."""
    reached = scores[None, :, 0] >= grid[:, None]
    best: np.ndarray = np.where(reached, scores[None, :, 1], -np.inf).max(axis=1, initial=-np.inf)
    return best


def rows_of_fronts(comparison: Comparison) -> list[list[object]]:
    """The front of each run as a table, with a header row; only the header if runs do not have several objectives."""
    objectives = comparison.runs[0].objectives
    table: list[list[object]] = [["group", "seed", *(one.metric for one in objectives)]]
    signs = np.array([1.0 if one.mode == "max" else -1.0 for one in objectives])
    for group, runs in comparison.groups.items():
        for run in runs:
            found = run.scores[np.isfinite(run.scores).all(axis=1)] if run.scores is not None else np.zeros((0, 0))
            for row in found[non_dominated(signs * found)].tolist() if len(found) else []:
                table.append([group, run.seed, *row])
    return table
