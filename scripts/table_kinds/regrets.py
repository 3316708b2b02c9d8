"""Regret per strategy from the runs of a sweep over a benchmark table.

    nasrun experiment=nasbench201_all hydra.sweep.dir=outputs/nasbench201_all
    python scripts/tables.py regrets outputs/nasbench201_all

Regret: the best value in the table less that of the run's best, in percentage points; the best is chosen only by
validation accuracy. p: two-sided Mann-Whitney U test of the validation regrets against those of random search, not
corrected for the number of strategies. One table per budget.
"""

import argparse
from collections.abc import Sequence

from nasrun.core.options import ConfigError
from nasrun.reports.compare.numbers import Measure, measures
from nasrun.reports.compare.question import Question
from nasrun.reports.compare.runs import compare_runs
from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from table_kinds.shared import add_folder, by_strategy, in_digits, over_seeds, print_table

PAIRS = (("dqn", "dqn_single"), ("dqn_lstm", "dqn_lstm_single"))
"""Pairs of two networks and one, which are compared with each other."""
HEADER = (
    *("strategy", "seeds", "trials", "val. regret, mean +- sd", "test regret, mean +- sd", "distinct", "p (random)"),
)

add_arguments = add_folder


def make(arguments: argparse.Namespace) -> None:
    """Print the table of each budget."""
    runs = sweep_runs(arguments.folder)
    for place, trials in enumerate(sorted({run.config["trials"] for run in runs})):
        print("\n" * (place > 0), end="")
        print_budget([run for run in runs if run.config["trials"] == trials])


def print_budget(runs: Sequence[SweepRun]) -> None:
    """Print the table of the runs of one budget."""
    comparison = compare_runs([run.directory for run in runs], ["strategy"])
    found = {one.name: one for one in measures(comparison, Question(test="mannwhitney"))}
    if not {"val_regret", "test_regret"} <= {*found}:
        raise ConfigError(f"{runs[0].directory}: no regrets; needs runs of evaluator=table with a table that has them")
    groups, tests = by_strategy(runs), {row.group: row for row in found["test_regret"].rows}
    lines = []
    for row in found["val_regret"].rows:
        trials, distinct = (
            over_seeds([run.summary[key] for run in groups[row.group]]).mean
            for key in ("trials", "distinct_architectures")
        )
        regrets = [in_digits(one, 3, scale=100) for one in (row, tests[row.group])]
        p = p_of(found["val_regret"], row.group, "random")
        cells = [row.group, str(row.seeds), f"{trials:.0f}", *regrets, f"{distinct:.0f}"]
        lines.append([*cells, "-" if p is None else f"{p:.2g}"])
    print_table(HEADER, lines)
    for two, one in PAIRS:
        p = p_of(found["val_regret"], two, one)
        if p is not None:
            print(f"\n{two} against {one}: p = {p:.2g}.")


def p_of(measure: Measure, first: str, second: str) -> float | None:
    """The p-value of a pair of groups, in either order; None if they were not tested."""
    return next((test.p for test in measure.tests if {test.first, test.second} == {first, second}), None)
