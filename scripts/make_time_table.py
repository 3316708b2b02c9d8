"""Epochs and seconds until a level of accuracy, with trainings that are stopped early against full ones.

    nasrun -m experiment=asha_fashion_mnist_baseline seed=0,1,2,3,4,5 hydra.sweep.dir=outputs/asha/random
    nasrun -m experiment=asha_fashion_mnist seed=0,1,2,3,4,5 hydra.sweep.dir=outputs/asha/asha
    python scripts/make_time_table.py outputs/asha

Counted are the epochs that were trained (a trial that goes on from a checkpoint trains only what it adds; of a table,
whose trainings do not go on from each other, all count) and the seconds that trials took, in the order of the trials,
until the best objective of a trial of the highest budget reaches a level. Two levels: what random search with the same
seed ends with, and the median of that over the seeds. A level that a run does not reach counts with all that the run
took, which is too little, and is marked by `>`. Prints Markdown.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sweep_runs import SweepRun, sweep_runs

BASELINE = "random"


class Point(NamedTuple):
    """A run after a trial: epochs and seconds so far, and the best at the highest budget (turned: more is better)."""

    epochs: float
    seconds: float
    best: float


class Reached(NamedTuple):
    """What a run took to a level, or in all where it did not get there (`there` is False)."""

    epochs: float
    seconds: float
    there: bool


def curve(run: SweepRun) -> list[Point]:
    """A run trial by trial."""
    with (run.directory / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
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
    """What it took until the best reached a level."""
    for point in points:
        if point.best >= level:
            return Reached(point.epochs, point.seconds, True)
    return Reached(points[-1].epochs, points[-1].seconds, False)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and sample standard deviation."""
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values) if len(values) > 1 else 0:.{digits}f}"


def curves(folder: Path) -> dict[str, dict[int, list[Point]]]:
    """The runs below a folder: strategy, seed, curve."""
    found: dict[str, dict[int, list[Point]]] = {}
    for place in sorted({path.parent.parent for path in folder.rglob("summary.json")}):
        for run in sweep_runs(place):
            found.setdefault(run.choices["strategy"], {})[run.config["seed"]] = curve(run)
    return found


def main() -> None:
    """Print the tables of a folder of sweeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = curves(folder)
    if BASELINE not in found or len(found) < 2:
        print(f"{folder}: holds no finished runs of strategy={BASELINE} and of another strategy", file=sys.stderr)
        sys.exit(2)
    for name in sorted(set(found) - {BASELINE}):
        print_tables(name, found[name], found[BASELINE])


def print_tables(name: str, ours: Mapping[int, list[Point]], theirs: Mapping[int, list[Point]]) -> None:
    """Print a strategy against the baseline: a row per seed, then the means."""
    seeds = sorted(set(ours) & set(theirs))
    levels = [theirs[seed][-1].best for seed in seeds]
    print(
        f"| seed | best of {BASELINE} | best of {name} | epochs of {BASELINE} to its best | of {name} to that | ratio |"
    )
    print("|---|---|---|---|---|---|")
    for seed, level in zip(seeds, levels, strict=True):
        one, two = until(theirs[seed], level), until(ours[seed], level)
        more, less = ("", "") if two.there else ("> ", "< ")
        cells = [f"{abs(level):.4f}", f"{abs(ours[seed][-1].best):.4f}", f"{one.epochs:.0f}"]
        cells += [f"{more}{two.epochs:.0f}", f"{less}{one.epochs / two.epochs:.2f}"]
        print(f"| {seed} | {' | '.join(cells)} |")
    print(f"\n| mean ± sd of {len(seeds)} seeds | {BASELINE} | {name} |\n|---|---|---|")
    ends = [[runs[seed][-1] for seed in seeds] for runs in (theirs, ours)]
    print_row("best", [spread([abs(end.best) for end in some], 4) for some in ends])
    print_row("epochs in all", [spread([end.epochs for end in some], 0) for some in ends])
    print_row("seconds in all", [spread([end.seconds for end in some], 0) for some in ends])
    median = statistics.median(levels)
    for title, marks in (
        (f"the seed's best of {BASELINE}", levels),
        (f"{abs(median):.4f}, the median of these", [median] * len(seeds)),
    ):
        both = [[until(runs[seed], mark) for seed, mark in zip(seeds, marks, strict=True)] for runs in (theirs, ours)]
        print_row(f"seeds that reach {title}", [str(sum(one.there for one in some)) for some in both])
        print_row("epochs until then", [spread([one.epochs for one in some], 0) for some in both])
        print_row("seconds until then", [spread([one.seconds for one in some], 0) for some in both])


def print_row(title: str, cells: Sequence[str]) -> None:
    """Print a row of a table."""
    print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
