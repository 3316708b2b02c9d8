"""The page of `nasrun watch`, and its data, which it requests every few seconds. Text from runs is shown only as
text."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasrun.reports.page import render
from nasrun.reports.status.state import KINDS, Follower, RunState, SweepState, runs_below, sweep_of
from nasrun.reports.status.words import measuring_in_words, moment, progress_in_words
from nasrun.reports.summary import duration, finite, nearby, number
from nasrun.reports.tables import one_line

TEMPLATE = "watch.html.jinja"
SECONDS = 2.0
"""Seconds between two requests of the page."""
MOST_LINES = 16
"""Maximum number of trials and workers shown for a run."""


class Watched:
    """Some folders with the runs found in them so far."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._followers: dict[Path, Follower] = {}

    def page(self, nonce: str) -> str:
        """The page itself. `nonce`: of its scripts."""
        names = ", ".join(one_line(nearby(folder)) for folder in self._folders)
        return render(TEMPLATE, {"title": "What runs", "folders": names, "seconds": SECONDS, "nonce": nonce})

    def state(self) -> dict[str, Any]:
        """The current state for the page, as JSON."""
        runs = runs_below(self._folders)
        self._followers = {run: self._followers.get(run) or Follower(run) for run in runs}
        states = sorted((one.look() for one in self._followers.values()), key=lambda state: KINDS.index(state.kind))
        found = [sweep_of(folder, len(runs)) for folder in self._folders]
        content: dict[str, Any] = finite(
            {
                "moment": time.strftime("%H:%M:%S"),
                "facts": _facts(states, [sweep for sweep in found if sweep is not None]),
                "runs": [_run(state) for state in states],
            }
        )
        return content


def _facts(states: Sequence[RunState], sweeps: Sequence[SweepState]) -> list[tuple[str, str]]:
    counts = Counter(state.kind for state in states)
    waiting = sum(sweep.waiting for sweep in sweeps)
    name = "waiting" if any(sweep.holder.alive for sweep in sweeps) else "not begun"
    facts = [(kind, f"{counts[kind]:,}") for kind in KINDS if counts[kind]]
    return [*facts, *([(name, f"{waiting:,}")] if waiting else []), ("trials", f"{sum(s.told for s in states):,}")]


def _run(state: RunState) -> dict[str, Any]:
    return {
        "kind": state.kind,
        "name": one_line(nearby(state.directory)),
        "what": one_line(", ".join(state.choices)),
        "told": state.told,
        "trials": state.trials,
        "progress": progress_in_words(state),
        "best": f"{number(state.best[1])} {state.metric}" if state.best else "",
        "value": state.best[1] if state.best else None,
        "curve": state.curve,
        "left": duration(state.left) if state.left is not None else "",
        "seconds": state.left,
        "at": [one_line(line) for line in _lines(state)],
    }


def _lines(state: RunState) -> list[str]:
    if state.kind != "running":
        reason = f": {state.reason}" if state.reason else ""
        return [f"since {moment(state.since)}{reason}"]
    place = [f"on {state.holder.place}"] if state.holder.host else []
    lines = [f"since {moment(state.since)}", *place, *(["asked to stop"] if state.holder.asked else [])]
    lines += [measuring_in_words(one) for one in state.measuring[:MOST_LINES]]
    lines += [f"{len(state.measuring) - MOST_LINES} more"] if len(state.measuring) > MOST_LINES else []
    return lines
