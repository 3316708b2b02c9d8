"""The picture of architecture weights over the epochs of a search: a panel for each position of a genome.

matplotlib is imported when it is drawn.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasrun.reports.architecture_table import ARCHITECTURE
from nasrun.reports.plot_style import BLUE, GREEN, GREY, INK, ORANGE, SMALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Weights = Mapping[int, Mapping[str, np.ndarray]]
"""The weights after each epoch, by position and choice."""

COLOURS = (GREY, ORANGE, BLUE, GREEN, INK, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
COLUMNS, PANEL = 3, (2.7, 1.7)
"""Number of panels in a row, and the width and height of one, in inches."""
MANY = 12
"""Number of positions from which on rows have more, smaller panels."""


def read_architecture(directory: Path) -> Weights:
    """The contents of a run's `architecture.csv`; empty if there is none."""
    path = directory / ARCHITECTURE
    if not path.is_file():
        return {}
    found: dict[int, dict[str, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["position"]), {}).setdefault(row["choice"], []).append(float(row["weight"]))
    return {place: {name: np.array(row) for name, row in rows.items()} for place, rows in found.items()}


def draw_architecture(weights: Weights, title: str = "") -> "Figure":
    """The weight of each choice over the epochs, a panel for each position, the choices by colour."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for rows in weights.values() for name in rows))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    columns = COLUMNS if len(weights) <= MANY else 2 * COLUMNS
    lines = -(-len(weights) // columns)
    width, height = (COLUMNS * PANEL[0], lines * PANEL[1] * COLUMNS / columns + 0.7)
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes in panels[len(weights) :]:
        axes.set_axis_off()
    for axes, (position, rows) in zip(panels, weights.items(), strict=False):
        for name, row in rows.items():
            style = "-" if names.index(name) < len(COLOURS) else "--"
            marker = "o" if len(row) == 1 else ""
            axes.plot(
                np.arange(1, len(row) + 1), row, style, color=colours[name], linewidth=1.3, marker=marker, markersize=3
            )
        axes.set_title(f"position {position}", fontsize=SMALL, color=INK, loc="left", pad=2)
        axes.tick_params(labelsize=SMALL - 2, color=GREY, labelcolor=INK, length=2)
        axes.grid(visible=True, color="#E4E6EA", linewidth=0.6)
        axes.set_ylim(bottom=0)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(GREY)
    _label(figure, names, colours, title)
    return figure


def _label(figure: "Figure", names: Sequence[str], colours: Mapping[str, str], title: str) -> None:
    """Label the axes and the colours."""
    from matplotlib.lines import Line2D

    figure.supxlabel("Epoch", fontsize=SMALL, color=INK)
    figure.supylabel("Weight", fontsize=SMALL, color=INK)
    keys = [Line2D([], [], color=colours[name], linewidth=2, label=name) for name in names]
    figure.legend(
        handles=keys,
        loc="outside upper left",
        ncols=min(len(names), 6),
        fontsize=SMALL - 1,
        frameon=False,
        labelcolor=INK,
        title=title or None,
    )
