"""`nasrun resume DIR`: go on with a run after a crash or an interruption, or extend a finished one; or with a sweep."""

from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments, directory_among
from nasrun.cli.ending import DONE
from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.run_directory import holds_run

USAGE = "nasrun resume DIR [KEY=VALUE ...] [--salvage] [--config-dir FOLDER]"


def resume(words: Sequence[str]) -> int:
    """Go on with what the words of the command line name; returns the exit code."""
    parser = Arguments("resume", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run directory, or the folder of a sweep")
    parser.add_argument("--salvage", action="store_true", help="the journal is damaged: save first what is whole of it")
    parser.add_argument("--config-dir", help="of a sweep that was started with one: the folder of own YAML files")
    parser.add_argument("--config-name", help="of a sweep that was started with one: the main file of one's own")
    flags = parser.parse_intermixed_args(list(words))
    directory, others = directory_among(flags.words, "resume", USAGE)
    if not holds_run(directory):
        return _sweep(directory, others, flags.salvage, flags.config_dir, flags.config_name)
    if flags.config_dir or flags.config_name:
        raise ConfigError(
            f"--config-{'dir' if flags.config_dir else 'name'}: a run has its config in its directory; leave it out"
        )
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
        raise ConfigError(f"{directory}: holds no run that could be resumed (it has no {journal.NAME}), and no sweep")
    if salvage:
        raise ConfigError("--salvage: is for one run; give its directory")
    return launch(resumed_sweep(directory, Command(tuple(words), True, config_dir, config_name)))
