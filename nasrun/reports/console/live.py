"""The live view of a run on a terminal. Events are only stored; a separate thread draws the view."""

import contextlib
import heapq
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nasrun.core import Objective, Progress, SearchSpace, Trial
from nasrun.reports.console.printer import Printer
from nasrun.reports.summary import count, duration, number, shorten
from nasrun.reports.tables import one_line
from nasrun.storage.records import TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive
    from rich.text import Text

DRAW_SECONDS = 0.25
CLOCK_SECONDS = 1.0
SHOWN = 5


class Live(Printer):
    """A view that a thread draws at most four times a second, from the stored events."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        super().__init__(space, objective)
        self._told: list[TrialRecord] = []
        self._asked: dict[int, Trial] = {}
        self._progress: dict[int, Progress] = {}
        self._final: str | None = None
        self._events = 0
        # State of the drawing thread: the number of records that it has read, and its findings.
        self._seen = self._before = 0
        self._counts: Counter[str] = Counter()
        self._top: list[TrialRecord] = []
        self._failure: TrialRecord | None = None
        self._console: Console | None = None
        self._live: RichLive | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = time.monotonic()

    def on_start(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        super().on_start(trials, records, directory)
        self._told = [records[key] for key in sorted(records)]
        self._before = len(self._told)
        self._began = time.monotonic()
        self._console = console = Console(force_terminal=True, highlight=False, markup=False, emoji=False)
        # Warnings that were sent to a file stay in that file.
        apart = sys.stderr is None or not sys.stderr.isatty()
        self._live = RichLive(
            get_renderable=self._draw,
            console=console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stderr=not apart,
        )
        with contextlib.suppress(OSError, ValueError):
            self._live.start(refresh=True)
        self._thread = threading.Thread(target=self._redraw, name="nasrun-console", daemon=True)
        self._thread.start()

    def on_trial_start(self, trial: Trial) -> None:
        self._asked[trial.number] = trial

    def on_progress(self, progress: Progress) -> None:
        before = self._progress.get(progress.trial)
        if progress.within and before is not None:  # keep the metrics of the last epoch
            progress = progress._replace(metrics=before.metrics)
        self._progress[progress.trial] = progress
        self._events += 1

    def on_trial_complete(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._told.append(record)
        self._asked.pop(record.trial.number, None)
        self._progress.pop(record.trial.number, None)

    def on_final_training(self, best: TrialRecord, step: str) -> None:
        self._asked, self._progress = {}, {}
        self._final = f"{step}: trial {best.trial.number}"
        self._events += 1

    def close(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        self._ending.set()
        if self._thread is not None:
            self._thread.join(2 * CLOCK_SECONDS)
        self._asked, self._progress = {}, {}
        # The last drawing, too, must not fail a finished run; a terminal that has gone cannot be restored.
        with contextlib.suppress(Exception):
            live.stop()

    def _redraw(self) -> None:
        drawn, shown = time.monotonic(), (0, 0)
        while not self._ending.wait(DRAW_SECONDS):
            now, state = time.monotonic(), (len(self._told), self._events)
            live = self._live
            if live is None:
                return
            if state != shown or now - drawn >= CLOCK_SECONDS:
                drawn, shown = now, state
                try:
                    live.refresh()
                except (OSError, ValueError):
                    return

    def _draw(self) -> "RenderableType":
        from rich.console import Group

        assert self._console is not None
        width, height = self._console.size
        self._take_in()
        head = [self._header(width), self._trials_bar(width)]
        jobs = self.jobs(width)
        rows = max(0, min(SHOWN, height - len(head) - len(jobs) - 5))
        lines = [*head, *jobs, *self._table(width, rows), self._tally(width)]
        if self._failure is not None:
            reason = one_line(self._failure.error) or self._failure.status
            lines.append(self._text(width, (f"last failure: trial {self._failure.trial.number}: {reason}", "red")))
        return Group(*lines)

    def _take_in(self) -> None:
        """Read the records that were added since the last drawing."""
        fresh = self._told[self._seen :]
        self._seen += len(fresh)
        for record in fresh:
            status = record.status
            self._counts[status] += 1
            if record.trial.proposal.reuse_of is not None:
                self._counts["reused"] += 1
            elif status != "ok":
                self._failure = record
        ranked = [r for r in fresh if r.status == "ok" and r.trial.proposal.reuse_of is None]
        score = self._objective.score
        self._top = heapq.nsmallest(
            SHOWN, [*self._top, *ranked], key=lambda r: (-score(r.measurements), r.trial.number)
        )

    def _header(self, width: int) -> "Text":
        elapsed = duration(time.monotonic() - self._began)
        name = shorten(self._directory.name or str(self._directory), max(8, width - len(elapsed) - 3))
        return self._text(width, (f"{name:<{max(0, width - len(elapsed) - 2)}} ", "bold"), (elapsed, "dim"))

    def _trials_bar(self, width: int) -> "Text":
        done = self._seen
        share = done / self._trials if self._trials else 0.0
        parts = [("trials  ", ""), *_bar(share, width), (f"  {done:,}/{self._trials:,}", "bold")]
        if self._top:
            value = number(self._top[0].mean(self._objective.metric))
            parts.append((f"  best {value}", "bold green"))
        fresh, left = done - self._before, self._trials - done
        if fresh and left > 0:
            parts.append((f"  ETA {duration((time.monotonic() - self._began) / fresh * left)}", "dim"))
        return self._text(width, *parts)

    def jobs(self, width: int) -> "list[Text]":
        """The running trials, those with progress first; a line each, four at most."""
        asked, progress = self._asked.copy(), self._progress.copy()
        lines = []
        for key, sign in list(progress.items())[:4]:
            trial = asked.get(key)
            name = f"trial {key}" if key >= 0 else "final training"
            name += f" ({trial.proposal.origin})" if trial is not None else ""
            name += f" repeat {sign.repeat + 1}" if sign.repeat else ""
            metrics = "  ".join(
                f"{metric} {number(value)}" for metric, value in sign.metrics.items() if metric != "seconds"
            )
            bar = _bar((sign.epoch + sign.within) / max(sign.epochs, 1), width // 2)
            done = f"  epoch {sign.epoch}/{sign.epochs}  "
            if sign.within:
                done = f"  epoch {sign.epoch + 1}/{sign.epochs} {100 * sign.within:.0f} %  "
            lines.append(self._text(width, (f"{name}  ", "cyan"), *bar, (done, ""), (metrics, "dim")))
        if not lines and self._final is not None and not self._ending.is_set():
            lines.append(self._text(width, (self._final, "cyan")))
        elif not lines and asked:
            first, trial = min(asked.items())
            lines.append(self._text(width, (f"trial {first} ({trial.proposal.origin})", "cyan")))
        return lines

    def _table(self, width: int, rows: int) -> "list[Text]":
        """The best trials: number, objective, parameters, origin and as much of the genome as fits."""
        if not self._top or rows < 1:
            return []
        metric, names = self._objective.metric, ("trial", self._objective.metric, "parameters", "origin")
        cells = [
            (str(r.trial.number), number(r.mean(metric)), count(r.mean("parameters")), r.trial.proposal.origin)
            for r in self._top[:rows]
        ]
        wide = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
        lines = [self._text(width)]
        for record, row in zip([None, *self._top[:rows]], [names, *cells], strict=True):
            start = "  ".join([f"{cell:>{size}}" for cell, size in zip(row[:3], wide[:3], strict=True)])
            start = f"{start}  {row[3]:<{wide[3]}}  "
            genome = "genome" if record is None else self._genome(record, max(8, width - len(start) - 1))
            lines.append(self._text(width, (start + genome, "dim" if record is None else "")))
        return lines

    def _text(self, width: int, *parts: tuple[str, str]) -> "Text":
        """One line of the view, cut at the width of the terminal."""
        from rich.text import Text

        line = Text(no_wrap=True, overflow="crop")
        for text, style in parts:
            line.append(self._encodable(text), style)
        line.truncate(width, overflow="crop")
        return line

    def _tally(self, width: int) -> "Text":
        styles = {"ok": "", "failed": "red", "infeasible": "yellow", "reused": "dim"}
        kept = [name for name in styles if self._counts[name] or name == "ok"]
        return self._text(width, *((f"{self._counts[name]:,} {name}  ", styles[name]) for name in kept))


def _bar(share: float, width: int) -> list[tuple[str, str]]:
    """A progress bar about a third of `width` long, in two styles."""
    length = max(6, min(40, width // 3))
    done = round(min(max(share, 0.0), 1.0) * length)
    return [("━" * done, "cyan"), ("─" * (length - done), "dim")]
