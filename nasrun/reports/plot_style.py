"""The common style of all plots, and their common data.

Figures are built as objects, without pyplot and without changing defaults, so that other plots of the process are not
affected. matplotlib is imported when the first plot is drawn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nasrun.core import Objective
from nasrun.core.options import printable
from nasrun.reports.letters import render_figure
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which is distinguishable with every kind of colour vision.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#9AA0A8", "#2B2F36"
SMALL, NORMAL = 9, 10.5
ROOM, LINE_INCHES = 0.98, 0.19
"""For a legend: maximum share of the figure's width, and the height of a line."""


class Scale(NamedTuple):
    """How a metric is shown: an axis label, the unit of a difference, and a factor (100 for shares in percent)."""

    label: str
    difference: str
    factor: float
    unit: str

    def show(self, value: float) -> str:
        """A scaled value as text."""
        return f"{value:.2f}{self.unit}" if self.unit else f"{value:.4g}"


def new_figure(xlabel: str, ylabel: str, height: float = 4.4) -> "tuple[Figure, Axes]":
    """A figure with one pair of axes in the common style; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, height), dpi=160, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    axes = figure.add_subplot()
    style_axes(axes, xlabel, ylabel)
    return figure, axes


def style_axes(axes: "Axes", xlabel: str, ylabel: str) -> None:
    """Set labels, ticks and grid in the common style."""
    axes.set_xlabel(xlabel, fontsize=NORMAL, color=INK, labelpad=6)
    axes.set_ylabel(ylabel, fontsize=NORMAL, color=INK, labelpad=6)
    axes.tick_params(labelsize=SMALL, colors=INK, length=3, color=GREY)
    axes.tick_params(which="minor", length=2, color=GREY)
    axes.grid(visible=True, color="#E4E6EA", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)


def literal(text: str) -> str:
    """A run's text in matplotlib's notation for literal text: text between two dollars is not a formula, and a label
    that begins with _ stays in the legend."""
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def add_legend(figure: "Figure", axes: "Axes") -> "Figure":
    """Add a legend above the axes, where it hides no point, on as many lines as needed; lines beyond two enlarge the
    figure. A label wider than the figure makes all letters smaller."""
    handles, labels = axes.get_legend_handles_labels()
    if labels[0].endswith(" axis"):
        handles, labels = handles[1:] + handles[:1], labels[1:] + labels[:1]
    place: dict[str, Any] = {"loc": "outside upper left", "borderaxespad": 0.2, "columnspacing": 1.6}
    style: dict[str, Any] = {"frameon": False, "labelcolor": INK, "handletextpad": 0.5, **place}
    lines, letters = 1, float(SMALL)
    while True:
        columns = -(-len(labels) // lines)
        legend = figure.legend(handles, labels, ncols=columns, fontsize=letters, **style)
        share = legend.get_window_extent().width / figure.bbox.width
        if share <= ROOM:
            break
        legend.remove()
        if columns > 1:
            lines += 1
        else:
            letters *= 0.98 * ROOM / share
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LINE_INCHES * max(0, lines - 2))
    return figure


def mark_best(axes: "Axes", x: float, y: float, text: str) -> None:
    """Draw a star on the best trial; its description is in the legend, so that no text covers a point."""
    style: dict[str, Any] = {"marker": "*", "s": 190, "color": ORANGE, "edgecolors": "white", "linewidths": 0.8}
    axes.scatter([x], [y], zorder=5, label=text, **style)


def scale_of(metric: str, values: np.ndarray) -> Scale:
    """The scale of a metric: shares are shown in percent; values already in percent, and other metrics, are
    unchanged."""
    words = metric.replace("_", " ")
    for short, long in (("val ", "validation "), ("train ", "training ")):
        words = long + words.removeprefix(short) if words.startswith(short) else words
    words = words[:1].upper() + words[1:]
    if metric.endswith("accuracy"):
        factor = 100.0 if np.nanmax(values) <= 1 else 1.0
        return Scale(f"{words} (%)", "percentage points", factor, " %")
    return Scale(words, words[:1].lower() + words[1:], 1.0, "")


def clip(axes: "Axes", x: np.ndarray, y: np.ndarray, objective: Objective) -> np.ndarray:
    """Keep the few trials far worse than the rest from compressing the others into a line.

    At most a quarter of the points is cut off; they are drawn as triangles on the edge. Returns which points are
    inside, boolean (points,).
    """
    sign = 1.0 if objective.mode == "max" else -1.0
    score = y * sign
    best, quarter = score.max(), np.quantile(score, 0.25)
    inside: np.ndarray = np.asarray(score >= best - 2.5 * (best - quarter))
    if best == quarter:
        inside = np.ones(len(score), dtype=bool)
    fence = score[inside].min()
    span = (best - fence) or abs(best) * 0.01 or 1.0
    limits = sorted((sign * (best + 0.05 * span), sign * (fence - 0.08 * span)))
    axes.set_ylim(*limits)
    outside = ~inside
    if outside.any():
        marker, edge = ("v", fence) if sign > 0 else ("^", -fence)
        label = f"{outside.sum():,} {'below' if sign > 0 else 'above'} axis"
        style: dict[str, Any] = {"marker": marker, "s": 18, "color": GREY, "linewidths": 0, "zorder": 2}
        axes.scatter(x[outside], np.full(outside.sum(), edge), label=label, **style)
    return inside


def shades_of_blue() -> Any:
    """A colour map from light to dark blue that stays visible on white."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("trials", ["#C9D9E8", "#5B9CC9", "#0B3C5D"])


def whole_numbers(axis: "Axis") -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=9, integer=True))
    axis.set_major_formatter("{x:,.0f}")


def log_axis(axes: "Axes", values: np.ndarray) -> None:
    """Ticks of a logarithmic axis, as dense as their labels, written out in full, allow."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = float(values.min()), float(values.max())
    axes.set_xlim(low / 1.15, high * 1.15)
    decades = np.log10(high / low)
    steps = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)
    axes.xaxis.set_major_locator(MaxNLocator(5) if decades < 0.5 else LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write a PNG atomically: readers see the old file or the new one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        render_figure(figure, lambda: FigureCanvasAgg(figure).print_png(str(temporary)))  # type: ignore[no-untyped-call]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def learning_curve(record: TrialRecord, metric: str) -> dict[int, float]:
    """The mean of a metric by epoch, over the repeats that reached it."""
    values: dict[int, list[float]] = {}
    for measurement in record.measurements:
        for number, row in enumerate(measurement.history, 1):
            if measurement.status == "ok" and metric in row:
                values.setdefault(int(row.get("epoch", number)), []).append(row[metric])
    return {epoch: float(np.mean(found)) for epoch, found in sorted(values.items())}


def means_of(records: Sequence[TrialRecord], metric: str) -> np.ndarray:
    """Means of a metric, float (records,); NaN where a trial does not report it."""
    return np.array([record.mean(metric) for record in records], dtype=float)
