"""Ctrl-C and SIGTERM in the `nasrun` command: the first ends what is going on, later ones do not disturb the ending."""

import signal
from types import FrameType

_ending = False


def listen() -> None:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt in the main thread, until `end`."""
    global _ending
    _ending = False
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def end() -> None:
    """The process is on its way out, and tidies up: whoever is impatient now gets no traceback and no half files."""
    global _ending
    _ending = True


def _interrupt(signum: int, frame: FrameType | None) -> None:
    if not _ending:
        raise KeyboardInterrupt
