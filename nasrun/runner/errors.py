"""How a run that cannot continue ends: with one line, which says how to resume it if it can be resumed."""

import contextlib
import errno
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from nasrun.core import Progress
from nasrun.core.answers import AnswerError
from nasrun.hardware.worker_messages import WorkerError
from nasrun.runner import interrupts
from nasrun.storage.journal import NAME, Journal
from nasrun.storage.run_directory import how_to_continue

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CHECK_SECONDS = 1.0


class RunError(Exception):
    """The run cannot continue; the text is the reason, in one line."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped from outside; the text says how to resume it."""


@contextlib.contextmanager
def resumable(directory: Path, given: Collection[str] = ()) -> Iterator[None]:
    """Turns what stops the run in `directory` (a signal, a system error such as a full disk, dead workers, an invalid
    answer) into Interrupted or RunError, which say how to continue.

    `given`: the groups whose objects only the calling program has.
    """
    how = how_to_continue(directory, given)
    try:
        yield
    except KeyboardInterrupt:
        interrupts.end()
        raise Interrupted(f"interrupted; {how}") from None
    except OSError as error:
        if not (directory / NAME).is_file():
            gone = f"{directory} was deleted or moved during the run; nothing more was written"
            raise RunError(f"{gone}; if it was moved: nasrun resume FOLDER") from error
        room = "free some space, then " if error.errno in FULL else ""
        said = f"{error.filename or directory}: {error.strerror}" if error.strerror else str(error)
        raise RunError(f"{said}; {room}{how}") from error
    except (WorkerError, AnswerError) as error:
        raise RunError(f"{error}; {how}") from error


def watched(log: Journal, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """`show`, called for each epoch of a training run, with a check: OutputError if the run directory is gone."""
    due = time.monotonic() + CHECK_SECONDS

    def progress(sign: Progress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            log.check()
            due = time.monotonic() + CHECK_SECONDS
        show(sign)

    return progress
