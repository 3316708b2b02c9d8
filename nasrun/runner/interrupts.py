"""Signals in the `nasrun` command: the first ends what is going on, later ones do not disturb the ending."""

import signal
from types import FrameType

from nasrun.core.signals import BATCH_SIGNALS

ENDING = (signal.SIGINT, signal.SIGTERM, *BATCH_SIGNALS)
"""Signals that end a run: Ctrl-C, what ends a process, and what batch systems send a while before that."""

_ending = False


def listen() -> None:
    """Have the signals of `ENDING` raise KeyboardInterrupt in the main thread, until `end`."""
    global _ending
    _ending = False
    for number in ENDING:
        # Under nohup, the end of the terminal is not the end of the run.
        if number not in BATCH_SIGNALS or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end() -> None:
    """The process is on its way out, and tidies up: whoever is impatient now gets no traceback and no half files."""
    global _ending
    _ending = True


def _interrupt(signum: int, frame: FrameType | None) -> None:
    if not _ending:
        raise KeyboardInterrupt
