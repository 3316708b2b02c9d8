"""`nasrun rerun DIR`: repeats a run from its record in a new directory and checks that the results are equal."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments, directory_among
from nasrun.cli.ending import DONE, FAILED, code_of, one_line, say
from nasrun.cli.sweep_record import holds_sweep
from nasrun.core.options import ConfigError
from nasrun.core.words import counted
from nasrun.reports.summary import nearby
from nasrun.storage.pack import COMMANDS
from nasrun.storage.run_directory import holds_run, is_free

USAGE = "nasrun rerun DIR [KEY=VALUE ...] [--out FOLDER]"


def rerun(words: Sequence[str]) -> int:
    """Repeat the named runs and return the exit code: 1 if a result differs."""
    parser = Arguments("rerun", USAGE, __doc__)
    what = "a run, or a folder with runs in it; KEY=VALUE: location of its data (dataset.path=PATH), output"
    parser.add_argument("words", nargs="*", metavar="DIR", help=what)
    parser.add_argument("--out", type=Path, help="the new directory; default: DIR_rerun or SWEEP_rerun/RUN next to it")
    flags = parser.parse_intermixed_args(list(words))
    directory, others = directory_among(flags.words, "rerun", USAGE)
    from nasrun.config.overrides import as_values
    from nasrun.reports.compare.runs import find_runs
    from nasrun.runner.clock import process_start
    from nasrun.runner.rerun import Rerun
    from nasrun.runner.rerun import rerun as make_again

    target, values = _target(directory, flags.out), as_values(others)
    if holds_run(directory):
        return _tell(directory, make_again(directory, target, values, process_start()))
    equal, code, runs = 0, DONE, find_runs([directory])
    for run in runs:
        try:
            made: Rerun | None = make_again(run, target / run.relative_to(directory), values)
        except Exception as error:
            code = max(code, say(f"{run}: {one_line(error)}", code_of(error)))
            continue
        assert made is not None
        told = _tell(run, made)
        code, equal = max(code, told), equal + (told == DONE)
    print(f"{equal} of {counted(len(runs), 'run')} {'is' if equal == 1 else 'are'} equal")
    return code


def _target(directory: Path, out: Path | None) -> Path:
    """The directory for a repeated run; ConfigError if it is not empty.

    A run of a sweep or pack gets the same name in a new folder next to it, so that the original folder contains only
    its own runs.
    """
    if out is not None:
        if not is_free(out):
            raise ConfigError(f"--out {out}: is not an empty folder; choose another")
        return out
    whole = directory.resolve()
    together = next((folder for folder in whole.parents if holds_sweep(folder) or (folder / COMMANDS).is_file()), whole)
    names = (together.with_name(f"{together.name}_rerun{'' if n == 1 else f'_{n}'}") for n in itertools.count(1))
    return Path(nearby(next(path for name in names if not (path := name / whole.relative_to(together)).exists())))


def _tell(directory: Path, made: object) -> int:
    from nasrun.runner.rerun import Rerun

    assert isinstance(made, Rerun)
    if not made.different:
        print(f"{directory}: equal in {', '.join(made.compared)}; repeated in {made.directory}")
        return DONE
    others = ", ".join(f"{name} {old} then, {new} now" for name, (old, new) in made.surroundings.items())
    around = f" ({others})" if others else ""
    return say(f"{directory}: not equal: {'; '.join(made.different)}{around}; repeated in {made.directory}", FAILED)
