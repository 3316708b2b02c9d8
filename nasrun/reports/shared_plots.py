"""Plots of searches with shared weights: every sampled accuracy with its moving average, and cells as graphs.

Figures are objects, without pyplot; matplotlib is imported when one is drawn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core import CellGraph, Objective, SearchSpace
from nasrun.reports.architecture_plot import draw_architecture, read_architecture
from nasrun.reports.plot_style import BLUE, GREEN, GREY, INK, NORMAL, ORANGE, SMALL
from nasrun.reports.shared_table import SHARED
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW = 100
"""Number of accuracies in a moving average, as in the figures of the I-ENAS paper."""

NAMES = {"conv3": "conv 3x3", "conv5": "conv 5x5", "avg3": "avg pool 3x3", "max3": "max pool 3x3"}
COLOURS = {"conv3": "#CFE3F3", "conv5": "#9CC7E6", "avg3": "#D5EDE3", "max3": "#A9DCC8"}
LINES = (INK, "#7A4F9A", BLUE, GREEN, ORANGE)
"""Colours of the arrows, by the node that they come from."""

COLUMN, ROW, WIDTH = 2.5, 1.35, 1.3
"""Sizes in the drawing of a cell, in its own units: distance of columns, of rows, and width of the boxes."""


def more_figures(
    directory: Path, records: Sequence[TrialRecord], space: SearchSpace, objective: Objective
) -> "dict[str, Figure]":
    """The plots by name: `sampled` if weights were shared, `architecture` if architectures had weights, and `cell` if
    the space has cells to draw."""
    figures = {}
    ranked = [record for record in records if record.status == "ok"]
    if (directory / SHARED).is_file():
        values = np.array([record.mean(objective.metric) for record in ranked], dtype=float)
        label = objective.metric.replace("_", " ")
        figures["sampled"] = draw_sampled({"": (np.array([r.trial.number for r in ranked]), values)}, label)
    best = max(ranked, key=lambda record: (objective.score(record.measurements), -record.trial.number))
    weights = read_architecture(directory)
    if weights:
        figures["architecture"] = draw_architecture(weights)
    graphs = space.cell_graphs(best.trial.proposal.genome)
    if graphs:
        figures["cell"] = draw_cells(graphs)
    return figures


def moving_average(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """The mean of each value and up to `window - 1` before it, float (values,)."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=float)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    averages: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return averages


def draw_sampled(series: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str) -> "Figure":
    """Every accuracy, its moving average as a line, and a star on the first maximum.

    `series`: by name, the trial numbers and accuracies of a run; `label`: the name of the accuracies.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.4), dpi=160, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for colour, (name, (numbers, values)) in zip(_colours(len(series)), series.items(), strict=True):
        size = float(np.clip(6000 / max(len(values), 1), 3, 16))
        axes.scatter(numbers, values, s=size, color=colour, alpha=0.3, linewidths=0, zorder=2)
        window = min(WINDOW, len(values))
        line = f"{name}: mean of {window}" if name else f"mean of the last {window}"
        axes.plot(numbers, moving_average(values, window), color=colour, linewidth=2, zorder=3, label=line)
        first = int(np.argmax(values))  # the first of equal ones
        star: dict[str, Any] = {"marker": "*", "s": 170, "edgecolors": "white", "linewidths": 0.8, "zorder": 5}
        text = f"first maximum: trial {numbers[first]:,}, {values[first]:.4g}"
        axes.scatter([numbers[first]], [values[first]], color=colour, label=text, **star)
    axes.set_xlabel("Trial", fontsize=NORMAL, color=INK)
    axes.set_ylabel(label, fontsize=NORMAL, color=INK)
    axes.tick_params(labelsize=SMALL, color=GREY, labelcolor=INK, length=3)
    axes.grid(visible=True, color="#E4E6EA", linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
    figure.legend(loc="outside upper left", ncols=2, fontsize=SMALL, frameon=False, labelcolor=INK)
    return figure


def draw_cells(graphs: Mapping[str, CellGraph]) -> "Figure":
    """The cells of an architecture, by title: each block is the sum of operations on the nodes that its arrows come
    from."""
    from matplotlib.figure import Figure

    places = [node_places(graph) for graph in graphs.values()]
    width = max(x for found in places for x, _ in found.values()) + 1.6
    heights = [max(abs(y) for _, y in found.values()) * 2 + 1.4 for found in places]
    figure = Figure(figsize=(0.62 * width, 0.62 * sum(heights) + 0.7), dpi=160, layout="constrained", facecolor="white")
    grid = figure.subplots(len(graphs), 1, squeeze=False, height_ratios=heights)
    for axes, (title, graph), found, height in zip(grid[:, 0], graphs.items(), places, heights, strict=True):
        _draw_cell(axes, graph, found)
        axes.set_title(title, fontsize=NORMAL, color=INK, loc="left")
        axes.set_xlim(-0.8, width - 0.8)
        axes.set_ylim(-height / 2, height / 2)
        axes.set_aspect("equal", anchor="W")
        axes.axis("off")
    return figure


def node_places(graph: CellGraph) -> dict[int, tuple[float, float]]:
    """Positions of the nodes: the inputs, then the blocks, then the output.

    A column for each depth, and a row for each node but the output, so that a line along its row meets no other node.
    """
    depths = [0] * len(graph.inputs)
    for block in graph.blocks:
        depths.append(1 + max((depths[source] for source, _ in block), default=0))
    rows = sorted(range(len(depths)), key=lambda node: (depths[node], node))
    middle = (len(rows) - 1) / 2
    places = {node: (COLUMN * depths[node], ROW * (middle - row)) for row, node in enumerate(rows)}
    places[len(depths)] = (COLUMN * (1 + max(depths)), 0.0)
    return places


def _draw_cell(axes: "Axes", graph: CellGraph, places: Mapping[int, tuple[float, float]]) -> None:
    output = len(places) - 1
    for node, label in enumerate(graph.inputs):
        _box(axes, *places[node], label, "#F3E3C9")
    _box(axes, *places[output], "output", "#F3E3C9")
    for node, block in enumerate(graph.blocks, start=len(graph.inputs)):
        x, y = places[node]
        for rank, (source, operation) in enumerate(block):
            height = y + 0.3 * (len(block) - 1 - 2 * rank)
            _box(axes, x, height, NAMES.get(operation, operation), COLOURS.get(operation, "#EDEFF2"))
            gutter = places[source][0] + WIDTH / 2 + 0.25 + 0.09 * source
            _line(axes, places[source], (x - WIDTH / 2, height), gutter, source)
        axes.text(x + WIDTH / 2 + 0.12, y, "+", fontsize=NORMAL, color=INK, ha="center", va="center", zorder=4)
    for node in graph.outputs:
        x, y = places[output]
        _line(axes, places[node], (x - WIDTH / 2, y), x - WIDTH / 2 - 0.3, node, dashed=True)


def _line(
    axes: "Axes",
    start: tuple[float, float],
    end: tuple[float, float],
    gutter: float,
    node: int,
    *,
    dashed: bool = False,
) -> None:
    """An arrow from a node, through the gap between two columns, to a point on the left edge of another."""
    begin = start[0] + WIDTH / 2 + (0.0 if node < 2 else 0.2)
    style: dict[str, Any] = {"color": GREY, "linestyle": "--"} if dashed else {"color": LINES[node % len(LINES)]}
    style |= {"linewidth": 1.1, "solid_joinstyle": "round", "zorder": 2}
    axes.plot([begin, gutter, gutter, end[0] - 0.1], [start[1], start[1], end[1], end[1]], **style)
    arrow = {"arrowstyle": "-|>", "color": style["color"], "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=(end[0] - 0.15, end[1]), arrowprops=arrow | {"mutation_scale": 9}, zorder=2)


def _box(axes: "Axes", x: float, y: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape: Any = "round,pad=0,rounding_size=0.1"
    style: dict[str, Any] = {"facecolor": colour, "edgecolor": INK, "linewidth": 0.7, "zorder": 3}
    axes.add_patch(FancyBboxPatch((x - WIDTH / 2, y - 0.24), WIDTH, 0.48, boxstyle=shape, **style))
    axes.text(x, y, text, fontsize=SMALL - 2, color=INK, ha="center", va="center", zorder=4, linespacing=0.95)


def _colours(count: int) -> Sequence[str]:
    named = (GREY, ORANGE, BLUE, GREEN, INK)
    return [BLUE] if count == 1 else [named[place % len(named)] for place in range(count)]
