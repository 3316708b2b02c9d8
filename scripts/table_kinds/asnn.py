"""The ASNN paper's tables from run directories: a row per architecture, its repeats and their mean.

    python scripts/tables.py asnn DIR... [--csv FILE]

L1, L2 (and L3), E1, E2, ... and the mean, the widest first if a grid made the rows, else in the order of the trials;
the best architecture of each run, by the operator that proposed it; and, if the paper prints the same widths, its mean
beside the one measured here. `--csv` writes the first table. All runs must have the same depth.
"""

import argparse
import csv
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError
from nasrun.tables.asnn import UNITS, Asnn
from table_kinds.shared import add_runs, directories, over_seeds, print_table


class Row(NamedTuple):
    """An architecture in one run: widths of its hidden layers, the operator that proposed it, and its repeats."""

    run: str
    widths: tuple[int, ...]
    origin: str
    values: list[float]

    @property
    def mean(self) -> float:
        return exact_mean(self.values)


def read_rows(run: Path) -> tuple[str, list[Row]]:
    """The objective of a run, and a row per trial with its own measurements."""
    objective = json.loads((run / "summary.json").read_text())["objective"]["metric"]
    values: dict[str, list[float]] = {}
    with (run / "measurements.csv").open() as file:
        for line in csv.DictReader(file):
            if line["status"] == "ok":
                values.setdefault(line["trial"], []).append(float(line[objective]))
    with (run / "trials.csv").open() as file:
        trials = [line for line in csv.DictReader(file) if line["trial"] in values]
    rows = [
        Row(str(run), tuple(map(int, line["genome"].split("-"))), line["origin"], values[line["trial"]])
        for line in trials
    ]
    grid = sorted((row for row in rows if row.origin == "grid"), key=lambda row: row.widths, reverse=True)
    return objective, grid + [row for row in rows if row.origin != "grid"]


def interval(values: list[float]) -> float:
    """Half the width of the 95 % interval of a mean, by the normal approximation, which also gives an interval for the
    difference of two means of which one is known only by its printed repeats."""
    deviation = over_seeds(values).deviation
    return math.nan if deviation is None else 1.96 * deviation / math.sqrt(len(values))


def paper_layout(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the paper's table; accuracies with four decimals, means with five."""
    repeats = max(len(row.values) for row in rows)
    header = [f"L{i}" for i in range(1, len(rows[0].widths) + 1)]
    header += [f"E{i}" for i in range(1, repeats + 1)] + ["mean"]
    cells = []
    for row in rows:
        measured = [f"{value:.4f}" for value in row.values] + [""] * (repeats - len(row.values))
        cells.append([*map(str, row.widths), *measured, f"{row.mean:.5f}"])
    return header, cells


def best_by_origin(rows: list[Row]) -> list[list[str]]:
    """The best row of each run and operator."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.run, row.origin), []).append(row)
    cells = []
    for (run, origin), group in groups.items():
        best = max(group, key=lambda row: row.mean)
        mean = f"{best.mean:.5f} +- {interval(best.values):.5f}"
        cells.append([run, origin, str(len(group)), "-".join(map(str, best.widths)), mean])
    return cells


def beside_the_paper(rows: list[Row]) -> list[list[str]]:
    """The rows whose widths the paper prints: both means with intervals, and their difference."""
    printed = Asnn()
    printed.load()
    cells = []
    for row in rows:
        place = printed.row_of(row.widths)
        if place is None:
            continue
        theirs = [value / UNITS for value in printed.arrays["accuracies"][place].tolist()]
        both = math.hypot(interval(theirs), interval(row.values))
        cells.append(
            [
                "-".join(map(str, row.widths)),
                f"{exact_mean(theirs):.5f} +- {interval(theirs):.5f}",
                f"{row.mean:.5f} +- {interval(row.values):.5f}",
                f"{row.mean - exact_mean(theirs):+.5f} +- {both:.5f}",
            ]
        )
    return cells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for runs and output."""
    add_runs(parser)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows of the paper's layout there")


def make(arguments: argparse.Namespace) -> None:
    """Print the tables of some run directories."""
    rows: list[Row] = []
    objectives: dict[str, None] = {}
    for run in directories(arguments.runs):
        try:
            objective, found = read_rows(run)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{run}: not a finished run of search_space=mlp ({error})") from error
        objectives[objective] = None
        rows += found
    if not rows or len({len(row.widths) for row in rows}) > 1 or len(objectives) > 1:
        raise ConfigError("the runs must hold measured architectures of one depth and one objective")
    header, cells = paper_layout(rows)
    print(f"{next(iter(objectives))} of each repeat:\n")
    print_table(header, cells)
    print("\nBest by run and operator (mean, 95 % interval):\n")
    print_table(["run", "proposed by", "architectures", "best", "mean"], best_by_origin(rows))
    compared = beside_the_paper(rows)
    if compared:
        print("\nWidths that the paper prints (mean of its test accuracies, 95 % intervals):\n")
        print_table(["widths", "paper", "here", "difference"], compared)
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *cells])
        print(f"\nwritten: {arguments.csv}", file=sys.stderr)
