"""Those who watch a run beside the console: several at once, and the tables, which are rewritten meanwhile."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasrun.config.build import Setup
from nasrun.core import Progress, Trial
from nasrun.reports.tables import write_tables
from nasrun.storage.records import Observer, TrialRecord

REFRESH_SECONDS = 5.0


class Observers(Observer):
    """Passes what the search tells on to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        for observer in self._observers:
            observer.on_start(trials, records, directory)

    def message(self, text: str) -> None:
        for observer in self._observers:
            observer.message(text)

    def on_trial_start(self, trial: Trial) -> None:
        for observer in self._observers:
            observer.on_trial_start(trial)

    def on_progress(self, progress: Progress) -> None:
        for observer in self._observers:
            observer.on_progress(progress)

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        for observer in self._observers:
            observer.on_trial_complete(record, best)

    def on_final_training(self, best: TrialRecord) -> None:
        for observer in self._observers:
            observer.on_final_training(best)

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer.on_finish(summary)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()


class TableRefresh(Observer):
    """Rewrites the tables while the search goes on: at most every five seconds, and for at most 2 % of the time."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self._setup, self._directory = setup, directory
        self._due = time.monotonic() + REFRESH_SECONDS
        self._records: Mapping[int, TrialRecord] = {}

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._records = records

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        write_tables(self._directory, self._records, self._setup.space, self._setup.objective, self._setup.options.seed)
        self._due = time.monotonic() + max(REFRESH_SECONDS, 50 * (time.monotonic() - now))
