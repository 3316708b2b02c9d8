"""`nasrun reproduce NAME`: runs or resumes the sweeps behind a paper's claims and compares the results with its
figures."""

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nasrun.cli.arguments import Arguments, Command
from nasrun.cli.ending import DONE
from nasrun.core.options import ConfigError, nearest, shell_command
from nasrun.reports.reproduction.plan import Reproduction, names, read_reproduction
from nasrun.reports.reproduction.table import FILE, HEAD, cells, spent, table_of, write_table

USAGE = "nasrun reproduce NAME [KEY=VALUE ...] [--steps A,B] [--table] [--out FOLDER]"
WITHOUT_EFFECT = ("hardware", "output", "tracker")
"""Keys that affect no result and are not recorded. They and `seed` may differ between calls with the same folder."""

WIDTH = 150
"""Width of the table in characters if stdout is not a terminal."""


def reproduce(words: Sequence[str]) -> int:
    """Run the sweeps of a reproduction, print its table and return the exit code. Without a name: list the
    reproductions."""
    parser = Arguments("reproduce", USAGE, __doc__)
    parser.add_argument("words", nargs="*", metavar="NAME", help="its name; KEY=VALUE changes all of its sweeps")
    parser.add_argument("--steps", help="the sweeps to run, separated by commas; default: all")
    parser.add_argument("--table", action="store_true", help="only print the table of existing runs")
    parser.add_argument("--out", type=Path, help="the folder of its runs; default: outputs/reproduce/NAME")
    flags = parser.parse_intermixed_args(list(words))
    if not flags.words:
        _list()
        return DONE
    plan, changes = read_reproduction(flags.words[0]), list(flags.words[1:])
    wrong = next((word for word in changes if "=" not in word), None)
    if wrong is not None:
        raise ConfigError(f"{wrong}: not expected; usage: {USAGE}")
    steps = _steps(plan, flags.steps)
    folder = flags.out or Path("outputs", "reproduce", plan.name)
    changes = _same_as_before(folder, changes, flags.table)
    new = next((path for path in (*reversed(folder.parents), folder) if not path.exists()), None)
    code = DONE
    try:
        for step in () if flags.table else steps:
            _note(plan, folder, changes)  # before the runs, because a killed process cannot write it
            code = max(code, _run(plan.steps[step], changes, folder / step, f"{plan.name}: {step}"))
    finally:
        table = _note(plan, folder, changes) if folder.is_dir() else table_of(plan, folder)
        if new is not None and [path.name for path in folder.glob("*")] == [FILE]:
            shutil.rmtree(new)  # nothing has been run
    _show(plan, table, folder)
    return code


def _note(plan: Reproduction, folder: Path, changes: Sequence[str]) -> Mapping[str, Any]:
    """Write the table of existing runs with the words used; later calls with other words are rejected."""
    words = [word for word in changes if _section(word) not in WITHOUT_EFFECT]
    table = {**table_of(plan, folder), "words": words}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(table, folder)
    return table


def _list() -> None:
    found = [read_reproduction(name) for name in names()]
    width = max(len(plan.name) for plan in found)
    print(f"usage: {USAGE}\n")
    for plan in found:
        print(f"  {plan.name:<{width}}  {plan.about}")


def _steps(plan: Reproduction, wanted: str | None) -> Sequence[str]:
    """The steps to run; ConfigError for an unknown one."""
    chosen = [*plan.steps] if wanted is None else [name for name in wanted.split(",") if name]
    for name in chosen:
        if name not in plan.steps:
            raise ConfigError(f"--steps {name}: not a step of {plan.name}; {nearest(name, plan.steps)}")
    return chosen


def _same_as_before(folder: Path, changes: Sequence[str], reading: bool) -> list[str]:
    """The changed settings of the runs in a folder; ConfigError if the current ones differ.

    Otherwise runs with different settings would be averaged.
    """
    path = folder / FILE
    before = json.loads(path.read_text(encoding="utf-8"))["words"] if path.is_file() else None
    if before is None or (reading and not changes):
        return list(before if before is not None else changes)
    if _settled(before) != _settled(changes):
        words = shlex.join(_settled(before)) or "no changes"
        raise ConfigError(f"{folder}: was made with {words}; type the same, or choose another folder: --out FOLDER")
    return list(changes)


def _settled(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if _section(word) not in ("seed", *WITHOUT_EFFECT))


def _run(words: Sequence[str], changes: Sequence[str], folder: Path, title: str) -> int:
    """Run or resume a sweep and return its exit code."""
    from nasrun.cli.launch import launch

    changed = {_key(word) for word in changes}
    kept = [word for word in words if _key(word) not in changed]
    command = [*kept, *changes, f"hydra.sweep.dir={folder}", "resume=true"]
    print(f"{title}: {shell_command('-m', *command)}", flush=True)
    return launch(Command(tuple(command), multirun=True))


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _section(word: str) -> str:
    return _key(word).partition(".")[0]


def _show(plan: Reproduction, table: Mapping[str, Any], folder: Path) -> None:
    """Print the table."""
    shown = Table(*HEAD, box=box.SIMPLE_HEAD, pad_edge=False)
    for claim in table["claims"]:
        shown.add_row(*map(escape, cells(claim)))
    print(f"\n{plan.paper}: {plan.source}\nscale: {plan.scale}")
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(shown)
    print(spent(table) + (f"; the table: {folder / FILE}" if folder.is_dir() else ""))
