"""What a user sees of a run: a live view on a terminal, plain lines elsewhere, and a closing block in both.

Nothing here may change a run or slow it down: events are only stored, a thread of its own draws the live view from
them, and output that cannot be written any more (a closed pipe, a full disk) is given up in silence.
"""

import contextlib
import heapq
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nasrun.protocols import Objective, Progress, SearchSpace, Trial
from nasrun.records import Observer, TrialRecord
from nasrun.reports.summary import count, describe, duration, nearby, number, shorten
from nasrun.reports.tables import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

Mode = Literal["auto", "live", "plain", "none"]

LINE_SECONDS = 0.5
DRAW_SECONDS = 0.25
CLOCK_SECONDS = 1.0
SHOWN = 5
WIDTH = 140
"""Columns of a plain line where the output has none of its own."""

_ASCII = str.maketrans({"…": "~", "·": "|", "±": "~", "━": "#", "─": "-"})


def make_console(mode: Mode, space: SearchSpace, objective: Objective) -> Observer:
    """The observer that shows a run on stdout.

    `mode`: live (a view that is redrawn), plain (a line per trial, at most about two a second), none (nothing), or
    auto: live where stdout is a terminal that can move its cursor, else plain. ValueError for any other mode.
    """
    if mode == "auto":
        able = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        mode = "live" if able else "plain"
    if mode == "none" or sys.stdout is None:
        return Observer()
    if mode == "plain":
        return _Plain(space, objective)
    if mode == "live":
        return _Live(space, objective)
    raise ValueError(f"console={mode!r}: expected auto, live, plain or none")


class _Printer(Observer):
    """What both consoles share: printing that never fails, words for a trial, and the closing block."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        self._space, self._objective = space, objective
        self._trials = 0
        self._directory = Path()
        self._lost = False
        # Asked now: while a live view is up, sys.stdout is rich's stand-in, which does not tell.
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    def started(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        self._trials, self._directory = trials, directory

    def message(self, text: str) -> None:
        self._print(one_line(text))

    def finished(self, summary: Mapping[str, Any]) -> None:
        self.close()
        self._print("", *describe(summary, self._directory))

    def _print(self, *lines: str) -> None:
        if self._lost:
            return
        try:
            print("\n".join(self._encodable(line) for line in lines), flush=True)
        except (OSError, ValueError):
            self._lost = True
            # What is still buffered would fail again when the process ends, and change its exit code.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _encodable(self, text: str) -> str:
        """The text in characters that stdout can show; the signs used here have their ASCII counterparts."""
        if not self._encoding.lower().startswith("utf"):
            text = text.translate(_ASCII)
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _objective_of(self, record: TrialRecord) -> str:
        return f"{self._objective.metric} {number(record.mean(self._objective.metric))}"

    def _genome(self, record: TrialRecord, width: int) -> str:
        return shorten(self._space.format(record.trial.proposal.genome), width)


class _Plain(_Printer):
    """One line per trial, fewer where trials are fast; a new best and a failure that were passed over come with the
    next line."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        super().__init__(space, objective)
        self._done = self._failures = 0
        self._due = 0.0
        self._best: TrialRecord | None = None
        self._waiting: dict[str, tuple[int, TrialRecord]] = {}

    def started(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        super().started(trials, records, directory)
        self._done = len(records)
        self._failures = sum(record.status != "ok" for record in records.values())
        going_on = f", {self._done:,} done before" if records else ""
        self._print(f"run {nearby(directory)}: {trials:,} trials{going_on}")

    def told(self, record: TrialRecord, best: TrialRecord | None) -> None:
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

    def finishing(self, best: TrialRecord) -> None:
        self._catch_up()
        self._print(f"final training and test of trial {best.trial.number}: {self._objective_of(best)}")

    def close(self) -> None:
        self._catch_up()

    def _catch_up(self) -> int:
        """Print what waits, each trial once and in order; returns the number of lines."""
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


class _Live(_Printer):
    """A view that is drawn anew at most four times a second, by a thread, from what the events left behind."""

    def __init__(self, space: SearchSpace, objective: Objective) -> None:
        super().__init__(space, objective)
        self._told: list[TrialRecord] = []
        self._asked: dict[int, Trial] = {}
        self._progress: dict[int, Progress] = {}
        self._final: TrialRecord | None = None
        self._events = 0
        # Kept by the drawing thread: how many of the records it has looked at, and what it found.
        self._seen = self._before = 0
        self._counts: Counter[str] = Counter()
        self._top: list[TrialRecord] = []
        self._failure: TrialRecord | None = None
        self._console: Console | None = None
        self._live: Live | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = time.monotonic()

    def started(self, trials: int, records: Mapping[int, TrialRecord], directory: Path) -> None:
        from rich.console import Console
        from rich.live import Live

        super().started(trials, records, directory)
        self._told = [records[key] for key in sorted(records)]
        self._before = len(self._told)
        self._began = time.monotonic()
        self._console = console = Console(force_terminal=True, highlight=False, markup=False, emoji=False)
        # Warnings that were sent to a file stay in that file.
        apart = sys.stderr is None or not sys.stderr.isatty()
        self._live = Live(
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

    def asked(self, trial: Trial) -> None:
        self._asked[trial.number] = trial

    def progress(self, progress: Progress) -> None:
        self._progress[progress.trial] = progress
        self._events += 1

    def told(self, record: TrialRecord, best: TrialRecord | None) -> None:
        self._told.append(record)
        self._asked.pop(record.trial.number, None)
        self._progress.pop(record.trial.number, None)

    def finishing(self, best: TrialRecord) -> None:
        self._asked, self._progress = {}, {}
        self._final = best
        self._events += 1

    def close(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        self._ending.set()
        if self._thread is not None:
            self._thread.join(2 * CLOCK_SECONDS)
        self._asked, self._progress = {}, {}
        # The last drawing, too, must not fail a run that is over; a terminal that is gone cannot be given back.
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
        jobs = self._jobs(width)
        rows = max(0, min(SHOWN, height - len(head) - len(jobs) - 5))
        lines = [*head, *jobs, *self._table(width, rows), self._tally(width)]
        if self._failure is not None:
            reason = one_line(self._failure.error) or self._failure.status
            lines.append(self._text(width, (f"last failure: trial {self._failure.trial.number}: {reason}", "red")))
        return Group(*lines)

    def _take_in(self) -> None:
        """Look at the records that came since the last drawing."""
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

    def _jobs(self, width: int) -> "list[Text]":
        """The trials in training, those with a sign of life first; a line each, four at most."""
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
            bar = _bar(sign.epoch / max(sign.epochs, 1), width // 2)
            done = f"  epoch {sign.epoch}/{sign.epochs}  "
            lines.append(self._text(width, (f"{name}  ", "cyan"), *bar, (done, ""), (metrics, "dim")))
        if not lines and self._final is not None and not self._ending.is_set():
            lines.append(self._text(width, (f"final training and test of trial {self._final.trial.number}", "cyan")))
        elif not lines and asked:
            first, trial = min(asked.items())
            lines.append(self._text(width, (f"trial {first} ({trial.proposal.origin})", "cyan")))
        return lines

    def _table(self, width: int, rows: int) -> "list[Text]":
        """The best trials: number, objective, parameters, origin and what fits of the genome."""
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


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else duration(seconds)


def _bar(share: float, width: int) -> list[tuple[str, str]]:
    """A progress bar about a third of `width` long, in two styles."""
    length = max(6, min(40, width // 3))
    done = round(min(max(share, 0.0), 1.0) * length)
    return [("━" * done, "cyan"), ("─" * (length - done), "dim")]
