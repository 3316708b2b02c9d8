"""Epochs and seconds until a level of accuracy, with training that is stopped early compared with full training.

    nasrun -m experiment=asha_fashion_mnist_baseline seed=0,1,2,3,4,5 hydra.sweep.dir=outputs/asha/random
    nasrun -m experiment=asha_fashion_mnist seed=0,1,2,3,4,5 hydra.sweep.dir=outputs/asha/asha
    python scripts/tables.py speed outputs/asha

Counts the epochs that were trained (a trial that continues from a checkpoint trains only what it adds; with a table,
whose training runs do not continue each other, all count) and the seconds that trials took, in the order of the trials,
until the best objective of a trial of the highest budget reaches a level. Two levels: the final result of random search
with the same seed, and the median of that over the seeds. A run that does not reach a level counts with its total,
which is too low, and is marked by `>`.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nasrun.core.options import ConfigError
from nasrun.reports.summary import SUMMARY
from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from table_kinds.shared import over_seeds, print_table

BASELINE = "random"


class Point(NamedTuple):
    """A run after a trial: epochs and seconds so far, and the best at the highest budget (signed so that higher is
    better)."""

    epochs: float
    seconds: float
    best: float


class Reached(NamedTuple):
    """The cost of a run up to a level, or in all if it did not reach it (`there` is False)."""

    epochs: float
    seconds: float
    there: bool


def curve(run: SweepRun) -> list[Point]:
    """A run trial by trial."""
    rows = run.rows
    metric, mode = run.summary["objective"]["metric"], run.summary["objective"]["mode"]
    budget = max(float(row["epochs"]) for row in rows if row["epochs"])
    goes_on = run.choices.get("evaluator") != "table"
    points, reached = [Point(0.0, 0.0, -float("inf"))], {}
    for row in rows:
        epochs, seconds, best = points[-1]
        if row["epochs"] and not row["reuse_of"]:
            reached[row["trial"]] = float(row["epochs"])
            before = reached[row["parent"]] if row["origin"] == "promote" and goes_on else 0.0
            epochs += reached[row["trial"]] - before
        seconds += float(row["seconds"] or 0)
        if row["epochs"] and float(row["epochs"]) == budget:
            best = max(best, float(row[metric]) if mode == "max" else -float(row[metric]))
        points.append(Point(epochs, seconds, best))
    return points


def until(points: Sequence[Point], level: float) -> Reached:
    """The cost until the best reached a level."""
    for point in points:
        if point.best >= level:
            return Reached(point.epochs, point.seconds, True)
    return Reached(points[-1].epochs, points[-1].seconds, False)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and sample standard deviation, 0 for a single value."""
    row = over_seeds(values)
    return f"{row.mean:.{digits}f} ± {row.deviation or 0:.{digits}f}"


def curves(folder: Path) -> dict[str, dict[int, list[Point]]]:
    """The runs below a folder: strategy, seed, curve."""
    found: dict[str, dict[int, list[Point]]] = {}
    for place in sorted({path.parent.parent for path in folder.rglob(SUMMARY)}):
        for run in sweep_runs(place):
            found.setdefault(run.choices["strategy"], {})[run.config["seed"]] = curve(run)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the folder of all sweeps."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder with the folders of the sweeps")


def make(arguments: argparse.Namespace) -> None:
    """Print the tables of a folder of sweeps."""
    found = curves(arguments.folder)
    if BASELINE not in found or len(found) < 2:
        raise ConfigError(f"{arguments.folder}: holds no finished runs of strategy={BASELINE} and of another strategy")
    for name in sorted(set(found) - {BASELINE}):
        print_tables(name, found[name], found[BASELINE])


def print_tables(name: str, ours: Mapping[int, list[Point]], theirs: Mapping[int, list[Point]]) -> None:
    """Print a comparison of a strategy with the baseline: a row per seed, then the means."""
    seeds = sorted(set(ours) & set(theirs))
    levels = [theirs[seed][-1].best for seed in seeds]
    header = [f"best of {BASELINE}", f"best of {name}", f"epochs of {BASELINE} to its best", f"of {name} to that"]
    rows = [seed_cells(seed, level, ours[seed], theirs[seed]) for seed, level in zip(seeds, levels, strict=True)]
    print_table(["seed", *header, "ratio"], rows)
    print()
    ends = [[runs[seed][-1] for seed in seeds] for runs in (theirs, ours)]
    rows = [
        ["best", *(spread([abs(end.best) for end in some], 4) for some in ends)],
        ["epochs in all", *(spread([end.epochs for end in some], 0) for some in ends)],
        ["seconds in all", *(spread([end.seconds for end in some], 0) for some in ends)],
    ]
    median = statistics.median(levels)
    for title, marks in (
        (f"the seed's best of {BASELINE}", levels),
        (f"{abs(median):.4f}, the median of these", [median] * len(seeds)),
    ):
        both = [[until(runs[seed], mark) for seed, mark in zip(seeds, marks, strict=True)] for runs in (theirs, ours)]
        rows.append([f"seeds that reach {title}", *(str(sum(one.there for one in some)) for some in both)])
        rows.append(["epochs until then", *(spread([one.epochs for one in some], 0) for some in both)])
        rows.append(["seconds until then", *(spread([one.seconds for one in some], 0) for some in both)])
    print_table([f"mean ± sd of {len(seeds)} seeds", BASELINE, name], rows)


def seed_cells(seed: int, level: float, ours: Sequence[Point], theirs: Sequence[Point]) -> list[str]:
    """The row of a seed: both bests, and the epochs that each took to the baseline's."""
    one, two = until(theirs, level), until(ours, level)
    more, less = ("", "") if two.there else ("> ", "< ")
    bests = [f"{abs(level):.4f}", f"{abs(ours[-1].best):.4f}"]
    return [str(seed), *bests, f"{one.epochs:.0f}", f"{more}{two.epochs:.0f}", f"{less}{one.epochs / two.epochs:.2f}"]
