"""`nasrun status DIR...`: shows the state of runs and sweeps (running, finished or dead) on this or another machine."""

import json
from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments
from nasrun.cli.ending import DONE
from nasrun.core.options import ConfigError
from nasrun.core.output import show
from nasrun.reports.status.state import Follower, runs_below, sweep_of
from nasrun.reports.status.words import as_json, describe_run, describe_runs
from nasrun.storage.run_directory import holds_run

USAGE = "nasrun status DIR... [--all] [--json]"


def status(words: Sequence[str]) -> int:
    """Print the state of the named folders and return the exit code."""
    parser = Arguments("status", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run, or a folder with runs in it, such as a sweep")
    parser.add_argument("--all", action="store_true", help="list finished runs too, even if there are many")
    parser.add_argument("--json", action="store_true", help="print JSON, with times in seconds since 1970")
    flags = parser.parse_intermixed_args(list(words))
    folders = folders_among(flags.words, "status", USAGE)
    runs = runs_below(folders)
    states = [Follower(run).look() for run in runs]
    found = [sweep_of(folder, len(runs)) for folder in folders]
    sweeps = [sweep for sweep in found if sweep is not None]
    if flags.json:
        show(json.dumps(as_json(states, sweeps)))
        return DONE
    alone = len(folders) == 1 and holds_run(folders[0])
    for line in describe_run(states[0]) if alone else describe_runs(states, sweeps, flags.all):
        show(line)
    return DONE


def folders_among(words: Sequence[str], verb: str, usage: str) -> list[Path]:
    """The named folders; ConfigError if one does not exist, or none is named."""
    for word in words:
        if not Path(word).is_dir():
            raise ConfigError(f"{word}: no such directory; usage: {usage}")
    if not words:
        raise ConfigError(f"{verb}: expected a run directory, or a folder with runs; usage: {usage}")
    return [Path(word) for word in words]
