"""The `nasrun` command: a Hydra run or sweep, or one of the verbs `resume` and `report`.

Everything is checked before anything is created: the config is composed and built once here, and a mistake ends in
one line on stderr and exit code 2.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nasrun.schema import ConfigError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    """Run the command line of this process and return its exit code."""
    words = sys.argv[1:]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _dispatch(words)
    except KeyboardInterrupt as interruption:
        return _say(str(interruption) or "interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if "debug=true" in words:
            traceback.print_exc()
        return _say(_one_line(error), USAGE if isinstance(error, ConfigError) else FAILED)


def _dispatch(words: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {"resume": _resume, "report": _report}
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    if any(word in ("-h", "--help") for word in words):
        from nasrun.help import help_text

        print(help_text())
        return DONE
    if "--version" in words:
        from nasrun import __version__

        print(f"nasrun {__version__}")
        return DONE
    if words and "=" not in words[0] and not words[0].startswith(("-", "+", "~")):
        raise ConfigError(f"{words[0]}: neither a verb nor key=value; {nearest(words[0], verbs)}")
    return _hydra(words)


def _resume(words: list[str]) -> int:
    from nasrun.config import as_overrides
    from nasrun.run import resume

    directory = _directory("resume", words)
    resume(directory, as_overrides(words[1:]))
    return DONE


def _report(words: list[str]) -> int:
    from nasrun.report import report

    directory = _directory("report", words)
    if len(words) > 1:
        raise ConfigError(f"{words[1]}: not expected; usage: nasrun report DIR")
    report(directory)
    return DONE


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

    from nasrun.config_files import conf_dir

    parser = get_args_parser()
    parser.error = _usage  # type: ignore[method-assign]
    arguments = parser.parse_args(words)
    explicit = any(word.startswith("hydra.run.dir=") for word in arguments.overrides)
    job = _Job(unique=not explicit)
    shows = arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion
    config_name = arguments.config_name or "config"
    if not shows and _check(arguments.overrides, arguments.multirun, arguments.config_dir, config_name):
        return DONE
    hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(job)()
    return job.code


def _check(overrides: Sequence[str], multirun: bool, config_dir: str | None, config_name: str) -> bool:
    """Refuse nonsense before anything is created; True where a dry run was asked for, and shown."""
    from nasrun.compose import compose_config, expand, task_config
    from nasrun.config import build
    from nasrun.plan import show_plan

    dry = False
    for job_overrides in expand(overrides) if multirun else [list(overrides)]:
        config = compose_config(job_overrides, config_dir, config_name)
        setup = build(task_config(config))
        directory = Path(config.hydra.sweep.dir if multirun else config.hydra.run.dir)
        _check_directory(directory, resumable=multirun or setup.options.resume)
        if setup.options.dry_run:
            dry = True
            show_plan(setup)
    return dry


def _check_directory(directory: Path, *, resumable: bool) -> None:
    """ConfigError where a run could not be written to a directory."""
    from nasrun.run import taken

    if directory.exists() and not resumable and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(taken(directory))
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(f"{existing}: is a file, so {directory} cannot be made; choose another: hydra.run.dir=PATH")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{existing}: cannot be written to; choose another folder: hydra.run.dir=PATH")


class _Job:
    """What Hydra calls for each run.

    A run that fails says why in one line and leaves its exit code here; a sweep goes on with the next one. Launchers
    that run jobs in other processes get the error itself, since the code would not come back from there.
    """

    def __init__(self, *, unique: bool) -> None:
        self._unique = unique
        self.code = DONE

    def __call__(self, config: "DictConfig") -> float | None:
        """Returns the best trial's objective, for sweepers that optimise; None where the run failed."""
        from hydra.core.hydra_config import HydraConfig

        from nasrun.run import start

        launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
        directory = Path(os.path.relpath(HydraConfig.get().runtime.output_dir))
        try:
            summary = start(config, directory, unique=self._unique)
        except Exception as error:
            if config.get("debug") is True:
                traceback.print_exc()
            self.code = _say(_one_line(error), USAGE if isinstance(error, ConfigError) else FAILED)
            if launcher != "basic":
                raise
            return None
        return float(summary["best"]["metrics"][config.objective.metric])


def _usage(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see nasrun --help")


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError) or type(error).__module__.startswith("nasrun."):
        return text
    return f"{type(error).__name__}: {text} (debug=true shows where)"


def _say(text: str, code: int) -> int:
    print(f"nasrun: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
