"""Hypervolumes per strategy from the runs of a sweep with several objectives over NAS-Bench-201's table.

    nasrun experiment=nasbench201_fronts hydra.sweep.dir=outputs/fronts
    python scripts/make_front_table.py outputs/fronts

A hypervolume is that of the trials up to a budget, above `objective.reference`, in percent of what the front of the
whole table has. Found: how many of the points of that front were measured. p: two-sided paired permutation test against
random search, seeds paired. Prints Markdown, one line per budget and strategy.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from sweep_runs import SweepRun, by_strategy, sweep_runs

from nasrun.reports.compare.statistics import permutation_test
from nasrun.reports.front import hypervolume, non_dominated
from nasrun.tables.nasbench201 import NasBench201

BUDGETS = (100, 200, 300, 500)
METRICS = ("val_accuracy", "parameters")
SIGNS = np.array([1.0, -1.0])
"""Accuracy is better where it is higher, parameters where they are fewer."""


def measured(run: SweepRun) -> np.ndarray:
    """Accuracy and parameters of every trial in order, higher is better: float (trials, 2)."""
    with (run.directory / "trials.csv").open() as file:
        rows = [[float(row[metric]) for metric in METRICS] for row in csv.DictReader(file)]
    return np.array(rows) * SIGNS


def front_of_table(run: SweepRun) -> np.ndarray:
    """The front of all architectures of the table on the data set of a run, float (points, 2)."""
    table = NasBench201()
    table.load()
    epochs = run.config["evaluator"]["epochs"] or max(table.epochs)
    values = table.trainings(run.choices["dataset"], epochs).validation
    scores = np.stack([values, table.parameters(run.choices["dataset"])], axis=1) * SIGNS
    return np.unique(scores[non_dominated(scores)], axis=0)


def main() -> None:
    """Print the table of a sweep's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    runs = sweep_runs(parser.parse_args().sweep)
    objective = runs[0].config["objective"]
    if any(run.config["objective"] != objective for run in runs) or objective["metric"] != list(METRICS):
        sys.exit(f"all runs need the same objective.metric=[{','.join(METRICS)}] and objective.reference")
    if objective["reference"] is None:
        sys.exit("objective.reference: null; fronts compare above one reference point only")
    reference = np.array(objective["reference"]) * SIGNS
    best = front_of_table(runs[0])
    groups = by_strategy(runs)
    print(f"| trials | strategy | seeds | hypervolume (%), mean +- sd | of the front's {len(best)} | p (random) |")
    print("|---|---|---|---|---|---|")
    for budget in BUDGETS:
        if budget <= min(run.config["trials"] for run in runs):
            scores = {name: [measured(run)[:budget] for run in group] for name, group in groups.items()}
            print_rows(budget, scores, best, reference)


def print_rows(budget: int, scores: dict[str, list[np.ndarray]], best: np.ndarray, reference: np.ndarray) -> None:
    """Print what the strategies found within a budget; `scores`: float (trials, 2) of each run, by seed."""
    whole = hypervolume(best, reference)
    shares = {
        name: np.array([100 * hypervolume(found, reference) / whole for found in runs]) for name, runs in scores.items()
    }
    for name, share in shares.items():
        hits = [sum(np.isclose(found, point).all(axis=1).any() for point in best) for found in scores[name]]
        paired = "random" in shares and name != "random" and len(shares["random"]) == len(share)
        p = f"{permutation_test(share, shares['random']):.2g}" if paired else "-"
        spread = f"{share.mean():.2f} +- {share.std(ddof=1):.2f}"
        print(f"| {budget} | {name} | {len(share)} | {spread} | {np.mean(hits):.1f} | {p} |")


if __name__ == "__main__":
    main()
