"""Standard streams that are closed, for example by `| head`, must not stop a command."""

import contextlib
import os
import sys


def open_standard_streams() -> None:
    """Connect closed standard streams (`>&-`) to the null device.

    Otherwise the next file that the process opens would get the number of a standard stream and receive its output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open for the life of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def show(text: str) -> None:
    """Print a line on stdout; if stdout is closed, continue silently."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        give_up_output()


def give_up_output() -> None:
    """Redirect stdout to the null device: buffered output would otherwise fail again when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
