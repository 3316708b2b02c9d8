"""The results of a run so far, one record per trial, read from the journal."""

import contextlib
import itertools
import json
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from nasrun.core import Measurement, Objective, Progress, Status, Trial
from nasrun.core.averages import exact_mean
from nasrun.core.collection import no_collection
from nasrun.storage import journal
from nasrun.storage.event_base import Event
from nasrun.storage.events import (
    Asked,
    BaselinePlanned,
    BaselineTested,
    Ended,
    FinalTested,
    Measured,
    Resumed,
    RunStarted,
    SegmentBegun,
    SharedTrained,
    Told,
    each_event_of,
    event_of,
)
from nasrun.storage.journal import Journal, Line

CONFIG = Path(".hydra") / "config.yaml"
OF_TRIALS = (Asked, Measured, Told)
"""Events that occur for every trial."""
BEGINNINGS = (RunStarted, Resumed)
"""Events for which the time since the previous event does not count."""


@dataclass(slots=True)
class TrialRecord:
    """A trial with its measurements, one per repeat, sorted by repeat once it is told."""

    trial: Trial
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """`ok` if any repeat succeeded, else the status of the first."""
        for measurement in self.measurements:
            if measurement.status == "ok":
                return "ok"
        return self.measurements[0].status if self.measurements else "failed"

    @property
    def error(self) -> str | None:
        """The reason of the first repeat that did not succeed."""
        return next((m.error for m in self.measurements if m.error), None)

    @property
    def repeats(self) -> int:
        """The measurements of successful repeats."""
        return sum(m.status == "ok" for m in self.measurements)

    @property
    def seconds(self) -> float:
        """Time spent on all repeats; zero if the result was copied from an earlier trial."""
        return sum(m.seconds for m in self.measurements)

    def values(self, metric: str) -> list[float]:
        """The values of a metric in all repeats that report it."""
        return [m.metrics[metric] for m in self.measurements if m.status == "ok" and metric in m.metrics]

    def mean(self, metric: str) -> float | None:
        """Mean over the repeats, None if none reports the metric."""
        values = self.values(metric)
        return exact_mean(values) if values else None

    def means(self, metrics: Sequence[str]) -> list[float | None]:
        """The means of several metrics."""
        if len(self.measurements) == 1 and self.measurements[0].status == "ok":  # the most frequent case
            found = self.measurements[0].metrics
            return [float(found[metric]) if metric in found else None for metric in metrics]
        return [self.mean(metric) for metric in metrics]

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the repeats; None for fewer than two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def reused(trial: Trial, original: TrialRecord) -> TrialRecord:
    """The record of a trial that copies the result of an earlier one: same metrics, no time spent."""
    return TrialRecord(
        trial, [Measurement(trial.number, m.repeat, m.status, m.metrics, m.error) for m in original.measurements]
    )


def best_of(records: Mapping[int, TrialRecord], objective: Objective) -> TrialRecord | None:
    """The first trial with the best mean objective; None if no trial succeeded."""
    ranked = [r for r in records.values() if r.status == "ok"]
    return max(ranked, key=lambda r: (objective.score(r.measurements), -r.trial.number), default=None)


class Salvage(NamedTuple):
    """A damaged journal: the line, the number of trials told before it, and the location of the damaged copy."""

    line: int
    told: int
    file: str


@dataclass
class RunRecords:
    """The state of a run, reduced from its events (`take`); the only reducer of journals.

    `trials`: told trials, in the order of the tells; `told_at`: for each the seconds since the start, without pauses
    between a stop and a resume. `asked`: all proposed trials. `final`, `end`: the last event of each type; there is no
    `end` while the run continues. `baseline_plan`, `baseline`: of a known network at the same cost as the winner of
    `final`. `changes`: config keys changed by resumes, in order. `spent`: seconds spent of a time budget. `resumes`:
    each with the number of trials told so far. `events`: all events if they will be replayed (`assemble`); else empty.
    """

    directory: Path
    header: RunStarted
    events: list[Event] = field(default_factory=list)
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    told_at: list[float] = field(default_factory=list)
    asked: dict[int, TrialRecord] = field(default_factory=dict)
    final: FinalTested | None = None
    baseline_plan: BaselinePlanned | None = None
    baseline: BaselineTested | None = None
    end: Ended | None = None
    changes: list[tuple[str, Any]] = field(default_factory=list)
    resumes: list[tuple[int, Resumed]] = field(default_factory=list)
    shared: list[SharedTrained] = field(default_factory=list)
    segments: list[SegmentBegun] = field(default_factory=list)
    salvages: list[Salvage] = field(default_factory=list)
    spent: float = 0.0
    _gone: float = 0.0
    _started: float | None = None
    _last: float = 0.0

    @property
    def wall_seconds(self) -> float:
        """Duration of the run in seconds, without pauses between a stop and a resume."""
        return self._gone + self._last - (self._last if self._started is None else self._started)

    @property
    def last_time(self) -> float | None:
        """Time of the last event in seconds since 1970; None if not recorded."""
        return None if self._started is None else self._last

    @property
    def final_metrics(self) -> dict[str, float]:
        """The metrics of the winner after its final training; empty before it."""
        return {} if self.final is None else dict(self.final.metrics)

    def take(self, event: Event) -> None:
        """Process the next event."""
        self._take_time(event)
        if event.spent:
            self.spent = max(self.spent, event.spent)
        if isinstance(event, Asked):
            asked = self.asked
            for proposal in event.proposals:
                number = len(asked)
                asked[number] = TrialRecord(Trial(number, proposal), [])
        elif isinstance(event, Measured):
            self.asked[event.measurement.trial].measurements.append(event.measurement)
        elif isinstance(event, Told):
            self.trials[event.trial] = resolve_trial(self.asked, event.trial)
            self.told_at.append(self.wall_seconds)
        else:
            self._take_rare(event)

    def _take_rare(self, event: Event) -> None:
        """Process an event that does not occur for every trial. Apart, since there may be millions of the others."""
        match event:
            case SharedTrained():
                self.shared.append(event)
            case SegmentBegun():
                self.segments.append(event)
            case FinalTested():
                self.final, self.baseline_plan, self.baseline = event, None, None
            case BaselinePlanned():
                self.baseline_plan = event
            case BaselineTested():
                self.baseline = event
            case Ended():
                self.end = event
            case Resumed():
                self.end = None
                self.resumes.append((len(self.trials), event))
                self.changes += event.changes.items()
                if event.damaged is not None:
                    self.salvages.append(Salvage(event.damaged["line"], len(self.told_at), event.damaged["file"]))

    def _take_time(self, event: Event) -> None:
        """Add elapsed time; a clock that was set back does not reduce it."""
        moment = event.time
        if moment is None:
            return
        if self._started is None or isinstance(event, BEGINNINGS):
            self._gone = self.wall_seconds
            self._started = self._last = moment
        elif moment > self._last:
            self._last = moment


def outcome(run: RunRecords, objective: Objective) -> TrialRecord | None:
    """The winner of a run: the trial selected by its strategy at the end, else the best by the objective."""
    if run.final is not None and run.final.chosen:
        return run.trials.get(run.final.trial) if run.final.trial is not None else None
    return best_of(run.trials, objective)


class RunLog(Journal):
    """The journal of a continuing run. `run`: the state after all events, including appended ones."""

    def __init__(self, path: Path, run: RunRecords) -> None:
        super().__init__(path)
        self.run = run

    def append(self, *events: Event, fsync: bool = False) -> None:
        super().append(*events, fsync=fsync)
        for event in events:
            # Only trial events are numerous. The others are read back, so that number types are as in the file.
            of_trial = isinstance(event, OF_TRIALS)
            self.run.take(event if of_trial else event_of(journal.reread(event.to_json())))


def read_run(directory: Path) -> RunRecords:
    """Read the journal of a finished, stopped or running run.

    Raises FileNotFoundError if the directory has no run, JournalError if the journal is damaged.
    """
    lines = journal.lines_of(directory / journal.NAME)
    first = next(lines, None)
    if first is None:
        raise FileNotFoundError(f"{directory} has no run")
    return assemble(directory, itertools.chain([first], lines))


def assemble(directory: Path, lines: Iterable[Line], *, keep_events: bool = False) -> RunRecords:
    """Reduce the lines of a journal; JournalError if they are inconsistent. `keep_events`: keep them for a replay."""
    path = directory / journal.NAME
    events = each_event_of(lines, path)
    header = next(events, None)
    if not isinstance(header, RunStarted):
        raise journal.JournalError(f"{path}: does not start with the header of a run")
    run = RunRecords(directory, header)
    with no_collection():
        for event in itertools.chain([header], events):
            try:
                run.take(event)
            except journal.INVALID as error:
                raise journal.makes_no_sense(path, error) from error
            if keep_events:
                run.events.append(event)
    return run


def resolve_trial(asked: Mapping[int, TrialRecord], number: int) -> TrialRecord:
    """The record of a complete trial: repeats in order, or the result of the trial that it reuses."""
    record = asked[number]
    original = record.trial.proposal.reuse_of
    if original is not None:
        return reused(record.trial, resolve_trial(asked, original))
    if len(record.measurements) > 1:
        record.measurements.sort(key=lambda m: m.repeat)
    return record


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `replaced`."""
    with replaced(path) as file:
        file.write(text)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[TextIO]:
    """A text file that replaces another one when it is complete: a temporary file next to it, then a rename. Its folder
    must exist.

    OSError (disk full, folder missing) passes through and leaves the file unchanged.
    """
    # `nasrun report` may write tables while the run itself writes them.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Observer:
    """An observer of a run, such as the console or a tracker. It must not affect the run. By default it does
    nothing."""

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        """The search starts or continues, with the total number of `trials` and the records of earlier ones."""

    def message(self, text: str) -> None:
        """A one-line message for the user (a decision, a reason to stop)."""

    def on_trial_start(self, trial: Trial) -> None:
        """A trial was proposed and queued."""

    def on_progress(self, progress: Progress) -> None:
        """A job in training finished an epoch (trial -1: the final training of the winner)."""

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        """A trial is complete; `best` is the best so far, this one included."""

    def on_final_training(self, best: TrialRecord, step: str) -> None:
        """The search has ended, and what is done with the winner starts: `step`, in words (`Evaluator.final_step`)."""

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        """The run has ended and its files are written; `summary` is the content of `summary.json`."""

    def close(self) -> None:
        """Release the terminal; called at every end, including interruptions."""
