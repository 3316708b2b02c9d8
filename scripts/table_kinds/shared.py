"""What the tables share: the finished runs below folders, numbers as `nasrun compare` makes them, and Markdown."""

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.core.options import ConfigError
from nasrun.reports.compare.numbers import Row, tabulate
from nasrun.reports.compare.question import PLAIN
from nasrun.reports.summary import SUMMARY
from nasrun.storage.records import CONFIG


@dataclass(frozen=True)
class SweepRun:
    """A finished run: the options chosen in each group, its config, its summary, and its folder."""

    directory: Path
    choices: Mapping[str, str]
    config: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of `trials.csv`."""
        with (self.directory / "trials.csv").open() as file:
            return list(csv.DictReader(file))

    def values(self, metric: str) -> list[float | None]:
        """The metric of every trial in order; None where a trial gave none."""
        return [float(row[metric]) if row[metric] else None for row in self.rows]


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The argument `folder`: of a sweep."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the sweep")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The argument `runs`: run directories, or folders of sweeps."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="DIR", help="a run directory, or the folder of a sweep")


def directories(folders: Iterable[Path]) -> list[Path]:
    """The run directories below folders, in order of their names; a folder without any stands for itself."""
    found = ((sorted(one.parent for one in folder.rglob(SUMMARY)) or [folder]) for folder in folders)
    return [directory for some in found for directory in some]


def sweep_runs(folder: Path) -> list[SweepRun]:
    """The finished runs below a folder, in the order of their names; ConfigError where there are none."""
    found = []
    for path in sorted(folder.glob(f"*/{SUMMARY}")):
        environment = json.loads((path.parent / "environment.json").read_text())
        config = OmegaConf.to_container(OmegaConf.load(path.parent / CONFIG), resolve=True)
        assert isinstance(config, dict)
        content = {str(key): value for key, value in config.items()}
        found.append(SweepRun(path.parent, environment["choices"], content, json.loads(path.read_text())))
    if not found:
        raise ConfigError(f"{folder}: holds no finished runs")
    return found


def by_strategy(runs: Sequence[SweepRun]) -> dict[str, list[SweepRun]]:
    """The runs of each strategy, strategies in the order in which the sweep ran them, runs by seed."""
    groups: dict[str, list[SweepRun]] = {}
    for run in sorted(runs, key=lambda run: int(run.directory.name.partition("_")[0])):
        groups.setdefault(run.choices["strategy"], []).append(run)
    return {name: sorted(group, key=lambda run: run.config["seed"]) for name, group in groups.items()}


def over_seeds(values: Sequence[float]) -> Row:
    """Mean, sample deviation (None for one value), interval and best (highest) of values, as in a comparison."""
    [row] = tabulate("", "max", {"": dict(enumerate(values))}, [], PLAIN).rows
    return row


def spread(values: Sequence[float], digits: int, sign: str = "+-") -> str:
    """Mean and sample deviation in so many digits; without the deviation for a single value."""
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
