"""Signals in the `nasrun` command: the first ends the run, later ones do not disturb its end."""

import signal
from types import FrameType

from nasrun.core.signals import BATCH_SIGNALS

ENDING = (signal.SIGINT, signal.SIGTERM, *BATCH_SIGNALS)
"""Signals that end a run: Ctrl-C, termination, and those that batch systems send shortly before it."""


def listen() -> None:
    """Make the signals in `ENDING` raise KeyboardInterrupt in the main thread, until `end` is called."""
    for number in ENDING:
        # Under nohup, closing the terminal does not end the run.
        if number not in BATCH_SIGNALS or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end() -> None:
    """Ignore these signals while the process cleans up and exits: no traceback, and no half-written files.

    The system ignores them, because Python removes its own handlers shortly before it exits, and a later signal would
    then kill the process.
    """
    for number in ENDING:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
