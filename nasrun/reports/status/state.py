"""The state of runs and sweeps: running, done, failed, stopped or waiting, since when, and the time left."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from nasrun.core import Objective
from nasrun.core.collection import no_collection
from nasrun.core.options import ConfigError, first_line
from nasrun.reports.compare.runs import find_runs
from nasrun.reports.summary import SUMMARY
from nasrun.storage import journal
from nasrun.storage.event_base import Event
from nasrun.storage.events import RunStarted, Told, each_event_of
from nasrun.storage.journal import JournalError, Reader, now
from nasrun.storage.lock import NAME, Holder, holder_of
from nasrun.storage.records import RunRecords, TrialRecord

Kind = Literal["running", "stopped", "failed", "damaged", "done"]
KINDS: Sequence[Kind] = ("running", "stopped", "failed", "damaged", "done")
"""The states in display order. stopped: interrupted or killed, and can be resumed. failed: gave up."""
RECENT = 50
"""Number of recent trials that a run's speed is computed from."""
SWEEP_LOCK = ".sweep.lock"
MOST_POINTS = 200
"""Maximum number of points of a curve."""


@dataclass(frozen=True)
class Measuring:
    """The trials of a worker, or one of the run itself (`worker` empty); empty if a worker is idle, and None for the
    winner in its final training. `seconds`: since they began, or since the trial was proposed. `epochs`: done, and in
    all."""

    trials: Sequence[int] | None
    seconds: float
    worker: str = ""
    epochs: tuple[float, int] | None = None


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    `since`: start of this state in seconds since 1970; `told`, `trials`: number of completed trials and of all; `left`:
    estimated seconds left for the search, if known. `best`: the number of a trial with its value of `metric`.
    `in_flight`: trials that were proposed and are not complete; `measuring`: the workers' trials, as reported within
    the last second or two. `choices`: what distinguishes it from other runs. `curve`: (trial, best so far).
    """

    directory: Path
    kind: Kind
    reason: str = ""
    phase: str = "search"
    since: float | None = None
    told: int = 0
    trials: int = 0
    failed: int = 0
    left: float | None = None
    seconds: float = 0.0
    metric: str = ""
    best: tuple[int, float] | None = None
    measuring: Sequence[Measuring] = ()
    in_flight: int = 0
    holder: Holder = field(default_factory=lambda: Holder(alive=False))
    choices: Sequence[str] = ()
    curve: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True)
class SweepState:
    """The state of a sweep: its folder, its total number of runs (None: not known), those that have not begun, and who
    runs it."""

    directory: Path
    runs: int | None
    waiting: int
    holder: Holder


class Follower:
    """Reads a run repeatedly, each time only the new part of its journal."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._reader = Reader(directory / journal.NAME)
        self._records: RunRecords | None = None
        self._asked_at: dict[int, float] = {}
        self._objective: Objective | None = None
        self._best: list[tuple[int, float]] = []
        self._counted = self._failed = 0

    def look(self) -> RunState:
        """The current state of the run."""
        holder = holder_of(self.directory / NAME)
        try:
            self._read()
        except (JournalError, OSError) as error:
            text = first_line(error).removeprefix(f"{self.directory / journal.NAME}: ")
            return RunState(self.directory, "running" if holder.alive else "damaged", text, holder=holder)
        run = self._records
        if run is None:
            return RunState(self.directory, "damaged", "its journal is empty", holder=holder)
        self._count(run, holder)
        return self._state(run, holder)

    def _read(self) -> None:
        lines, anew = self._reader.read()
        if anew:
            self._records, self._asked_at, self._best = None, {}, []
            self._counted = self._failed = 0
        path = self.directory / journal.NAME
        with no_collection():
            for event in each_event_of(lines, path):
                try:
                    self._take(event)
                except journal.INVALID as error:
                    raise journal.makes_no_sense(path, error) from error

    def _take(self, event: Event) -> None:
        if self._records is None:
            if not isinstance(event, RunStarted):
                raise JournalError(f"{self.directory / journal.NAME}: does not begin with the start of a run")
            self._records = RunRecords(self.directory, event)
        before = len(self._records.asked)
        self._records.take(event)
        for number in range(before, len(self._records.asked)):
            self._asked_at[number] = event.time or 0.0
        if isinstance(event, Told):
            self._asked_at.pop(event.trial, None)

    def _count(self, run: RunRecords, holder: Holder) -> None:
        """Count the trials that were completed since the last time."""
        if self._objective is None:
            self._objective = _objective(self.directory, holder)
        if self._objective is None and holder.alive:  # the runner reports it within a second
            return
        for record in islice(run.trials.values(), self._counted, None):
            self._failed += record.status == "failed"
            value = _value(record, self._objective)
            if value is not None and (not self._best or _better(value, self._best[-1][1], self._objective)):
                self._best.append((record.trial.number, value))
        self._counted = len(run.trials)

    def _state(self, run: RunRecords, holder: Holder) -> RunState:
        says = holder.says or {}
        kind: Kind = "running" if holder.alive else "stopped"
        reason = ""
        if run.end is not None and not holder.alive:
            kind, reason = ("done" if run.end.complete else "failed"), run.end.reason or ""
        trials = _trials(run, says if holder.alive else {})
        phase = str(says.get("phase", "search")) if kind == "running" else "search"
        end = now() if kind == "running" else None
        since = holder.began if kind == "running" else (run.end.time if run.end else _last(run, holder))
        return RunState(
            self.directory,
            kind,
            reason,
            phase=phase,
            since=since,
            told=len(run.trials),
            trials=max(trials, len(run.asked)),
            failed=self._failed,
            left=_left(run.told_at, trials - len(run.trials)) if kind == "running" and phase == "search" else None,
            seconds=run.wall_seconds,
            metric="" if self._objective is None else self._objective.metric,
            best=self._best[-1] if self._best else None,
            measuring=[] if end is None else list(_measuring(self._asked_at, says, end)),
            in_flight=len(self._asked_at) if kind == "running" else 0,
            holder=holder,
            choices=_choices(run.header),
            curve=_thin(self._best),
        )


def runs_below(folders: Sequence[Path]) -> list[Path]:
    """The run directories among and below some folders; ConfigError if there are none."""
    found: dict[Path, None] = {}
    for folder in folders:
        try:
            found |= dict.fromkeys(find_runs([folder]))
        except ConfigError:
            if not (folder / SWEEP_LOCK).is_file():  # a sweep without a run so far
                raise
    return list(found)


def sweep_of(folder: Path, runs: int) -> SweepState | None:
    """The state of the sweep in a folder that holds a number of runs; None if there is none."""
    path = folder / SWEEP_LOCK
    if not path.is_file():
        return None
    holder = holder_of(path)
    says = holder.says or {}
    count, begun = says.get("runs"), says.get("begun")
    if not isinstance(count, int):
        return SweepState(folder, None, 0, holder)
    return SweepState(folder, count, max(0, count - (begun if isinstance(begun, int) else runs)), holder)


def _objective(directory: Path, holder: Holder) -> Objective | None:
    """The runner's objective, else that in the summary of a finished run."""
    said: Any = (holder.says or {}).get("objective")
    if not isinstance(said, dict):
        try:
            said = json.loads((directory / SUMMARY).read_text())["objective"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
    try:
        return Objective(str(said["metric"]), "min" if said["mode"] == "min" else "max")
    except (KeyError, TypeError):
        return None


def _value(record: TrialRecord, objective: Objective | None) -> float | None:
    return None if objective is None or record.status != "ok" else record.mean(objective.metric)


def _better(value: float, best: float, objective: Objective | None) -> bool:
    return value < best if objective is not None and objective.mode == "min" else value > best


def _trials(run: RunRecords, says: Mapping[str, Any]) -> int:
    """Total number of trials: as the runner reports, else by the journal."""
    if isinstance(says.get("trials"), int) and says["trials"] > 0:
        return int(says["trials"])
    changed = [value for key, value in run.changes if key == "trials" and isinstance(value, int)]
    if run.end is not None and run.end.complete:
        return len(run.trials)
    return changed[-1] if changed else run.header.trials


def _last(run: RunRecords, holder: Holder) -> float | None:
    """The last sign of life of a run that was stopped."""
    written = run.last_time
    return max((moment for moment in (written, holder.seen) if moment is not None), default=None)


def _left(told_at: Sequence[float], missing: int) -> float | None:
    recent = told_at[-RECENT:]
    if len(recent) < 2 or missing < 0:
        return None
    return (recent[-1] - recent[0]) / (len(recent) - 1) * missing


def _workers(says: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = says.get("workers")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _measuring(asked_at: Mapping[int, float], says: Mapping[str, Any], moment: float) -> Iterator[Measuring]:
    """The trials being measured, and where."""
    epochs: Mapping[str, Any] = says["epochs"] if isinstance(says.get("epochs"), dict) else {}

    def done(trial: int) -> tuple[float, int] | None:
        found = epochs.get(str(trial))
        return (float(found[0]), int(found[1])) if isinstance(found, list) and len(found) == 2 else None

    if says.get("phase") == "final":
        yield Measuring(None, 0.0, epochs=done(-1))
        return
    for one in _workers(says):
        trials = [trial for trial in one.get("trials") or () if isinstance(trial, int)]
        reached = [epoch for epoch in map(done, trials) if epoch is not None]
        seconds = one.get("seconds")
        spent = float(seconds) if isinstance(seconds, int | float) else 0.0
        yield Measuring(trials, spent, str(one.get("name", "")), reached[0] if reached else None)
    if not _workers(says):
        for trial, asked in asked_at.items():
            yield Measuring([trial], max(0.0, moment - asked), epochs=done(trial))


def _choices(header: RunStarted) -> list[str]:
    """The main properties of a run: its strategy, data and seed."""
    named = [f"{group}={header.choices[group]}" for group in ("strategy", "dataset") if header.choices.get(group)]
    return [*named, f"seed={header.seed}"]


def _thin(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    step = -(-len(points) // MOST_POINTS)
    return points if step <= 1 else [*points[::step], points[-1]]
