"""Runs of a sweep as jobs of a batch system, with Hydra's launchers based on submitit.

Submitit has its own signal handlers: on the signal that SLURM sends before the time limit, it requeues the job, or
raises an error if the job was requeued too often. During a trial, that error would count as a failure of its
architecture. Therefore the run is ended first, as by Ctrl-C.
"""

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from nasrun.core.signals import BATCH_SIGNALS
from nasrun.runner import interrupts

Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """A scope in which a signal with a handler of another program first ends the run, and then calls that handler.

    No effect if only nasrun has handlers, as in the command itself.
    """
    others: dict[int, Handler] = {
        number: handler for number in BATCH_SIGNALS if (handler := _of_others(signal.getsignal(number))) is not None
    }
    caught: list[tuple[int, FrameType | None]] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))
        if len(caught) == 1:
            raise KeyboardInterrupt

    for number in others:
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        for number, handler in others.items():
            signal.signal(number, handler)
        if caught:
            number, frame = caught[0]
            others[number](number, frame)  # requeues the job and ends it, or raises
        raise
    finally:
        for number, handler in others.items():
            signal.signal(number, handler)


def _of_others(handler: Any) -> Handler | None:
    own = getattr(handler, "__module__", "").startswith(interrupts.__name__)
    return handler if callable(handler) and not own and handler is not signal.default_int_handler else None


def lost_job(error: Exception) -> str | None:
    """A description of a job that ended without a result; None if the error is not about a job."""
    kind = type(error)
    if not kind.__module__.startswith("submitit."):
        return None
    ended = re.search(r"Job (\S+) .*?\(state: ([^)]+)\)", str(error), re.DOTALL)
    if ended is not None:
        return f"job {ended[1]} ended without a result (SLURM: {ended[2]})"
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line.partition(": ")[2] for line in lines if line.startswith("submitit.") and ": " in line]
    return f"a job ended without a result ({(said or lines or [kind.__name__])[-1][:200]})"
