"""The `nasrun` command: a run or a sweep, or one of the verbs `resume`, `rerun`, `report`,
`compare`, `export`, `predict`, `pack`, `unpack`, `reproduce`, `status`, `stop`, `watch`.

Everything is checked before anything is created. An error gives one line on stderr and exit code 2.
"""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from nasrun.cli.ending import DONE, INTERRUPTED, code_of, one_line, say
from nasrun.core.options import ConfigError
from nasrun.core.output import give_up_output, open_standard_streams
from nasrun.runner import interrupts


def main() -> int:
    """Run the command line of this process and return its exit code."""
    words = sys.argv[1:]
    open_standard_streams()
    interrupts.listen()
    try:
        code = _dispatch(words)
    except KeyboardInterrupt as interruption:
        interrupts.end()
        code = say(str(interruption) or "interrupted", INTERRUPTED)
    except SystemExit as ending:  # argparse and Hydra, after they have printed a help text
        code = ending.code if isinstance(ending.code, int) else DONE
    except BrokenPipeError:  # the reader of the output is gone; files were written before
        code = DONE
    except Exception as error:
        if "debug=true" in words:
            traceback.print_exc()
        code = say(one_line(error), code_of(error))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()
    return code


def _dispatch(words: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {
        "resume": _resume,
        "report": _report,
        "compare": _compare,
        "export": _export,
        "predict": _predict,
        "rerun": _rerun,
        "pack": _pack,
        "unpack": _unpack,
        "status": _status,
        "stop": _stop,
        "watch": _watch,
        "reproduce": _reproduce,
    }
    verb = verbs.get(words[0]) if words else None
    if verb is None and any(word in ("-h", "--help") for word in words):
        from nasrun.config.help import help_text

        print(help_text())
        return DONE
    if verb is None and "--version" in words:
        from nasrun import __version__

        print(f"nasrun {__version__}")
        return DONE
    _check_working_directory()
    if verb is not None:
        return verb(words[1:])
    from nasrun.cli.arguments import read_command

    command = read_command(words)
    from nasrun.cli.launch import launch

    return launch(command)


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the working directory was deleted; change to another one (cd) and try again") from None


def _resume(words: list[str]) -> int:
    from nasrun.cli.resume import resume

    return resume(words)


def _report(words: list[str]) -> int:
    from nasrun.cli.arguments import Arguments, directory_among

    usage = "nasrun report DIR [--no-data]"
    parser = Arguments("report", usage, "Write the tables and plots of a run again, from its journal.")
    parser.add_argument("words", nargs="*", metavar="DIR", help="a run directory")
    parser.add_argument("--no-data", action="store_true", help="do not check whether its data are unchanged")
    flags = parser.parse_intermixed_args(words)
    directory, others = directory_among(flags.words, "report", usage)
    if others:
        raise ConfigError(f"{others[0]}: not expected; usage: {usage}")
    from nasrun.cli.report import report

    return report(directory, look=not flags.no_data)


def _compare(words: list[str]) -> int:
    from nasrun.cli.compare import compare

    compare(words)
    return DONE


def _export(words: list[str]) -> int:
    from nasrun.cli.export import export

    return export(words)


def _predict(words: list[str]) -> int:
    from nasrun.cli.predict import predict

    return predict(words)


def _rerun(words: list[str]) -> int:
    from nasrun.cli.rerun import rerun

    return rerun(words)


def _pack(words: list[str]) -> int:
    from nasrun.cli.pack import pack

    return pack(words)


def _unpack(words: list[str]) -> int:
    from nasrun.cli.pack import unpack

    return unpack(words)


def _status(words: list[str]) -> int:
    from nasrun.cli.status import status

    return status(words)


def _stop(words: list[str]) -> int:
    from nasrun.cli.stop import stop

    return stop(words)


def _watch(words: list[str]) -> int:
    from nasrun.cli.watch import watch

    return watch(words)


def _reproduce(words: list[str]) -> int:
    from nasrun.cli.reproduce import reproduce

    return reproduce(words)


if __name__ == "__main__":
    sys.exit(main())
