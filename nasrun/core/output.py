"""Output that nobody reads any more, as behind `| head`, costs no command its work."""

import contextlib
import os
import sys


def show(text: str) -> None:
    """Print a line on stdout; where that cannot be written to any more, the command goes on in silence."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        give_up_output()


def give_up_output() -> None:
    """Have what is still printed go nowhere: what is buffered would fail once more at the end of the process."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
