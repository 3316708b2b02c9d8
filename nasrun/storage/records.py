"""What a run has found so far, as reports and the loop see it: one record per trial, read from the journal."""

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrun.core import Measurement, Objective, Progress, Status, Trial
from nasrun.core.averages import exact_mean
from nasrun.storage import journal
from nasrun.storage.journal import Event

CONFIG = Path(".hydra") / "config.yaml"


@dataclass(slots=True)
class TrialRecord:
    """A trial with its measurements, one per repeat, in the order of the repeats once it is told."""

    trial: Trial
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """ok where any repeat succeeded, else the status of the first."""
        if any(m.status == "ok" for m in self.measurements):
            return "ok"
        return self.measurements[0].status if self.measurements else "failed"

    @property
    def error(self) -> str | None:
        """The first reason given by a repeat that did not succeed."""
        return next((m.error for m in self.measurements if m.error), None)

    @property
    def repeats(self) -> int:
        """Repeats that succeeded."""
        return sum(m.status == "ok" for m in self.measurements)

    @property
    def seconds(self) -> float:
        """Time spent on all repeats; zero where the result was taken over from an earlier trial."""
        return sum(m.seconds for m in self.measurements)

    def values(self, metric: str) -> list[float]:
        """The metric of each repeat that reports it."""
        return [m.metrics[metric] for m in self.measurements if m.status == "ok" and metric in m.metrics]

    def mean(self, metric: str) -> float | None:
        """Mean over the repeats, None where none reports the metric."""
        values = self.values(metric)
        return exact_mean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the repeats, None below two of them."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def reused(trial: Trial, original: TrialRecord) -> TrialRecord:
    """The record of a trial that takes over the result of an earlier one: same metrics, no time spent."""
    return TrialRecord(trial, [m._replace(trial=trial.number, seconds=0.0, history=()) for m in original.measurements])


def best_of(records: Mapping[int, TrialRecord], objective: Objective) -> TrialRecord | None:
    """The trial with the best mean objective; of equals, the first. None where no trial succeeded."""
    ranked = [r for r in records.values() if r.status == "ok"]
    return max(ranked, key=lambda r: (objective.score(r.measurements), -r.trial.number), default=None)


@dataclass
class RunRecords:
    """A run directory as the journal tells it: the trials that were told, and what came at the end."""

    directory: Path
    header: Event
    trials: dict[int, TrialRecord]
    final: Event | None
    end: Event | None
    wall_seconds: float


def outcome(run: RunRecords, objective: Objective) -> TrialRecord | None:
    """The network that a run came to: the one that its strategy chose at the end, else the best by the objective."""
    if run.final is not None and run.final.get("chosen"):
        return run.trials.get(run.final["trial"])
    return best_of(run.trials, objective)


def read_run(directory: Path) -> RunRecords:
    """Read a run directory's journal, whether the run is finished, stopped or still going.

    Raises FileNotFoundError where the directory holds no run, JournalError where the journal is damaged.
    """
    events = journal.read(directory / journal.NAME)
    if not events:
        raise FileNotFoundError(f"{directory} holds no run")
    return assemble(directory, events)


def assemble(directory: Path, events: list[Event]) -> RunRecords:
    """The records that a list of journal events amounts to; JournalError where they make no sense."""
    if not events or events[0]["event"] != "run":
        raise journal.JournalError(f"{directory / journal.NAME}: does not begin with the start of a run")
    with journal.reject_invalid_events(directory / journal.NAME):
        return _assemble(directory, events)


def _assemble(directory: Path, events: list[Event]) -> RunRecords:
    run = RunRecords(directory, events[0], {}, None, None, 0.0)
    asked: dict[int, TrialRecord] = {}
    started = last = float(events[0]["time"])
    for event in events:
        kind = event["event"]
        if kind == "ask":
            for fields in event["proposals"]:
                trial = Trial(len(asked), journal.proposal_from_json(fields))
                asked[trial.number] = TrialRecord(trial)
        elif kind == "measure":
            asked[event["trial"]].measurements.append(journal.measurement_from_json(event))
        elif kind == "tell":
            run.trials[event["trial"]] = resolve_trial(asked, event["trial"])
        elif kind == "final":
            run.final = event
        elif kind in ("run", "resume"):
            run.wall_seconds += last - started
            started = last = float(event["time"])
            run.end = None
        elif kind == "end":
            run.end = event
        last = max(last, float(event.get("time", last)))  # a clock that was set back takes no time away
    run.wall_seconds += last - started
    return run


def resolve_trial(asked: Mapping[int, TrialRecord], number: int) -> TrialRecord:
    """The record of a trial that is complete: repeats in order, or the result of the trial it reuses."""
    record = asked[number]
    original = record.trial.proposal.reuse_of
    if original is not None:
        return reused(record.trial, resolve_trial(asked, original))
    record.measurements.sort(key=lambda m: m.repeat)
    return record


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: a temporary file beside it, then a rename. Its folder is there already.

    OSError (disk full, folder gone) passes through, and leaves the file as it was.
    """
    # `report` may write the tables of a run that does so itself.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Observer:
    """Whoever watches a run: the console, or a tracker. Nothing that it does may change the run; here it is silent."""

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        """The search begins or goes on, with `trials` to be done in all and the records of those done before."""

    def message(self, text: str) -> None:
        """One line that the user should see (a choice made, a reason to stop)."""

    def on_trial_start(self, trial: Trial) -> None:
        """A trial was proposed and queued."""

    def on_progress(self, progress: Progress) -> None:
        """A job in training finished an epoch (trial -1: the final training of the winner)."""

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        """A trial is complete; `best` is the best so far, this one included."""

    def on_final_training(self, best: TrialRecord) -> None:
        """The search is over, and the winner's final training and test begin."""

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        """The run is over and its files are written; `summary` is what `summary.json` holds."""

    def close(self) -> None:
        """Give the terminal back; called at every end, an interrupted one too."""
