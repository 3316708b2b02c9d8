"""Plots of the test of a run's winner: the confusion matrix, and the most confidently wrong answers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nasrun.reports.plot_style import GREY, INK, SMALL, literal, new_figure
from nasrun.reports.summary import shorten
from nasrun.reports.tested import WinnerTest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 30
"""Maximum number of classes that a confusion matrix names, and"""
COUNTED = 15
"""for which it shows the counts."""
COLUMNS = 6
LETTERS = 14
SHADE = (0.0, 114 / 255, 178 / 255)
"""Blue, with which cells are shaded on the page's background, light or dark."""
DARKEST = 0.6


def draw_test(tested: WinnerTest) -> "dict[str, Figure]":
    """The plots that have data, by name."""
    drawings: dict[str, Callable[[WinnerTest], Figure | None]] = {
        "test_confusion": _confusion,
        "test_mistakes": _mistakes,
    }
    figures = {name: draw(tested) for name, draw in drawings.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _confusion(tested: WinnerTest) -> "Figure":
    """A row for each true class, shaded by the share of its images that got each answer."""
    counts, names = tested.confusion, [literal(shorten(name, LETTERS)) for name in tested.predictions.classes]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = new_figure("Answer", "Class", height=6.4)
    axes.grid(visible=False)
    cells = np.empty((*shares.shape, 4))
    cells[..., :3], cells[..., 3] = SHADE, DARKEST * shares
    axes.imshow(cells, interpolation="nearest")
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=45 if len(names) > 5 else 0)
        axes.set_yticks(range(len(names)), names)
        if len(names) > 5:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
    if len(names) <= COUNTED:
        for row, column in np.argwhere(counts):
            text = f"{counts[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=INK)
    return figure


def _mistakes(tested: WinnerTest) -> "Figure | None":
    """The images whose wrong answers had the highest confidence, with answer, confidence and class."""
    from matplotlib.figure import Figure

    found, rows = tested.predictions, list(tested.wrong_rows())[1:]
    if not rows:
        return None
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    size = (max(2.6, 1.27 * columns), 1.75 * lines)
    figure = Figure(figsize=size, dpi=160, layout="constrained", facecolor="white")
    for number, (row, image) in enumerate(zip(rows, found.images, strict=True), 1):
        axes = figure.add_subplot(lines, columns, number)
        axes.imshow(_picture(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(GREY)
        label, answer = (literal(shorten(str(name), LETTERS)) for name in row[1:3])
        axes.set_title(f"{answer}\n{100 * float(str(row[3])):.1f} %", fontsize=SMALL, color=INK)
        axes.set_xlabel(f"is {label}", fontsize=SMALL, color=INK)
    return figure


def _picture(image: np.ndarray) -> np.ndarray:
    """An image uint8 (channels, height, width) for drawing: colour, or grey if it does not have three channels."""
    if len(image) == 3:
        return image.transpose(1, 2, 0)
    return np.asarray(image.mean(axis=0))
