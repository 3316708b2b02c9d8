"""Output that nobody reads any more, as behind `| head`, costs no command its work."""

import contextlib
import os
import sys


def open_standard_streams() -> None:
    """Give a process that was started with closed ones (`>&-`) streams that go nowhere.

    Else the next file that it opens would take the number of one, and be written to as if it were that.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


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
