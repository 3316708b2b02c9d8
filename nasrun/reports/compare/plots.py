"""The plots of a comparison: incumbents over trials and over time, single runs, critical differences.

Each as PNG, SVG and PDF, and all of them on the page of the comparison. Figures are built as objects, without pyplot
and without changing global defaults.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.reports.compare import statistics
from nasrun.reports.compare.curves import Curve
from nasrun.reports.compare.look import PLAIN_LOOK, Look
from nasrun.reports.compare.numbers import Measure
from nasrun.reports.compare.tables import factor, heading, unit
from nasrun.reports.letters import render_figure
from nasrun.reports.plot_style import GREY, INK, NORMAL, SMALL, add_legend, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito; from the eighth group on it repeats with another line style."""
STYLES = ("-", "--", ":", "-.")
CURVE_PICTURES = {"trials": "incumbent_trials", "seconds": "incumbent_seconds", "epochs": "incumbent_epochs"}
CURVE_PICTURES |= {"regret": "regret_trials", "hypervolume": "hypervolume_trials"}
"""The plot of each set of curves."""


def draw(
    measures: Sequence[Measure],
    trials: Mapping[str, Curve],
    seconds: Mapping[str, Curve],
    *,
    simulated: bool,
    more: Mapping[str, Mapping[str, Curve]] = {},
    look: Look = PLAIN_LOOK,
) -> "dict[str, Figure]":
    """All plots by name, in display order. `measures[0]` is that of the curves. Empty curves have no plot. `more`:
    further curves, by their names in `CURVE_PICTURES`."""
    objective = replace(measures[0], title=measures[0].metric or measures[0].name)
    painter = _Painter(look, list(objective.values))
    clock = "Training time of the trials, from the table (s)" if simulated else "Time since the start (s)"
    figures = {"incumbent_trials": painter.curves(objective, trials, "Trials")}
    if seconds:
        figures["incumbent_seconds"] = painter.curves(objective, seconds, clock, logarithmic=True)
    for name, curves in more.items():
        if curves:
            label = "Epochs trained" if name == "epochs" else "Trials"
            figures[CURVE_PICTURES[name]] = painter.curves(objective, curves, label, kind=name)
    for measure in measures:
        figures[f"final_{measure.name}"] = painter.final(measure)
        if measure.critical_difference is not None:
            figures[f"critical_difference_{measure.name}"] = critical_difference(measure)
    return figures


def save(folder: Path, figures: "Mapping[str, Figure]") -> list[str]:
    """Write plots into a folder as PNG, SVG and PDF; returns the names of the PNG files. OSError passes through."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        _save(figure, folder / name)
    return [f"{name}.png" for name in figures]


class _Painter:
    """Draws groups, each in its own colour. `groups`: all of them, in order."""

    def __init__(self, look: Look, groups: Sequence[str]) -> None:
        self._look, self._groups = look, groups

    def curves(
        self, measure: Measure, curves: Mapping[str, Curve], label: str, *, logarithmic: bool = False, kind: str = ""
    ) -> "Figure":
        """Mean of the best so far, with the interval of the mean as a band. `kind`: `regret` is drawn on a log axis,
        `hypervolume` in its own unit."""
        scale = 1.0 if kind == "hypervolume" else factor(measure)
        titles = {"regret": f"Regret: distance to the best of the table{unit(measure)}", "hypervolume": "Hypervolume"}
        figure, axes = new_figure(label, titles.get(kind, f"Best {heading(measure)} so far"))
        if self._look.width or self._look.height:
            width, height = figure.get_size_inches()
            figure.set_size_inches(self._look.width or width, self._look.height or height)
        floor = _floor(curves) if kind == "regret" else -np.inf
        for group, curve in curves.items():
            style = self._style(group)
            kept = _changes(curve)
            x, mean = curve.x[kept], scale * np.maximum(curve.mean[kept], floor)
            low, high = (scale * np.maximum(edge[kept], floor) for edge in (curve.low, curve.high))
            axes.plot(x, mean, label=literal(group), linewidth=1.8, drawstyle="steps-post", **style)
            axes.fill_between(x, low, high, step="post", color=style["color"], alpha=0.15, linewidth=0)
        if logarithmic and all((curve.x > 0).any() for curve in curves.values()):
            axes.set_xscale("log")
        if kind == "regret":
            ends = np.concatenate([np.maximum(edge, floor) for one in curves.values() for edge in (one.low, one.high)])
            if np.ptp(ends) == 0:  # every run is at the optimum from the first trial on
                axes.set_ylim(scale * ends[0] / 3, scale * ends[0] * 3)
            axes.set_yscale("log")
        else:
            better = "max" if kind == "hypervolume" else measure.mode
            axes.set_ylim(*_limits(better, [scale * curve.mean for curve in curves.values()]))
        return add_legend(figure, axes)

    def final(self, measure: Measure) -> "Figure":
        """Every run as a point, with the mean and its interval beside them; the best group at the top."""
        figure, axes = new_figure(heading(measure), "", height=1.3 + 0.42 * len(measure.rows))
        scale = factor(measure)
        for place, row in enumerate(reversed(measure.rows)):
            values = scale * np.array([value for value in measure.values[row.group].values() if np.isfinite(value)])
            colour = self._style(row.group)["color"]
            spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
            axes.scatter(np.sort(values), place + spread, s=14, color=colour, alpha=0.45, linewidths=0)
            axes.plot([scale * row.low, scale * row.high], [place, place], color=colour, linewidth=3, alpha=0.8)
            axes.scatter([scale * row.mean], [place], s=48, color=colour, edgecolors="white", linewidths=1, zorder=4)
        axes.set_yticks(range(len(measure.rows)), [literal(row.group) for row in reversed(measure.rows)])
        return figure

    def _style(self, group: str) -> dict[str, Any]:
        place = self._groups.index(group)
        style = STYLES[place // len(COLOURS) % len(STYLES)]
        return {"color": self._look.colour(group) or COLOURS[place % len(COLOURS)], "linestyle": style}


def _floor(curves: Mapping[str, Curve]) -> float:
    """The position of a regret of 0 on a log axis: a third of the smallest one above 0."""
    everything = np.concatenate([curve.mean for curve in curves.values()])
    above = everything[everything > 1e-12]
    return float(above.min()) / 3 if len(above) else 1e-6


def _changes(curve: Curve) -> np.ndarray:
    """The points of a step curve that must be drawn, boolean (points,): its ends, and the points that differ from the
    one before."""
    values = np.stack([curve.mean, curve.low, curve.high])
    changed = np.ones(len(curve.x), dtype=bool)
    changed[1:-1] = (values[:, 1:] != values[:, :-1]).any(axis=0)[:-1]
    return changed


def _limits(mode: str, lines: Sequence[np.ndarray]) -> tuple[float, float]:
    """Axis limits that show the ends of the curves: the first steps, far from the best, may be cut off."""
    everything = np.concatenate(lines)
    low, high = np.quantile(everything, [0.02, 1.0] if mode == "max" else [0.0, 0.98])
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


RANK_AXIS = 3.0
"""Width of the axis of ranks, in inches; the names on both sides take what they need."""
LETTER = 0.075
"""Estimated width of a letter of a name, in inches, rounded up."""
MOST_TICKS = 10


def critical_difference(measure: Measure, over: str = "") -> "Figure":
    """Average ranks on a line, the best at the right; a bar joins groups that do not differ (Demsar 2006, figure 1)."""
    from matplotlib.figure import Figure

    ordered = sorted((row for row in measure.rows if row.rank is not None), key=lambda row: row.rank or 0.0)
    average = np.array([row.rank for row in ordered], dtype=float)
    count, difference = len(ordered), measure.critical_difference or 0.0
    bars = statistics.cliques(average, difference)
    half = (count + 1) // 2
    names = [f" {literal(row.group)}  {rank:.2f} " for row, rank in zip(ordered, average.tolist(), strict=True)]
    left, right = (max(map(len, part), default=0) * LETTER for part in (names[half:], names[:half]))
    depth, per_inch = 0.35 + 0.22 * len(bars), (count - 1) / RANK_AXIS
    size = (left + RANK_AXIS + right + 0.3, 1.3 + 0.32 * half + 0.18 * len(bars))
    figure = Figure(figsize=size, dpi=200)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(count + (left + 0.15) * per_inch, 1 - (right + 0.15) * per_inch)
    axes.set_ylim(-depth - 0.45 * half - 0.1, 1.75)
    axes.axis("off")
    axes.plot([1, count], [0, 0], color=INK, linewidth=1.2)
    for tick in range(1, count + 1, math.ceil(count / MOST_TICKS)):
        axes.plot([tick, tick], [0, 0.12], color=INK, linewidth=1.2)
        axes.text(tick, 0.17, str(tick), ha="center", va="bottom", fontsize=SMALL, color=INK)
    axes.plot([1, min(1 + difference, count)], [0.75, 0.75], color=INK, linewidth=2, solid_capstyle="butt")
    shown = f"critical difference {difference:.2f}" + (" (beyond the axis)" if difference > count - 1 else "")
    axes.text(1, 0.85, shown, ha="right", va="bottom", fontsize=SMALL, color=INK)
    for place, name in enumerate(names):
        better = place < half
        height = -depth - 0.45 * (place if better else count - 1 - place)
        edge = 1 - 0.1 * per_inch if better else count + 0.1 * per_inch
        axes.plot([average[place], average[place], edge], [0, height, height], color=GREY, linewidth=1)
        side: dict[str, Any] = {"ha": "left" if better else "right", "va": "center", "fontsize": SMALL, "color": INK}
        axes.text(edge, height, name, **side)
    for level, (first, last) in enumerate(bars):
        height = -0.18 - 0.22 * level
        ends = average[first] - 0.03 * per_inch, average[last] + 0.03 * per_inch
        axes.plot(ends, [height, height], color=INK, linewidth=4, solid_capstyle="butt")
    title: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NORMAL, "color": INK}
    axes.text((1 + count) / 2, 1.3, f"Average rank by {heading(measure)}{over}", **title)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, SVG and PDF, each atomically; the same numbers give the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    temporary = path.with_name(f".{path.name}.tmp")
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        render_figure(figure, lambda: FigureCanvasSVG(figure).print_svg(str(temporary), metadata={"Date": None}))  # type: ignore[no-untyped-call]
    temporary.replace(path.with_name(f"{path.name}.svg"))
    render_figure(figure, lambda: FigureCanvasPdf(figure).print_pdf(str(temporary), metadata={"CreationDate": None}))  # type: ignore[no-untyped-call]
    temporary.replace(path.with_name(f"{path.name}.pdf"))
    render_figure(figure, lambda: FigureCanvasAgg(figure).print_png(str(temporary)))  # type: ignore[no-untyped-call]
    temporary.replace(path.with_name(f"{path.name}.png"))
