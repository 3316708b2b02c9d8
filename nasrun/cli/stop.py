"""`nasrun stop DIR...`: stops runs or sweeps like Ctrl-C, from any terminal; `nasrun resume DIR` continues them."""

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
from nasrun.storage.run_directory import how_to_continue

USAGE = "nasrun stop DIR... [--wait SECONDS]"
WAIT = 60.0
"""Default seconds to wait: a run writes its tables before it ends."""
POLL = 0.1


def stop(words: Sequence[str]) -> int:
    """Stop the named runs and sweeps; return the exit code: 1 if one has not ended in time."""
    parser = Arguments("stop", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run, or a folder with runs in it, such as a sweep")
    parser.add_argument("--wait", type=float, default=WAIT, help=f"seconds to wait for the end; default: {WAIT:g}")
    flags = parser.parse_intermixed_args(list(words))
    if not flags.wait >= 0:
        raise ConfigError(f"--wait={flags.wait:g}: expected seconds, 0 or more")
    folders = folders_among(flags.words, "stop", USAGE)
    locks = [path for folder in folders for path in _locks(folder)]
    if not locks:
        named = ", ".join(map(str, folders))
        raise ConfigError(f"{named}: nothing is running; show the state with: {shell_command('status', *folders)}")
    for path in locks:
        holder = holder_of(path)
        if holder.alive and not holder.stoppable:
            raise ConfigError(f"{path.parent}: runs in a thread of another program ({holder.place}); stop it there")
    for path in locks:
        ask_to_stop(path)
    return _await(locks, flags.wait)


def _locks(folder: Path) -> list[Path]:
    """The held locks in a folder; that of a sweep first, so that it starts no further run."""
    paths = (folder / SWEEP_LOCK, *(run / NAME for run in runs_below([folder])))
    return [path for path in paths if holder_of(path).alive]


def _await(locks: Sequence[Path], seconds: float) -> int:
    deadline, left = time.monotonic() + seconds, list(locks)
    while True:
        for path in [path for path in left if not holder_of(path).alive]:
            left.remove(path)
            take_back(path)
            over = holder_of(path).complete  # it ended by itself at that moment
            show(f"{nearby(path.parent)}: {'done' if over else f'stopped; {how_to_continue(path.parent)}'}")
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(POLL)
    for path in left:
        say(
            f"{path.parent}: has not ended within {seconds:g} s; it will stop as soon as it can",
            FAILED,
        )
    return FAILED if left else DONE
