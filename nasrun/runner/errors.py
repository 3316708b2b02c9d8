"""How a run that cannot go on ends: in one line, which says how to go on with it where that can be done."""

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nasrun.core import Progress
from nasrun.core.options import shell_command
from nasrun.hardware.worker_messages import WorkerError
from nasrun.runner import interrupts
from nasrun.storage.journal import NAME, Journal

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CHECK_SECONDS = 1.0


class RunError(Exception):
    """A run that cannot go on; the text is the reason, in one line."""


class Interrupted(KeyboardInterrupt):
    """A run that was stopped from outside; the text says how to go on with it."""


@contextlib.contextmanager
def resumable(directory: Path) -> Iterator[None]:
    """Turns what stops the run in `directory` from outside (a signal, a full disk) into Interrupted or RunError."""
    how = f"go on with: {shell_command('resume', directory)}"
    try:
        yield
    except KeyboardInterrupt:
        interrupts.end()
        raise Interrupted(f"interrupted; {how}") from None
    except OSError as error:
        if not (directory / NAME).is_file():
            gone = f"{directory} was deleted or moved while the run was going on; nothing more was written"
            raise RunError(f"{gone}; where it was moved: nasrun resume FOLDER") from error
        room = "make room, then " if error.errno in FULL else ""
        said = f"{error.filename or directory}: {error.strerror}" if error.strerror else str(error)
        raise RunError(f"{said}; {room}{how}") from error
    except WorkerError as error:
        raise RunError(f"{error}; {how}") from error


def watched(log: Journal, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """`show`, called for each epoch of a training, that also ends one whose run directory is gone: OutputError."""
    due = time.monotonic() + CHECK_SECONDS

    def progress(sign: Progress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            log.check()
            due = time.monotonic() + CHECK_SECONDS
        show(sign)

    return progress
