"""The plot of several objectives: the first against each other one, marking the trials that no other beats in all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nasrun.core import Objective
from nasrun.core.words import counted
from nasrun.reports.front import front_of
from nasrun.reports.plot_style import (
    BLUE,
    GREY,
    add_legend,
    clip,
    log_axis,
    mark_best,
    means_of,
    new_figure,
    scale_of,
    style_axes,
)
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 10
"""A metric whose largest value is this many times its smallest has a logarithmic axis."""


def draw_front(records: Sequence[TrialRecord], objective: Objective) -> "Figure | None":
    """One panel for each objective after the first; with two objectives, a line joins the front. None if nothing
    succeeded."""
    known = [r for r in records if r.status == "ok" and r.trial.proposal.reuse_of is None]
    if not known:
        return None
    places = {record.trial.number: place for place, record in enumerate(known)}
    front = [places[r.trial.number] for r in front_of({r.trial.number: r for r in known}, objective)]
    figure, axes = new_figure("", "", height=4.4 * len(objective.others))
    axes.remove()
    panels = figure.subplots(len(objective.others), 1, squeeze=False)[:, 0]
    for panel, other in zip(panels, objective.others, strict=True):
        _panel(panel, known, front, objective, other)
    return add_legend(figure, panels[0])


def _panel(
    axes: "Axes", known: Sequence[TrialRecord], front: Sequence[int], objective: Objective, other: Objective
) -> None:
    """The first objective against another one. `front`: indices in `known`, the best by the first objective first."""
    x, y = means_of(known, other.metric), means_of(known, objective.metric)
    across, up = scale_of(other.metric, x), scale_of(objective.metric, y)
    x, y = x * across.factor, y * up.factor
    style_axes(axes, across.label, up.label)
    wide = x.min() > 0 and x.max() >= WIDE * x.min()
    if wide:
        axes.set_xscale("log")
    inside = clip(axes, x, y, objective)
    size = float(np.clip(6000 / len(y), 8, 30))
    style: dict[str, Any] = {"s": size, "linewidths": 0, "zorder": 2, "alpha": 0.75}
    axes.scatter(x[inside], y[inside], color=GREY, label="trials", **style)
    if len(objective.others) == 1:
        order = sorted(front, key=lambda place: (x[place], y[place]))
        # For each value of the other metric the best that is possible at no worse a value.
        where: Literal["pre", "post"] = "pre" if other.mode == "max" else "post"
        axes.step(x[order], y[order], where=where, color=BLUE, linewidth=1.6, zorder=3)
    shown = [place for place in front if inside[place]]
    ring: dict[str, Any] = {"s": 34, "facecolors": "white", "edgecolors": BLUE, "linewidths": 1.4, "zorder": 4}
    axes.scatter(x[shown], y[shown], label=f"front: {counted(len(front), 'trial')}", **ring)
    best, number = front[0], known[front[0]].trial.number
    mark_best(axes, x[best], y[best], f"best {objective.metric}: trial {number:,}, {up.show(y[best])}")
    if wide:
        log_axis(axes, x)
