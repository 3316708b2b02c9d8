"""`nasrun resume DIR`: continues an interrupted run or sweep, or extends a finished run."""

from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments, directory_among
from nasrun.cli.ending import DONE
from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.run_directory import holds_run, runs_in

USAGE = "nasrun resume DIR [KEY=VALUE ...] [--salvage] [--config-dir FOLDER]"


def resume(words: Sequence[str]) -> int:
    """Resume the named run or sweep and return the exit code."""
    parser = Arguments("resume", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run directory, or the folder of a sweep")
    parser.add_argument("--salvage", action="store_true", help="first recover the intact part of a damaged journal")
    parser.add_argument("--config-dir", help="for a sweep started with it: the folder of YAML files")
    parser.add_argument("--config-name", help="for a sweep started with it: your own main file")
    flags = parser.parse_intermixed_args(list(words))
    directory, others = directory_among(flags.words, "resume", USAGE)
    if not holds_run(directory):
        return _sweep(directory, others, flags.salvage, flags.config_dir, flags.config_name)
    if flags.config_dir or flags.config_name:
        raise ConfigError(f"--config-{'dir' if flags.config_dir else 'name'}: is only for sweeps; leave it out")
    from nasrun.config.overrides import as_values
    from nasrun.runner import run
    from nasrun.runner.clock import process_start

    run.resume(directory, as_values(others), salvage=flags.salvage, began=process_start())
    return DONE


def _sweep(
    directory: Path, words: Sequence[str], salvage: bool, config_dir: str | None, config_name: str | None
) -> int:
    from nasrun.cli.arguments import Command
    from nasrun.cli.launch import launch
    from nasrun.cli.sweep_record import holds_sweep, resumed_sweep

    if not holds_sweep(directory):
        by_program = "; a sweep of a program is continued by calling nasrun.sweep again" if runs_in(directory) else ""
        raise ConfigError(f"{directory}: has neither a run (no {journal.NAME}) nor a sweep to resume{by_program}")
    if salvage:
        raise ConfigError("--salvage: is for a single run; give its directory")
    return launch(resumed_sweep(directory, Command(tuple(words), True, config_dir, config_name)))
