"""The changes that a strategy made while networks trained: `changes.csv`, and the plot of the learning history.

For strategies that continue from checkpoints and whose notes hold `changes`, a list of rows; `lineage`, the trials that
the final network went through; and `borders`, the epochs at which cycles began.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.core import Objective
from nasrun.reports.plot_style import (
    BLUE,
    GREY,
    ORANGE,
    add_legend,
    learning_curve,
    new_figure,
    whole_numbers,
)
from nasrun.storage.records import TrialRecord, best_of, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANGES = "changes.csv"
HISTORY = "learning_history"
COLUMNS = ("cycle", "copy", "trial", "change", "from", "to", "first_loss", "last_loss", "fitness", "chosen")


def write_changes(directory: Path, notes: Mapping[str, Any]) -> None:
    """Write `changes.csv` if the notes hold changes: a row per change, in the order of the trials."""
    rows: Sequence[Mapping[str, Any]] = notes.get("changes", ())
    if not rows:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    write_text(directory / CHANGES, text.getvalue())


def draw_history(records: Mapping[int, TrialRecord], notes: Mapping[str, Any], objective: Objective) -> "Figure | None":
    """Draw the losses by epoch of the search's final network, through all its ancestors, with those of other networks
    behind it and a line at the start of each cycle; None if no training was continued."""
    if not any(record.trial.proposal.warm_start == "continue" for record in records.values()):
        return None
    lineage = _lineage(records, notes, objective)
    own = {name: [learning_curve(records[number], name) for number in lineage] for name in ("train_loss", "val_loss")}
    if not any(own["train_loss"]):
        return None
    figure, axes = new_figure("Epoch", "Loss")
    label: str | None = "other networks, training"
    for record in records.values():
        curve = learning_curve(record, "train_loss")
        if curve and record.trial.number not in lineage:
            marker = "." if len(curve) == 1 else None
            style: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "alpha": 0.6, "zorder": 2}
            axes.plot(list(curve), list(curve.values()), marker=marker, label=label, **style)
            label = None
    for name, colour, words in (("train_loss", BLUE, "training loss"), ("val_loss", ORANGE, "validation loss")):
        points: dict[int, float] = {epoch: value for curve in own[name] for epoch, value in curve.items()}
        if points:
            epochs = sorted(points)
            values = [points[epoch] for epoch in epochs]
            axes.plot(epochs, values, color=colour, linewidth=1.8, label=words, zorder=3)
    for number, border in enumerate(notes.get("borders", ())):
        label = None if number else "borders of the cycles"
        axes.axvline(border + 0.5, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1, label=label)
    if min(value for curve in own["train_loss"] for value in curve.values()) > 0:
        _log_losses(axes)
    whole_numbers(axes.xaxis)
    return add_legend(figure, axes)


def _log_losses(axes: "Axes") -> None:
    """A logarithmic axis with its numbers written out."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _lineage(records: Mapping[int, TrialRecord], notes: Mapping[str, Any], objective: Objective) -> list[int]:
    """The trials that the final network went through, in order."""
    best = best_of(records, objective)
    known = [number for number in notes.get("lineage", ()) if number in records]
    number = known[-1] if known else best.trial.number if best is not None else None
    chain: list[int] = []
    while number is not None and number in records:
        chain.append(number)
        number = records[number].trial.proposal.parent
    return chain[::-1]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
