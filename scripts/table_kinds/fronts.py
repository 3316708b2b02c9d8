"""Hypervolumes per strategy from the runs of a sweep with several objectives over NAS-Bench-201's table.

    nasrun experiment=nasbench201_fronts hydra.sweep.dir=outputs/fronts
    python scripts/tables.py fronts outputs/fronts

A hypervolume is that of the trials up to a budget, above `objective.reference`, in percent of that of the front of the
whole table. Found: the number of points of that front that were measured. p: two-sided paired permutation test against
random search, seeds paired. One line per budget and strategy.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from nasrun.core.options import ConfigError
from nasrun.reports.compare.numbers import front_volumes, tabulate
from nasrun.reports.compare.question import Question
from nasrun.reports.compare.read import ComparedRun
from nasrun.reports.compare.runs import Comparison, compare_runs
from nasrun.reports.front import hypervolume, non_dominated
from nasrun.reports.sweep_runs import sweep_runs
from nasrun.tables.nasbench201 import NasBench201
from table_kinds.shared import add_folder, in_digits, over_seeds, print_table

BUDGETS = (100, 200, 300, 500)
METRICS = ["val_accuracy", "parameters"]
SIGNS = np.array([1.0, -1.0])
"""Higher is better for accuracy, lower for parameters."""

add_arguments = add_folder


def make(arguments: argparse.Namespace) -> None:
    """Print the table."""
    comparison = compare_runs([run.directory for run in sweep_runs(arguments.folder)], ["strategy"])
    first = comparison.runs[0]
    references = {str(run.config["objective.reference"]) for run in comparison.runs}
    if [one.metric for one in first.objectives] != METRICS or len(references) > 1 or references == {"None"}:
        raise ConfigError(
            f"{arguments.folder}: all runs need objective.metric=[{','.join(METRICS)}] and one objective.reference"
        )
    best = front_of_table(first)
    seeds = "strategy", "seeds", "hypervolume (%), mean +- sd"
    print_table(["trials", *seeds, f"of the front's {len(best)}", "p (random)"], lines(comparison, best))


def front_of_table(run: ComparedRun) -> np.ndarray:
    """The front of all architectures of the table on the data set of a run, higher is better: float (points, 2)."""
    table = NasBench201()
    table.load()
    epochs = run.config["evaluator.epochs"] or max(table.epochs)
    dataset = str(run.value("dataset"))
    values = table.trainings(dataset, epochs).validation
    scores = np.stack([values, table.parameters(dataset)], axis=1) * SIGNS
    return np.unique(scores[non_dominated(scores)], axis=0)


def lines(comparison: Comparison, best: np.ndarray) -> Iterator[Sequence[str]]:
    """The cells of each budget and strategy, the better strategies first."""
    volume = front_volumes(comparison)
    assert volume is not None
    whole = hypervolume(best, np.array(comparison.runs[0].config["objective.reference"]) * SIGNS)
    question = Question(reference="random" if "random" in comparison.groups else None)
    for budget in BUDGETS:
        if budget > min(run.config["trials"] for run in comparison.runs):
            return
        shares = {
            name: {run.seed: 100 * volume(run, budget) / whole for run in runs}
            for name, runs in comparison.groups.items()
        }
        measure = tabulate("hypervolume", "max", shares, comparison.seeds, question)
        p = {group: test.p for test in measure.tests for group in (test.first, test.second) if group != "random"}
        for row in measure.rows:
            hits = over_seeds([found(run, best, budget) for run in comparison.groups[row.group]]).mean
            cells = [str(budget), row.group, str(row.seeds), in_digits(row, 2), f"{hits:.1f}"]
            yield [*cells, f"{p[row.group]:.2g}" if question.reference and row.group in p else "-"]


def found(run: ComparedRun, best: np.ndarray, trials: int) -> int:
    """The number of points of a front (points, 2) that the first trials of a run have measured."""
    assert run.scores is not None
    measured = run.scores[:trials] * SIGNS
    return sum(bool(np.isclose(measured, point).all(axis=1).any()) for point in best)
