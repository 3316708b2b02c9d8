"""Observers besides the console: several at once, and those that rewrite tables and page during the run."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nasrun.config.build import Setup
from nasrun.core import Progress, Trial
from nasrun.core.options import first_line
from nasrun.reports.page import PAGE
from nasrun.reports.tables import write_tables
from nasrun.reports.unfinished import Unfinished
from nasrun.storage.records import Observer, RunRecords, TrialRecord

REFRESH_SECONDS = 5.0
SHARE = 0.02
"""Maximum share of a run's time for tables and pages that are written during it."""
TRIAL_SECONDS = 3e-5
"""Assumed additional seconds per trial, for trials that are added before the next writing."""
FIRST_PAGE = 1.2
"""Assumed seconds of the first page, including the import of the plotting library."""


class Observers(Observer):
    """Passes each event of the search to several observers."""

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

    def on_final_training(self, best: TrialRecord, step: str) -> None:
        for observer in self._observers:
            observer.on_final_training(best, step)

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer.on_finish(summary)

    def close(self) -> None:
        for observer in self._observers:
            observer.close()


class _Turns:
    """Decides when to rewrite something during the search: at most once per interval of seconds, and for at most
    `SHARE` of the time, judged by the duration of the last time. `first`: assumed duration of the first time."""

    def __init__(self, seconds: float, first: float = 0.0) -> None:
        self._seconds, self._first, self._took = seconds, first, 0.0
        self._ended = time.monotonic()

    def wait(self, trials: int) -> float:
        """Seconds from the last time to the next, with a number of trials."""
        return max(self._seconds, ((self._took or self._first) + TRIAL_SECONDS * trials) / SHARE)

    def take(self, action: Callable[[], None], trials: int) -> None:
        """Run the action if it is due."""
        began = time.monotonic()
        if began - self._ended >= self.wait(trials):
            action()
            self._ended = time.monotonic()
            self._took = self._ended - began


class PageRefresh(Observer):
    """Rewrites `report.html` during the search, at most once every `seconds`, and when the search is stopped.

    It is written between two trials, and takes at most `SHARE` of the time; the first is written after a minute. If it
    cannot be drawn, the user is told once (`say`), and the run continues without it. OSError passes through.
    """

    def __init__(self, setup: Setup, run: RunRecords, seconds: float, say: Callable[[str], None]) -> None:
        self._setup, self._run, self._say = setup, run, say
        self._turns = _Turns(seconds, FIRST_PAGE)
        self._trials = 0
        self._written = self._failed = False

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._trials = trials

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        if not self._failed:
            self._turns.take(self._write, len(self._run.trials))

    def on_finish(self, summary: Mapping[str, Any]) -> None:
        self._written = False  # the page of the whole run is written

    def close(self) -> None:
        """Rewrite a page that says that the run is not finished."""
        if self._written and not self._failed:
            with contextlib.suppress(OSError):
                self._write(going_on=False)

    def _write(self, going_on: bool = True) -> None:
        from nasrun.reports.pictures import write_unfinished_page

        setup, every = self._setup, self._turns.wait(len(self._run.trials)) if going_on else None
        try:
            write_unfinished_page(self._run, setup.space, setup.objective, Unfinished(self._trials, every))
        except OSError:
            raise
        except Exception as error:
            self._failed = True
            self._say(f"{PAGE} cannot be drawn during the run ({type(error).__name__}: {first_line(error)})")
        else:
            self._written = True


class TableRefresh(Observer):
    """Rewrites the tables during the search: at most every five seconds, and for at most `SHARE` of the time."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self._setup, self._directory = setup, directory
        self._turns = _Turns(REFRESH_SECONDS)
        self._records: Mapping[int, TrialRecord] = {}

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._records = records

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._turns.take(self._write, len(self._records))

    def _write(self) -> None:
        setup = self._setup
        write_tables(self._directory, self._records, setup.space, setup.objective, setup.options.seed)
