"""Signals in the `nasrun` command: the first ends what is going on, later ones do not disturb the ending."""

import signal
from types import FrameType

from nasrun.core.signals import BATCH_SIGNALS

ENDING = (signal.SIGINT, signal.SIGTERM, *BATCH_SIGNALS)
"""Signals that end a run: Ctrl-C, what ends a process, and what batch systems send a while before that."""


def listen() -> None:
    """Have the signals of `ENDING` raise KeyboardInterrupt in the main thread, until `end`."""
    for number in ENDING:
        # Under nohup, the end of the terminal is not the end of the run.
        if number not in BATCH_SIGNALS or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end() -> None:
    """The process is on its way out, and tidies up: whoever is impatient now gets no traceback and no half files.

    The signals are ignored by the system: Python's own handlers are taken away before its very end, and one that comes
    then would be what the process died of.
    """
    for number in ENDING:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
