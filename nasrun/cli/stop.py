"""`nasrun stop DIR...`: end runs or sweeps as Ctrl-C does, from anywhere; `nasrun resume DIR` goes on with them."""

import time
from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments
from nasrun.cli.ending import DONE, FAILED, say
from nasrun.cli.status import folders_among
from nasrun.core.options import ConfigError, shell_command
from nasrun.core.output import show
from nasrun.reports.status.state import SWEEP_LOCK, runs_below
from nasrun.reports.summary import nearby
from nasrun.storage.lock import NAME, ask_to_stop, holder_of, take_back

USAGE = "nasrun stop DIR... [--wait SECONDS]"
WAIT = 60.0
"""Seconds that a run has to end: it writes its tables first."""
POLL = 0.1


def stop(words: Sequence[str]) -> int:
    """Stop what the words of the command line name; returns the exit code: 1 where something has not ended by then."""
    parser = Arguments("stop", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run, or a folder with runs in it, such as a sweep")
    parser.add_argument("--wait", type=float, default=WAIT, help=f"seconds to wait for the end; by default {WAIT:g}")
    flags = parser.parse_intermixed_args(list(words))
    if not flags.wait >= 0:
        raise ConfigError(f"--wait={flags.wait:g}: expected seconds, 0 or more")
    folders = folders_among(flags.words, "stop", USAGE)
    locks = [path for folder in folders for path in _locks(folder)]
    if not locks:
        named = ", ".join(map(str, folders))
        raise ConfigError(f"{named}: nothing is running there; what there is: {shell_command('status', *folders)}")
    for path in locks:
        holder = holder_of(path)
        if holder.alive and not holder.stoppable:
            raise ConfigError(f"{path.parent}: runs in a thread of another program ({holder.place}); end it there")
    for path in locks:
        ask_to_stop(path)
    return _await(locks, flags.wait)


def _locks(folder: Path) -> list[Path]:
    """The locks in a folder that are held; that of a sweep first, so that it begins no further run."""
    paths = (folder / SWEEP_LOCK, *(run / NAME for run in runs_below([folder])))
    return [path for path in paths if holder_of(path).alive]


def _await(locks: Sequence[Path], seconds: float) -> int:
    deadline, left = time.monotonic() + seconds, list(locks)
    while True:
        for path in [path for path in left if not holder_of(path).alive]:
            left.remove(path)
            take_back(path)
            show(f"{nearby(path.parent)}: stopped; go on with: {shell_command('resume', path.parent)}")
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(POLL)
    for path in left:
        say(
            f"{path.parent}: was asked to stop, and has not ended within {seconds:g} s; it ends as soon as it can",
            FAILED,
        )
    return FAILED if left else DONE
