"""The course report's table, best accuracy and parameters per mutation, from the runs of a sweep.

    nasrun experiment=course_mutations hydra.sweep.dir=outputs/mutations
    python scripts/tables.py course outputs/mutations

Columns: the mutation, the winner's validation accuracy in the search, its test accuracy after the final training, its
parameters, and the best of the report; below, over all runs, the smallest network that reached 75 % on the validation
data.
"""

import argparse
from collections.abc import Sequence

from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from table_kinds.shared import add_folder, print_table

REPORT = {
    "filters": (0.7471, 1_692_572),
    "inversion": (0.7448, 170_818),
    "swap": (0.8228, 60_542),
    "add_layer": (0.8995, 220_858),
}
"""Accuracy and parameters as printed in the report, section V; it gives none for `replace_layer`."""

REACHED = 0.75
HEADER = ("mutation", "trials", "val. accuracy", "test accuracy", "parameters")
BESIDE = ("report: accuracy", "report: parameters")

add_arguments = add_folder


def make(arguments: argparse.Namespace) -> None:
    """Print the table of a sweep's folder."""
    runs = sweep_runs(arguments.folder)
    print_table([*HEADER, *BESIDE], [cells(run) for run in runs])
    found = smallest(runs)
    if found:
        parameters, accuracy, genome, name = found
        print(
            f"\nSmallest network of at least {REACHED:.0%} on the validation data: {parameters:,} parameters, "
            f"{accuracy:.4f}, `{genome}` (run {name})."
        )


def cells(run: SweepRun) -> Sequence[str]:
    """The row of a run, with the report's numbers beside it."""
    names, best = run.config["strategy"]["mutations"], run.summary["best"]
    mutation = ", ".join(names) if names else "all"
    printed = REPORT.get(mutation)
    return [
        *(mutation, str(run.summary["trials"]), f"{best['metrics']['val_accuracy']:.4f}"),
        *(f"{run.summary['final']['test_accuracy']:.4f}", f"{best['parameters']:,}"),
        *((f"{printed[0]:.4f}", f"{printed[1]:,}") if printed else ("-", "-")),
    ]


def smallest(runs: Sequence[SweepRun]) -> tuple[int, float, str, str] | None:
    """Parameters, accuracy, genome and run of the smallest network that reached the level; None if none did."""
    reached = [
        (int(row["parameters"]), float(row["val_accuracy"]), row["genome"], run.directory.name)
        for run in runs
        for row in run.rows
        if row["status"] == "ok" and float(row["val_accuracy"]) >= REACHED
    ]
    return min(reached, default=None)
