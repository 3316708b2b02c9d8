"""The course report's table, best accuracy and parameters per mutation, from the runs of a sweep.

    nasrun experiment=course_mutations hydra.sweep.dir=outputs/mutations
    python scripts/make_course_table.py outputs/mutations

Prints Markdown: the mutation, the winner's validation accuracy in the search, its test accuracy after the final
training, its parameters, the best of the report beside it; and below, over all runs, the smallest network that reached
75 % on the validation data.
"""

import argparse
import csv
from pathlib import Path

from sweep_runs import sweep_runs

REPORT = {
    "filters": (0.7471, 1_692_572),
    "inversion": (0.7448, 170_818),
    "swap": (0.8228, 60_542),
    "add_layer": (0.8995, 220_858),
}
"""Accuracy and parameters as printed in the report, section V; it gives none for `replace_layer`."""

REACHED = 0.75


def main() -> None:
    """Print the table of a sweep's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    runs = sweep_runs(parser.parse_args().sweep)
    print("| mutation | trials | val. accuracy | test accuracy | parameters | report: accuracy | report: parameters |")
    print("|---|---|---|---|---|---|---|")
    smallest: tuple[int, float, str, str] | None = None
    for run in runs:
        names = run.config["strategy"]["mutations"]
        mutation = ", ".join(names) if names else "all"
        summary = run.summary
        best = summary["best"]
        accuracy, parameters = REPORT.get(mutation, (None, None))
        beside = f"{accuracy:.4f} | {parameters:,}" if accuracy is not None else "- | -"
        print(
            f"| {mutation} | {summary['trials']} | {best['metrics']['val_accuracy']:.4f} "
            f"| {summary['final']['test_accuracy']:.4f} | {best['parameters']:,} | {beside} |"
        )
        with (run.directory / "trials.csv").open() as file:
            for row in csv.DictReader(file):
                if row["status"] == "ok" and float(row["val_accuracy"]) >= REACHED:
                    found = (int(row["parameters"]), float(row["val_accuracy"]), row["genome"], run.directory.name)
                    smallest = min(smallest, found) if smallest else found
    if smallest:
        print(
            f"\nSmallest network of at least {REACHED:.0%} on the validation data: {smallest[0]:,} parameters, "
            f"{smallest[1]:.4f}, `{smallest[2]}` (run {smallest[3]})."
        )


if __name__ == "__main__":
    main()
