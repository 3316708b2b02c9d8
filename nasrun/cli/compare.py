"""`nasrun compare DIR...`: finished runs side by side, with statistics over seeds."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nasrun.cli.arguments import Arguments
from nasrun.core.options import ConfigError
from nasrun.reports.compare import page as compare_page
from nasrun.reports.compare.checklist import FILE, as_markdown, checklist
from nasrun.reports.compare.numbers import measures, time_curves, trial_curves
from nasrun.reports.compare.plots import draw, save
from nasrun.reports.compare.runs import compare_runs
from nasrun.reports.compare.tables import print_tables, write_tables
from nasrun.reports.summary import nearby
from nasrun.storage.records import write_text

USAGE = "nasrun compare DIR... [by=KEY,...] [--checklist] [--out FOLDER]"


def compare(words: Sequence[str]) -> None:
    """Compare the runs that the words of the command line name: tables on stdout, files into a folder.

    ConfigError where the words make no sense, or the runs do not compare.
    """
    parser = Arguments("compare", USAGE, __doc__)
    what = "a run, or a folder with runs in it; by=KEY: what tells the groups apart (strategy unless it is given)"
    parser.add_argument("words", nargs="*", metavar="DIR", help=what)
    parser.add_argument("--checklist", action="store_true", help="also fill in the checklist of best practices")
    parser.add_argument("--out", type=Path, help="where the files go; by default compare/ in the common folder")
    arguments = parser.parse_intermixed_args(list(words))
    folders, by = _folders_and_keys(arguments.words)
    comparison = compare_runs(folders, by)
    out = arguments.out or Path(os.path.commonpath([folder.absolute() for folder in folders])) / "compare"
    found, trials, seconds = measures(comparison), trial_curves(comparison), time_curves(comparison)
    answers = checklist(comparison) if arguments.checklist else None
    figures = draw(found, trials, seconds, simulated=comparison.runs[0].simulated)
    curves = {"trials": trials, **({"seconds": seconds} if seconds else {})}
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_tables(out, comparison, found, curves, save(out, figures))
        page = compare_page.write_page(out, comparison, found, curves, figures, answers)
        if answers:
            write_text(out / FILE, as_markdown(answers))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written to ({error.strerror}); choose another: --out FOLDER") from error
    print_tables(comparison, found)
    for remark in comparison.remarks:
        print(f"nasrun: {remark}", file=sys.stderr)
    if answers:
        replies = [answer.reply for answer in answers]
        counts = ", ".join(f"{replies.count(reply)} {reply}" for reply in ("yes", "no", "unknown"))
        print(f"checklist: {counts}; see {nearby(out / FILE)}")
    print(f"tables and plots written to {nearby(out)}; one page with all: {nearby(page)}")


def _folders_and_keys(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders of a command line, and the keys of its `by=`."""
    folders: list[Path] = []
    by: list[str] = []
    for word in words:
        if Path(word).is_dir():
            folders.append(Path(word))
        elif word.startswith("by="):
            by += [key for key in word.removeprefix("by=").split(",") if key]
            if not by:
                raise ConfigError("by=: expected one or more keys, e.g. by=strategy.population")
        elif "=" in word:
            raise ConfigError(f"{word}: not expected; usage: {USAGE}")
        else:
            raise ConfigError(f"{word}: no such directory; usage: {USAGE}")
    if not folders:
        raise ConfigError(f"compare: expected run directories; usage: {USAGE}")
    return folders, by
