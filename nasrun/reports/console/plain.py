"""The output of a run: a live view on a terminal, plain lines elsewhere, and a closing block in both.

Nothing here may change a run or slow it down.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from nasrun.core import Objective, Progress, SearchSpace
from nasrun.core.words import counted
from nasrun.reports.console.printer import Printer
from nasrun.reports.summary import count, duration, nearby, number
from nasrun.reports.tables import one_line
from nasrun.storage.records import Observer, TrialRecord

Mode = Literal["auto", "live", "plain", "none"]

LINE_SECONDS = 0.5
QUIET_SECONDS = 15.0
"""Seconds without output after which a running training gets a line."""
SHOWN = ("val_accuracy", "val_loss", "train_loss")
WIDTH = 140
"""Width of a plain line if the output has none."""


def make_console(mode: Mode, space: SearchSpace, objective: Objective) -> Observer:
    """The observer that shows a run on stdout.

    `mode`: live (a view that is redrawn), plain (a line per trial, at most about two a second), none (nothing), or
    auto: live if stdout is a terminal that can move its cursor, else plain. ValueError for any other mode.
    """
    if mode == "auto":
        able = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        mode = "live" if able else "plain"
    if mode == "none" or sys.stdout is None:
        return Observer()
    if mode == "plain":
        return _Plain(space, objective)
    if mode == "live":
        from nasrun.reports.console.live import Live

        return Live(space, objective)
    raise ValueError(f"console={mode!r}: expected auto, live, plain or none")


class _Plain(Printer):
    """Prints one line per trial, fewer if trials are fast; a new best and a failure that were skipped come with the
    next line. If trials are slow, a line now and then shows their progress."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        super().__init__(space, objective)
        self._done = self._failures = 0
        self._due = 0.0
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        self._best: TrialRecord | None = None
        self._waiting: dict[str, tuple[int, TrialRecord]] = {}

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        super().on_start(trials, records, directory)
        self._done = len(records)
        self._failures = sum(record.status != "ok" for record in records.values())
        going_on = f", {self._done:,} done before" if records else ""
        self._print(f"run {nearby(directory)}: {counted(trials, 'trial')}{going_on}")

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._done += 1
        self._best = best
        self._waiting["last"] = (self._done, record)
        if record is best or (best is not None and record.trial.number == best.trial.number):
            self._waiting["best"] = (self._done, record)
        elif record.status != "ok":
            self._failures += 1
            self._waiting["failure"] = (self._done, record)
        now = time.monotonic()
        if now >= self._due:
            self._due = now + LINE_SECONDS * self._catch_up()

    def on_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_SECONDS
        name = f"trial {progress.trial}" if progress.trial >= 0 else "final training"
        name += f" repeat {progress.repeat + 1}" if progress.repeat else ""
        within = f" and {100 * progress.within:.0f} % of the next" if progress.within else ""
        metrics = [f"{metric} {number(value)}" for metric, value in progress.metrics.items() if metric in SHOWN]
        self._print("  ".join([f"{name}: {progress.epoch} of {counted(progress.epochs, 'epoch')}{within}", *metrics]))

    def on_final_training(self, best: TrialRecord, step: str) -> None:
        self._catch_up()
        self._print(f"{step}: trial {best.trial.number}, {self._objective_of(best)}")

    def close(self) -> None:
        self._catch_up()

    def _print(self, *lines: str) -> None:
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        super()._print(*lines)

    def _catch_up(self) -> int:
        """Print the waiting lines, each trial once and in order; returns the number of lines."""
        lines = dict(sorted(self._waiting.values(), key=lambda item: item[0]))
        self._waiting.clear()
        if lines:
            self._print(*(self._line(done, record) for done, record in lines.items()))
        return len(lines)

    def _line(self, done: int, record: TrialRecord) -> str:
        proposal = record.trial.proposal
        parts = [f"[{done:>{len(str(self._trials))}}/{self._trials}] trial {record.trial.number}"]
        if record.status != "ok":
            parts += [
                f"{record.status}: {one_line(record.error) or 'no reason given'}",
                f"({self._failures} failed so far)",
            ]
            return "  ".join(parts)
        parts += [self._objective_of(record), f"{count(record.mean('parameters'))} parameters", proposal.origin]
        parts.append(f"reuses trial {proposal.reuse_of}" if proposal.reuse_of is not None else _seconds(record.seconds))
        if self._best is not None and self._best.trial.number == record.trial.number:
            parts.append("new best")
        elif self._best is not None:
            parts.append(f"best {number(self._best.mean(self._objective.metric))} (trial {self._best.trial.number})")
        room = shutil.get_terminal_size((WIDTH, 24)).columns - len("  ".join(parts)) - 2
        return "  ".join([*parts, self._genome(record, room)] if room >= 12 else parts)


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else duration(seconds)
