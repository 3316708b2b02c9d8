"""`nasrun compare DIR...`: compares finished runs, with statistics over seeds."""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasrun.cli.arguments import Arguments
from nasrun.core.durations import parse_duration
from nasrun.core.options import ConfigError, parts_of, show
from nasrun.reports.compare import over as several
from nasrun.reports.compare import page as compare_page
from nasrun.reports.compare.anytime import regret_curves
from nasrun.reports.compare.checklist import FILE, as_markdown, checklist
from nasrun.reports.compare.curves import epoch_curves, hypervolume_curves, time_curves, trial_curves
from nasrun.reports.compare.further_plots import draw_further, rows_of_fronts
from nasrun.reports.compare.latex import DEFAULT_FOLDER
from nasrun.reports.compare.look import PLAIN_LOOK, Look, read_look
from nasrun.reports.compare.methods import BIBLIOGRAPHY, METHODS, methods
from nasrun.reports.compare.numbers import measures
from nasrun.reports.compare.over_tables import folder_of, print_over, write_over
from nasrun.reports.compare.plots import draw, save
from nasrun.reports.compare.question import TESTS, Cut, Question, Unit
from nasrun.reports.compare.runs import Comparison, compare_selected, selected
from nasrun.reports.compare.tables import keys_of, print_tables, with_keys, write_tables
from nasrun.reports.summary import nearby
from nasrun.reports.tables import csv_text
from nasrun.storage.records import write_text

USAGE = "nasrun compare DIR... [by=KEY,...] [--checklist] [--out FOLDER]"
WORDS = ("by", "where", "without", "over", "at", "seconds", "epochs", "reference", "test", "target")
"""The words `WORD=VALUE` of a command line."""


@dataclass
class _Asked:
    """The parsed options of `nasrun compare`."""

    folders: list[Path] = field(default_factory=list)
    by: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    where: dict[str, list[str]] = field(default_factory=dict)
    without: list[Path] = field(default_factory=list)
    question: Question = field(default_factory=Question)


def compare(words: Sequence[str]) -> None:
    """Compare the runs named on the command line: print tables and write files to a folder.

    ConfigError if the words are invalid, or the runs cannot be compared.
    """
    parser = Arguments("compare", USAGE, __doc__)
    what = "a run, or a folder with runs in it; by=KEY: key that defines the groups (default: strategy); "
    what += "over=KEY: several benchmarks; where=KEY=VALUE, without=DIR: select runs; at=TRIALS, seconds=S: earlier"
    parser.add_argument("words", nargs="*", metavar="DIR", help=what + "; reference=GROUP, test=NAME, target=VALUE")
    parser.add_argument("--checklist", action="store_true", help="also fill in the checklist of best practices")
    parser.add_argument("--methods", action="store_true", help="also write a paragraph on methods, with citations")
    parser.add_argument("--style", type=Path, help="a YAML file with labels, colours, order, width, height")
    parser.add_argument("--out", type=Path, help="output folder; default: compare/ in the common folder")
    arguments = parser.parse_intermixed_args(list(words))
    asked = _read(arguments.words)
    look = PLAIN_LOOK if arguments.style is None else read_look(arguments.style)
    common = Path(os.path.commonpath([folder.absolute() for folder in asked.folders]))
    out = arguments.out or common / DEFAULT_FOLDER
    runs, remarks = selected(asked.folders, asked.where, asked.without)
    extras = (arguments.checklist, arguments.methods)
    question = look.asked(asked.question)
    if not asked.over:
        comparison = look.applied(compare_selected(runs, remarks, asked.by))
        page = _write(comparison, question, look, out, *extras)
        _print_remarks(comparison.remarks)
        print(f"tables and plots written to {nearby(out)}; one page with all: {nearby(page)}")
        return
    found = several.compare_over(runs, remarks, asked.over, asked.by, question, look)
    try:
        page = write_over(out, found)
        if arguments.methods:
            _write_methods(out, list(found.benchmarks.values()), question)
    except OSError as error:
        raise _unwritable(out, error) from error
    for name, one in found.benchmarks.items():
        _write(one, question, look, out / folder_of(name), *extras, quiet=True)
    print_over(found)
    _print_remarks(found.remarks)
    where = f"tables and plots written to {nearby(out)}, those of each benchmark in a folder of its own there"
    print(f"{where}; a page with links to them: {nearby(page)}")


def _write_methods(out: Path, comparisons: Sequence[Comparison], question: Question) -> None:
    text, bibliography = methods(comparisons, question)
    write_text(out / METHODS, text)
    write_text(out / BIBLIOGRAPHY, bibliography)


def _print_remarks(remarks: Sequence[str]) -> None:
    for remark in remarks:
        print(f"nasrun: {remark}", file=sys.stderr)


def _unwritable(out: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{out}: cannot be written to ({error.strerror}); choose another: --out FOLDER")


def _write(
    comparison: Comparison,
    question: Question,
    look: Look,
    out: Path,
    wanted: bool,
    described: bool,
    quiet: bool = False,
) -> Path:
    """Write a comparison to a folder and print its tables; return the path of its page.

    `wanted`: include the checklist. `described`: include the paragraph on methods. `quiet`: print nothing.
    """
    found, trials = measures(comparison, question), trial_curves(comparison)
    curves = {"trials": trials, "seconds": time_curves(comparison), "epochs": epoch_curves(comparison)}
    curves |= {"regret": regret_curves(comparison, trials), "hypervolume": hypervolume_curves(comparison)}
    curves = {name: one for name, one in curves.items() if one}
    answers = checklist(comparison) if wanted else None
    more = {name: one for name, one in curves.items() if name not in ("trials", "seconds")}
    simulated = comparison.runs[0].simulated
    figures = draw(found, trials, curves.get("seconds", {}), simulated=simulated, more=more, look=look)
    figures |= draw_further(comparison, found, look)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_tables(out, comparison, found, curves, save(out, figures), question)
        if comparison.runs[0].objectives:
            table = with_keys(rows_of_fronts(comparison), keys_of(comparison), ("group",))
            write_text(out / "fronts.csv", csv_text(table))
        page = compare_page.write_page(out, comparison, found, curves, figures, answers, question)
        if answers:
            write_text(out / FILE, as_markdown(answers))
        if described:
            _write_methods(out, [comparison], question)
    except OSError as error:
        raise _unwritable(out, error) from error
    if quiet:
        return page
    print_tables(comparison, found)
    if answers:
        replies = [answer.reply for answer in answers]
        counts = ", ".join(f"{replies.count(reply)} {reply}" for reply in ("yes", "no", "unknown"))
        print(f"checklist: {counts}; see {nearby(out / FILE)}")
    if described:
        print(f"a paragraph on methods: {nearby(out / METHODS)}, with {BIBLIOGRAPHY}")
    return page


def _read(words: Sequence[str]) -> _Asked:
    """Parse the command line; ConfigError if it is invalid."""
    asked, values = _Asked(), dict[str, list[str]]()
    for word in words:
        name, equals, value = word.partition("=")
        if Path(word).is_dir():
            asked.folders.append(Path(word))
        elif name == "where" and equals:
            key, given, wanted = value.partition("=")
            if not key or not given or not wanted:
                raise ConfigError(f"{word}: expected where=KEY=VALUE, e.g. where=strategy=random,grid")
            asked.where.setdefault(key, []).extend(parts_of(wanted))
        elif name == "without" and Path(value).is_dir():  # a file name may contain commas
            values.setdefault(name, []).append(value)
        elif name in WORDS and equals:
            values.setdefault(name, []).extend(part for part in value.split(",") if part)
            if not values[name]:
                raise ConfigError(f"{name}=: expected one or more {_EXPECTED.get(name, 'values')}")
        elif equals:
            raise ConfigError(f"{word}: not expected; usage: {USAGE}")
        else:
            raise ConfigError(f"{word}: no such directory; usage: {USAGE}")
    if not asked.folders:
        raise ConfigError(f"compare: expected run directories; usage: {USAGE}")
    asked.by, asked.over = values.get("by", []), values.get("over", [])
    asked.without = [Path(folder) for folder in values.get("without", [])]
    gone = next((folder for folder in asked.without if not folder.is_dir()), None)
    if gone is not None:
        raise ConfigError(f"without={gone}: no such directory")
    asked.question = _question(values)
    return asked


_EXPECTED = {
    "by": "keys, e.g. by=strategy.population",
    "over": "keys, e.g. over=dataset",
    "at": "trials, e.g. at=50,100",
}


def _question(values: dict[str, list[str]]) -> Question:
    units: dict[str, Unit] = {"at": "trials", "seconds": "seconds", "epochs": "epochs"}
    cuts = [Cut(unit, _amount(word, text)) for word, unit in units.items() for text in values.get(word, [])]
    cuts = list(dict.fromkeys(cuts))
    test = next((name for name in TESTS if name == _single(values, "test")), None)
    if "test" in values and test is None:
        raise ConfigError(f"test={','.join(values['test'])}: unknown; known: {', '.join(TESTS)}")
    target = _single(values, "target")
    reference = ",".join(values["reference"]) if "reference" in values else None
    goal = None if target is None else _number("target", target)
    return Question(cuts, reference, test or "permutation", goal)


def _single(values: dict[str, list[str]], word: str) -> str | None:
    found = values.get(word, [])
    if len(found) > 1:
        raise ConfigError(f"{word}={','.join(found)}: expected one value")
    return found[0] if found else None


def _number(word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{word}={show(text)}: expected a number")
    return value


def _amount(word: str, text: str) -> float:
    """A number of trials or epochs, or a time in seconds, optionally with a unit (`20m`)."""
    if word == "seconds" and not text.replace(".", "", 1).isdigit():
        try:
            return parse_duration(text)
        except ValueError as error:
            raise ConfigError(f"{word}={show(text)}: {error}") from None
    value = _number(word, text)
    if value <= 0 or (word == "at" and value != int(value)):
        raise ConfigError(f"{word}={show(text)}: expected a {'whole ' * (word == 'at')}number above 0")
    return value
