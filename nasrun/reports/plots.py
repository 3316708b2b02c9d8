"""The plots of a run, as PNG files under `plots/`.

Figures are built as objects, without pyplot and without changing defaults, so that other plots of the process are not
affected. matplotlib is imported when the first plot is drawn. Plots without data are not made.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core import Objective, SearchSpace
from nasrun.reports.plot_style import (
    BLUE,
    GREY,
    INK,
    NORMAL,
    ORANGE,
    SMALL,
    add_legend,
    clip,
    learning_curve,
    literal,
    log_axis,
    mark_best,
    means_of,
    new_figure,
    save_figure,
    scale_of,
    shades_of_blue,
    whole_numbers,
)
from nasrun.reports.tables import whole
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS = "plots"
CURVES = 10
FEW = 5
"""Minimum number of values for a box; with fewer, single points are drawn."""


def write_plots(
    directory: Path, records: Mapping[int, TrialRecord], space: SearchSpace, objective: Objective
) -> list[Path]:
    """Draw the plots of a run into `directory/plots` and return the paths of those that have data.

    `records`: trial number to record. OSError passes through.
    """
    figures = draw_plots(directory, records, space, objective, {})
    return [save_figure(figure, directory / PLOTS / f"{name}.png") for name, figure in figures.items()]


def draw_plots(
    directory: Path,
    records: Mapping[int, TrialRecord],
    space: SearchSpace,
    objective: Objective,
    notes: Mapping[str, Any],
) -> "dict[str, Figure]":
    """The plots of a run that have data, by name. `notes`: the contents of `strategy.json`."""
    from nasrun.reports.changes import HISTORY, draw_history
    from nasrun.reports.front_plot import draw_front
    from nasrun.reports.shared_plots import more_figures

    ordered = [records[number] for number in sorted(records)]
    if not any(record.status == "ok" for record in ordered):
        return {}
    drawings: dict[str, Callable[..., Figure | None]] = {
        "incumbent": _incumbent,
        "accuracy_parameters": _accuracy_parameters,
        "learning_curves": _learning_curves,
        "origins": _origins,
    }
    figures = {name: draw(ordered, objective) for name, draw in drawings.items()}
    figures[HISTORY] = draw_history(records, notes, objective)
    if objective.others:
        figures["front"] = draw_front(ordered, objective)
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    return {**drawn, **more_figures(directory, ordered, space, objective)}


def _incumbent(records: Sequence[TrialRecord], objective: Objective) -> "Figure | None":
    """The objective of every trial in the order of the trials, with the best so far as a line."""
    ranked = [r for r in records if r.status == "ok"]
    values = means_of(ranked, objective.metric)
    scale = scale_of(objective.metric, values)
    values = values * scale.factor
    numbers = np.array([r.trial.number for r in ranked])
    running = np.maximum.accumulate(values) if objective.mode == "max" else np.minimum.accumulate(values)
    best = int(np.argmax(values) if objective.mode == "max" else np.argmin(values))
    figure, axes = new_figure("Trial", scale.label)
    reused = np.array([r.trial.proposal.reuse_of is not None for r in ranked])
    inside = clip(axes, numbers, values, objective)
    size = float(np.clip(6000 / len(values), 5, 26))
    style: dict[str, Any] = {"s": size, "linewidths": 0, "zorder": 2}
    axes.scatter(numbers[inside & ~reused], values[inside & ~reused], color=GREY, alpha=0.75, label="trials", **style)
    if (inside & reused).any():
        style |= {"facecolors": "none", "edgecolors": GREY, "linewidths": 0.8}
        axes.scatter(numbers[inside & reused], values[inside & reused], label="reused", **style)
    last = max(r.trial.number for r in records)
    steps = np.append(numbers, last), np.append(running, running[-1])
    axes.step(*steps, where="post", color=BLUE, linewidth=2, zorder=3, label="best so far")
    mark_best(axes, numbers[best], values[best], f"best: trial {numbers[best]:,}, {scale.show(values[best])}")
    failed = [r.trial.number for r in records if r.status != "ok"]
    if failed:
        bottom = axes.get_xaxis_transform()
        label = f"{len(failed):,} failed"
        style = {"marker": "x", "s": 20, "linewidths": 1.1, "color": ORANGE, "alpha": 0.8, "clip_on": False}
        axes.scatter(failed, np.full(len(failed), 0.018), transform=bottom, label=label, zorder=4, **style)
    margin = max(last * 0.02, 0.5)
    axes.set_xlim(-margin, last + margin)
    whole_numbers(axes.xaxis)
    return add_legend(figure, axes)


def _accuracy_parameters(records: Sequence[TrialRecord], objective: Objective) -> "Figure | None":
    """Objective against parameters, with a line through the networks that no smaller one matches."""
    known = [r for r in records if r.status == "ok" and r.trial.proposal.reuse_of is None]
    known = [r for r in known if (r.mean("parameters") or 0) > 0]
    # If the number of parameters is another objective, the plot of the front is the same.
    if not known or any(one.metric == "parameters" for one in objective.all):
        return None
    parameters, values = means_of(known, "parameters"), means_of(known, objective.metric)
    scale = scale_of(objective.metric, values)
    values = values * scale.factor
    front = pareto(parameters, values if objective.mode == "max" else -values)
    best = front[-1]
    figure, axes = new_figure("Parameters", scale.label)
    axes.set_xscale("log")
    numbers = np.array([r.trial.number for r in known])
    inside = clip(axes, parameters, values, objective)
    style: dict[str, Any] = {
        "s": float(np.clip(6000 / len(values), 8, 30)),
        "linewidths": 0,
        "alpha": 0.85,
        "zorder": 2,
    }
    style |= {"c": numbers[inside], "cmap": shades_of_blue(), "vmin": 0, "vmax": max(int(numbers[-1]), 1)}
    points = axes.scatter(parameters[inside], values[inside], **style)
    edge = np.append(parameters[front], parameters.max()), np.append(values[front], values[best])
    axes.step(*edge, where="post", color=BLUE, linewidth=1.6, zorder=3, label="best up to this size")
    ring: dict[str, Any] = {"s": 34, "facecolors": "white", "edgecolors": BLUE, "linewidths": 1.4, "zorder": 4}
    shown = front[inside[front]]
    axes.scatter(parameters[shown], values[shown], **ring)
    text = f"best: trial {numbers[best]:,}, {scale.show(values[best])}, {whole(parameters[best]):,} parameters"
    mark_best(axes, parameters[best], values[best], text)
    log_axis(axes, parameters)
    bar = figure.colorbar(points, ax=axes, pad=0.015, aspect=32, shrink=0.96)
    bar.set_label("Trial", fontsize=NORMAL, color=INK)
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=3)
    whole_numbers(bar.ax.yaxis)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.solids.set_alpha(1)  # type: ignore[union-attr]
    return add_legend(figure, axes)


def _learning_curves(records: Sequence[TrialRecord], objective: Objective) -> "Figure | None":
    """The validation metric by epoch for the best trials, as the mean over the repeats."""
    known = [r for r in records if r.status == "ok" and r.trial.proposal.reuse_of is None]
    names = {name for r in known for m in r.measurements for row in m.history for name in row}
    metric = objective.metric if objective.metric in names else next((n for n in sorted(names) if n[:4] == "val_"), "")
    known.sort(key=lambda r: -objective.score(r.measurements))
    curves = [(r, curve) for r in known if len(curve := learning_curve(r, metric)) > 1][:CURVES]
    if not curves:
        return None
    scale = scale_of(metric, np.concatenate([list(curve.values()) for _, curve in curves]))
    figure, axes = new_figure("Epoch", scale.label)
    shades = shades_of_blue()
    for rank, (record, curve) in reversed(list(enumerate(curves))):
        epochs, values = np.array(list(curve)), np.array(list(curve.values())) * scale.factor
        colour = ORANGE if rank == 0 else shades(0.95 - 0.75 * rank / CURVES)
        width, marker = (2.4, "o") if rank == 0 else (1.4, "")
        label = f"trial {record.trial.number:,}"
        if metric == objective.metric:
            label += f": {scale.show((record.mean(metric) or 0) * scale.factor)}"
        style: dict[str, Any] = {"linewidth": width, "marker": marker, "markersize": 4.5, "label": label}
        axes.plot(epochs, values, color=colour, zorder=3 + (rank == 0), **style)
    whole_numbers(axes.xaxis)
    handles, labels = axes.get_legend_handles_labels()
    outside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}
    legend = axes.legend(handles[::-1], labels[::-1], title="Best first", fontsize=SMALL, labelcolor=INK, **outside)
    legend.get_title().set_color(INK)
    legend.get_title().set_fontsize(SMALL)
    return figure


def _origins(records: Sequence[TrialRecord], objective: Objective) -> "Figure | None":
    """The gain of each child over its parent, by the operator that made it."""
    by_number = {r.trial.number: r for r in records}
    gains: dict[str, list[float]] = {}
    for record in records:
        proposal = record.trial.proposal
        parent = by_number.get(proposal.parent) if proposal.parent is not None else None
        if parent is not None and proposal.reuse_of is None and record.status == parent.status == "ok":
            gain = objective.score(record.measurements) - objective.score(parent.measurements)
            gains.setdefault(literal(proposal.origin), []).append(gain)
    if not gains:
        return None
    scale = scale_of(objective.metric, means_of([r for r in records if r.status == "ok"], objective.metric))
    names = sorted(gains, key=lambda name: (np.median(gains[name]), name))
    figure, axes = new_figure(f"Gain over the parent ({scale.difference})", "", height=1.5 + 0.5 * len(names))
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    data = [np.array(gains[name]) * scale.factor for name in names]
    low, high = _gain_limits(np.concatenate(data))
    rng = np.random.default_rng(0)
    for height, values in enumerate(data):
        jitter = height + rng.uniform(-0.16, 0.16, len(values))
        colours = np.where(values > 0, BLUE, GREY)
        size = float(np.clip(2000 / len(values), 5, 22))
        for marker, at in (("o", (values >= low) & (values <= high)), ("<", values < low), (">", values > high)):
            style: dict[str, Any] = {"s": size, "marker": marker, "linewidths": 0, "alpha": 0.65, "zorder": 2}
            axes.scatter(np.clip(values[at], low, high), jitter[at], c=colours[at], **style)
        text = f"{100 * (values > 0).mean():.0f} % of {len(values):,} better"
        spot: dict[str, Any] = {"xy": (1.01, height), "xycoords": axes.get_yaxis_transform(), "va": "center"}
        axes.annotate(text, fontsize=SMALL, color=INK, annotation_clip=False, **spot)
        _box(axes, values, height)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    pad = (high - low) * 0.03 or 0.01
    axes.set_xlim(low - pad, high + pad)
    axes.grid(visible=False, axis="y")
    return figure


def _box(axes: "Axes", values: np.ndarray, height: float) -> None:
    """A horizontal box plot at a height: median, quartiles, and whiskers to the last value within 1.5 times the box."""
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    if len(values) >= FEW:
        reach = 1.5 * (third - first)
        ends = values[(values >= first - reach) & (values <= third + reach)]
        style: dict[str, Any] = {"color": INK, "linewidth": 1.1, "zorder": 3}
        left, right = min(first, ends.min()), max(third, ends.max())
        for start, end in ((left, first), (third, right)):
            axes.plot([start, end], [height, height], **style)
        for end in (left, right):
            axes.plot([end, end], [height - 0.1, height + 0.1], **style)
        low, high = height - 0.25, height + 0.25
        axes.plot([first, third, third, first, first], [low, low, high, high, low], **style)
    axes.plot([median, median], [height - 0.25, height + 0.25], color=ORANGE, linewidth=2.2, zorder=4)


def _gain_limits(gains: np.ndarray) -> tuple[float, float]:
    """Limits around the bulk of the gains; values beyond are drawn as triangles on the edge."""
    low, high = np.quantile(gains, [0.1, 0.9])
    inside = gains[(gains >= low - (high - low)) & (gains <= high + (high - low))]
    return min(float(inside.min()), 0.0), max(float(inside.max()), 0.0)


def pareto(parameters: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Indices of the networks better than every network of at most their size, from small to large."""
    order = np.lexsort((-score, parameters))
    running = np.maximum.accumulate(score[order])
    better = np.append(True, running[1:] > running[:-1])
    front: np.ndarray = order[better]
    return front
