"""The common part of the tables: the finished runs below folders, numbers as in `nasrun compare`, and Markdown."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from nasrun.reports.compare.numbers import Row, tabulate
from nasrun.reports.compare.question import PLAIN
from nasrun.reports.summary import SUMMARY
from nasrun.reports.sweep_runs import SweepRun


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the argument `folder`: that of a sweep."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the sweep")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the argument `runs`: run directories, or folders of sweeps."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="DIR", help="a run directory, or the folder of a sweep")


def directories(folders: Iterable[Path]) -> list[Path]:
    """The run directories below folders, in order of their names; a folder without any is returned itself."""
    found = ((sorted(one.parent for one in folder.rglob(SUMMARY)) or [folder]) for folder in folders)
    return [directory for some in found for directory in some]


def by_strategy(runs: Sequence[SweepRun]) -> dict[str, list[SweepRun]]:
    """The runs of each strategy, strategies in the order of the sweep, runs by seed."""
    groups: dict[str, list[SweepRun]] = {}
    for run in sorted(runs, key=lambda run: int(run.directory.name.partition("_")[0])):
        groups.setdefault(run.choices["strategy"], []).append(run)
    return {name: sorted(group, key=lambda run: run.config["seed"]) for name, group in groups.items()}


def over_seeds(values: Sequence[float]) -> Row:
    """Mean, sample deviation (None for one value), interval and best (highest) of values, as in a comparison."""
    [row] = tabulate("", "max", {"": dict(enumerate(values))}, [], PLAIN).rows
    return row


def spread(values: Sequence[float], digits: int, sign: str = "+-") -> str:
    """Mean and sample deviation with so many digits; without the deviation for a single value."""
    return in_digits(over_seeds(values), digits, sign)


def in_digits(row: Row, digits: int, sign: str = "+-", scale: float = 1) -> str:
    """Mean and deviation of a row, both times `scale`."""
    deviation = "" if row.deviation is None else f" {sign} {scale * row.deviation:.{digits}f}"
    return f"{scale * row.mean:.{digits}f}{deviation}"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
