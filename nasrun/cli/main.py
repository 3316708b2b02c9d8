"""The `nasrun` command: a Hydra run or sweep, or one of the verbs `resume`, `report`, `compare`, `export`, `predict`.

Everything is checked before anything is created: the config is composed and built once here, and a mistake ends in
one line on stderr and exit code 2.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nasrun.core.options import ConfigError, nearest, printable
from nasrun.runner import interrupts

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from omegaconf import DictConfig

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    """Run the command line of this process and return its exit code."""
    words = sys.argv[1:]
    interrupts.listen()
    try:
        return _dispatch(words)
    except KeyboardInterrupt as interruption:
        interrupts.end()
        return _say(str(interruption) or "interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if "debug=true" in words:
            traceback.print_exc()
        return _say(_one_line(error), USAGE if isinstance(error, ConfigError) else FAILED)


def _dispatch(words: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {
        "resume": _resume,
        "report": _report,
        "compare": _compare,
        "export": _export,
        "predict": _predict,
    }
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    if any(word in ("-h", "--help") for word in words):
        from nasrun.config.help import help_text

        print(help_text())
        return DONE
    if "--version" in words:
        from nasrun import __version__

        print(f"nasrun {__version__}")
        return DONE
    return _hydra(words)


def _resume(words: list[str]) -> int:
    from nasrun.config.build import as_overrides
    from nasrun.runner.run import resume

    salvage = "--salvage" in words
    words = [word for word in words if word != "--salvage"]
    directory = _directory("resume", words)
    resume(directory, as_overrides(words[1:]), salvage=salvage)
    return DONE


def _report(words: list[str]) -> int:
    from nasrun.cli.report import report

    directory = _directory("report", words)
    if len(words) > 1:
        raise ConfigError(f"{words[1]}: not expected; usage: nasrun report DIR")
    report(directory)
    return DONE


def _compare(words: list[str]) -> int:
    from nasrun.cli.compare import compare

    compare(words)
    return DONE


def _export(words: list[str]) -> int:
    from nasrun.cli.export import export

    export(words)
    return DONE


def _predict(words: list[str]) -> int:
    from nasrun.cli.predict import predict

    return predict(words)


def _directory(verb: str, words: list[str]) -> Path:
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError(f"{verb}: expected a run directory; usage: nasrun {verb} DIR")
    if not Path(words[0]).is_dir():
        raise ConfigError(f"{words[0]}: no such directory; usage: nasrun {verb} DIR")
    return Path(words[0])


def _hydra(words: list[str]) -> int:
    """Check what is asked for, then hand over to Hydra, which runs it once or sweeps."""
    # Hydra would print errors its own way and exit; so they reach main() as they are.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra
    from hydra._internal.utils import get_args_parser

    from nasrun.config.compose import compose_config, in_full
    from nasrun.core.config_files import conf_dir

    words = in_full(words)
    sys.argv[1:] = words  # Hydra reads them there
    parser = get_args_parser()
    parser.error = _usage  # type: ignore[method-assign]
    arguments, unknown = parser.parse_known_args(words)
    _check_flags(parser, arguments, unknown)
    run_hydra = hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
    where = (arguments.config_dir, arguments.config_name or "config")
    if arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion:
        if arguments.cfg or arguments.info:
            compose_config(arguments.overrides, *where)
        run_hydra(lambda config: None)()
        return DONE
    unique = not any(word.startswith("hydra.run.dir=") for word in arguments.overrides)
    dry, existing = _check(arguments.overrides, arguments.multirun, *where, unique=unique)
    if dry:
        return DONE
    job = _Job(unique=unique, existing=existing)
    run_hydra(job)()
    return job.code


def _check_flags(parser: "ArgumentParser", arguments: "Namespace", unknown: Sequence[str]) -> None:
    """ConfigError for flags of Hydra's that there are not, or that make no sense here."""
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        raise ConfigError(f"{unknown[0]}: no such flag; {nearest(unknown[0], known)}")
    if arguments.config_path:
        path = arguments.config_path
        raise ConfigError(
            f"--config-path={path}: would hide all of nasrun's YAML files; add yours: --config-dir={path}"
        )
    modes = {"--cfg": arguments.cfg, "--info": arguments.info, "--multirun": arguments.multirun}
    given = [flag for flag, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' '.join(given)}: only one of these at a time")
    if arguments.resolve and not arguments.cfg:
        raise ConfigError("--resolve: goes with --cfg")


def _check(
    overrides: Sequence[str], multirun: bool, config_dir: str | None, config_name: str, *, unique: bool
) -> tuple[bool, Path]:
    """Refuse nonsense before anything is created. `unique`: a run directory that is taken gets another name.

    Returns whether a dry run was asked for, and shown, and the folder that is there already and will hold the runs.
    """
    from nasrun.config.build import build
    from nasrun.config.compose import jobs, output_directory, task_config
    from nasrun.config.from_run import take_over
    from nasrun.runner.dry_run import show_plan

    dry, existing = False, Path()
    sweep, configs = jobs(overrides, multirun, config_dir, config_name)
    for config in configs:
        setup = build(take_over(task_config(config), config.hydra.overrides.task)[0])
        directory = output_directory(config, sweep=sweep)
        existing = _check_directory(directory, may_exist=sweep or unique or setup.options.resume)
        if not sweep:
            _check_not_here(directory)
        if setup.options.dry_run:
            dry = True
            show_plan(setup)
    return dry, existing


def _check_not_here(directory: Path) -> None:
    """ConfigError where a new run directory would take the place of the working directory."""
    from nasrun.storage.run_directory import holds_run

    if directory.is_dir() and directory.samefile(Path.cwd()) and not holds_run(directory):
        raise ConfigError(f"hydra.run.dir={directory}: the folder that nasrun is run in; choose another")


def _check_directory(directory: Path, *, may_exist: bool) -> Path:
    """ConfigError where a run could not be written to a directory; else the nearest folder above that exists."""
    from nasrun.storage.run_directory import taken

    if directory.exists() and not may_exist and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(taken(directory))
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(f"{existing}: is a file, so {directory} cannot be made; choose another: hydra.run.dir=PATH")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{existing}: cannot be written to; choose another folder: hydra.run.dir=PATH")
    return existing


def _remove_empty(directory: Path, existing: Path) -> None:
    """Remove the folders that Hydra made for a run that never began, up to the one that was there before."""
    for folder in (directory, *directory.parents):
        if folder == existing or existing not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:  # not empty: another run is in it
            return


class _Job:
    """What Hydra calls for each run.

    A run that fails says why in one line and leaves its exit code here; a sweep goes on with the next one. Launchers
    that run jobs in other processes get the error itself, since the code would not come back from there.
    """

    def __init__(self, *, unique: bool, existing: Path) -> None:
        self._unique, self._existing = unique, existing.absolute()
        self.code = DONE

    def __call__(self, config: "DictConfig") -> float | None:
        """Returns the best trial's objective, for sweepers that optimise; None where there is none."""
        from hydra.core.hydra_config import HydraConfig

        from nasrun.config.from_run import take_over
        from nasrun.runner.run import start

        chosen = HydraConfig.get().runtime.choices
        launcher = chosen["hydra/launcher"]
        directory = Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
        try:
            groups = {name: option for name, option in chosen.items() if "/" not in name}
            groups.setdefault("tracker", ",".join(config.get("tracker") or ()))  # Hydra leaves out a list
            config, taken = take_over(config, HydraConfig.get().overrides.task)
            summary = start(config, directory, unique=self._unique, choices=groups | taken, sweep=_sweep())
        except Exception as error:
            if config.get("debug") is True:
                traceback.print_exc()
            self.code = _say(_one_line(error), USAGE if isinstance(error, ConfigError) else FAILED)
            if launcher != "basic":
                raise
            return None
        finally:
            _remove_empty(directory.absolute(), self._existing)
        best = summary["best"]
        return None if best is None else float({**best, **best["metrics"]}[summary["objective"]["metric"]])


def _sweep() -> dict[str, str | int] | None:
    """The folder of the sweep that Hydra runs, with the one above it, and the number of the job; None for one run."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    settings = HydraConfig.get()
    if settings.mode != RunMode.MULTIRUN:
        return None
    return {"folder": "/".join(Path(settings.sweep.dir).absolute().parts[-2:]), "job": int(settings.job.num)}


def _usage(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see nasrun --help")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError) or type(error).__module__.startswith("nasrun."):
        return text
    return f"{type(error).__name__}: {text} (debug=true shows where)"


def _say(text: str, code: int) -> int:
    print(f"nasrun: {printable(text)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
