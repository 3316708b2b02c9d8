"""The state of a running search, for readers of its lock: see `nasrun.reports.status`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasrun.core import Executor, Objective, Progress, Trial
from nasrun.storage.records import Observer, TrialRecord

MOST_SHOWN = 256
"""Maximum number of running trials whose epoch is reported."""


class Presence(Observer):
    """Follows a run, and describes its state on request, also from another thread."""

    def __init__(self, executor: Executor, objective: Objective) -> None:
        self._executor = executor
        self._objective = {"metric": objective.metric, "mode": objective.mode}
        self._phase = "search"
        self._trials = 0
        self._epochs: dict[int, tuple[float, int]] = {}

    def describe(self) -> dict[str, Any]:
        """The state of the run, as JSON. `phase`: search, or final (the winner's training). `trials`: total number.
        `epochs`: for each running trial (-1: the winner) the epochs done and in all. `workers`: as `WorkerState`."""
        epochs = list(self._epochs.items())[-MOST_SHOWN:]
        return {
            "objective": self._objective,
            "phase": self._phase,
            "trials": self._trials,
            "epochs": {str(trial): list(done) for trial, done in epochs},
            "workers": [state._asdict() for state in self._executor.at_work()],
        }

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._trials = trials

    def on_trial_start(self, trial: Trial) -> None:
        self._phase = "search"

    def on_progress(self, progress: Progress) -> None:
        self._epochs[progress.trial] = (progress.epoch + progress.within, progress.epochs)

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._epochs.pop(record.trial.number, None)

    def on_final_training(self, best: TrialRecord, step: str) -> None:
        self._phase = "final"
        self._epochs.clear()
