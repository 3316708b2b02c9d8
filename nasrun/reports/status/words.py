"""The state of runs as text: a few lines for one, a table for many, JSON for other programs."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nasrun.core.words import counted
from nasrun.reports.status.state import KINDS, Measuring, RunState, SweepState
from nasrun.reports.summary import duration, finite, nearby, number
from nasrun.reports.tables import one_line
from nasrun.storage.journal import now
from nasrun.storage.run_directory import how_to_continue

FEW = 20
"""Maximum number of runs for which finished ones are listed too."""
DAY = 86400.0


def describe_run(state: RunState) -> Iterator[str]:
    """One run in a few lines."""
    yield f"{nearby(state.directory)}: {_headline(state)}"
    yield f"  {', '.join((*state.choices, *_found(state)))}"
    if state.kind == "running":
        if state.holder.host:
            yield f"  on {one_line(state.holder.place)}" + ("; it was asked to stop" if state.holder.asked else "")
        yield from (f"  {one_line(measuring_in_words(one))}" for one in state.measuring)
    elif state.kind in ("stopped", "failed"):
        yield f"  {how_to_continue(state.directory)}"


def describe_runs(states: Sequence[RunState], sweeps: Sequence[SweepState], everything: bool = False) -> Iterator[str]:
    """Many runs: a line of counts for each sweep and for all, and a table. `everything`: list finished ones too,
    however many."""
    yield counts_in_words(states, sweeps)
    for sweep in sweeps:
        if sweep.holder.alive:
            asked = "; it was asked to stop" if sweep.holder.asked else ""
            yield f"sweep {nearby(sweep.directory)}: on {one_line(sweep.holder.place)}{asked}"
        elif sweep.waiting:
            yield f"sweep {nearby(sweep.directory)}: stopped; {how_to_continue(sweep.directory)}"
    shown = sorted(states, key=lambda state: KINDS.index(state.kind))
    if not everything and len(shown) > FEW:
        shown = [state for state in shown if state.kind != "done"]
    if shown:
        yield from _table([_ROW, *(_row(state) for state in shown)])
    hidden = len(states) - len(shown)
    if hidden:
        yield f"{hidden:,} finished runs are not listed; to list them: --all"


def counts_in_words(states: Sequence[RunState], sweeps: Sequence[SweepState]) -> str:
    """The number of runs of each kind."""
    counts = Counter(state.kind for state in states)
    waiting = sum(sweep.waiting for sweep in sweeps)
    parts = [f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind]]
    parts += [f"{waiting:,} {'waiting' if any(s.holder.alive for s in sweeps) else 'not begun'}"] if waiting else []
    total = len(states) + waiting
    return f"{total:,} {'run' if total == 1 else 'runs'}: {', '.join(parts)}"


def measuring_in_words(one: Measuring) -> str:
    """A description of a measurement: what, where, and its progress."""
    epoch = "" if one.epochs is None else f", epoch {one.epochs[0]:.4g} of {one.epochs[1]}"
    if one.trials is None:
        return f"final training of the winner{epoch}" if epoch else "final evaluation of the winner"
    names = ("trial " if len(one.trials) == 1 else "trials ") + ", ".join(map(str, one.trials))
    if not one.worker:
        return f"{names}: {duration(one.seconds)} since it was proposed{epoch}"
    return f"{one.worker}: {names if one.trials else 'no trial'} for {duration(one.seconds)}{epoch}"


def moment(seconds: float | None) -> str:
    """A moment in local time, with the date unless it is within the last day."""
    if seconds is None:
        return "an unknown moment"
    near = abs(now() - seconds) < DAY
    return time.strftime("%H:%M:%S" if near else "%Y-%m-%d %H:%M", time.localtime(seconds))


def as_json(states: Sequence[RunState], sweeps: Sequence[SweepState]) -> dict[str, Any]:
    """Everything for other programs: times in seconds since 1970."""
    return {"runs": [_plain(state) for state in states], "sweeps": [_plain(sweep) for sweep in sweeps]}


def progress_in_words(state: RunState) -> str:
    """The progress of a run."""
    if state.phase == "final":
        return "final evaluation of the winner"
    return f"{state.told:,} of {counted(state.trials, 'trial')}" if state.trials else counted(state.told, "trial")


def _headline(state: RunState) -> str:
    since = f"since {moment(state.since)}"
    reason = f" ({one_line(state.reason)})" if state.reason else ""
    if state.kind == "damaged":
        return f"damaged: {one_line(state.reason)}"
    if state.kind != "running":
        return f"{state.kind} {since}{reason}, {progress_in_words(state)} in {duration(state.seconds)}"
    if state.reason:  # its journal cannot be read
        return f"running {since}{reason}"
    left = f", about {duration(state.left)} to go" if state.left is not None else ""
    return f"running {since}, {progress_in_words(state)}{left}"


def _found(state: RunState) -> Iterator[str]:
    if state.best is not None:
        yield f"best {state.metric} {number(state.best[1])} (trial {state.best[0]})"
    if state.failed:
        yield f"{state.failed:,} failed"


_ROW = ("state", "trials", "best", "since", "left", "run")


def _row(state: RunState) -> Sequence[str]:
    trials = "the winner" if state.phase == "final" else f"{state.told:,}/{state.trials:,}"
    best = number(state.best[1]) if state.best else "-"
    left = duration(state.left) if state.left is not None else "-"
    return state.kind, trials, best, moment(state.since) if state.since else "-", left, nearby(state.directory)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join((*cells, one_line(row[-1])))


def _plain(state: RunState | SweepState) -> Mapping[str, Any]:
    content = {**asdict(state), "directory": str(state.directory)}
    content["holder"].pop("says")
    content.pop("curve", None)
    plain: Mapping[str, Any] = finite(content)
    return plain
