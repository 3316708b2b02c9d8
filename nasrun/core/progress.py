"""Progress of long operations on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 1.0
"""Shorter operations are not reported."""
LINE_SECONDS = 10.0
"""Interval between two lines if stderr is not a terminal."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call, from one thread, with the number of finished items out of `total`.

    Shows a bar if stderr is a terminal, else an occasional line; nothing if the work takes less than a second.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(what, total) as tell:
            yield tell
    else:
        yield _Lines(what, total)


class _Lines:
    """Prints an occasional progress line."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._began = time.monotonic()
        self._due = self._began + QUIET_SECONDS

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now < self._due or sys.stderr is None:
            return
        self._due = now + LINE_SECONDS
        left = (now - self._began) / max(done, 1) * (self._total - done)
        print(f"{self._what}: {done:,} of {self._total:,}, about {left:.0f} s left", file=sys.stderr, flush=True)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar, began = Progress(*columns, console=Console(stderr=True)), time.monotonic()
    task = bar.add_task(what, total=total)

    def tell(done: int) -> None:
        if not bar.live.is_started and time.monotonic() - began >= QUIET_SECONDS:
            bar.start()
        bar.update(task, completed=done)

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()
