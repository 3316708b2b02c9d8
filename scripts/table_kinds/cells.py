"""The resulting cells of NAS-Bench-201 runs, by the table's training of 200 epochs: methods side by side.

    nasrun -m evaluator=darts,gdas,pc_darts,sgas strategy=derived search_space=nasbench201 seed=0,1,2 \\
        hydra.sweep.dir=outputs/cells ...
    python scripts/tables.py cells outputs/cells [DIR...]

A row for each evaluator with its strategy: seeds, seconds of training and scoring (wall time, so a busy machine
counts), test accuracy of the run's resulting cell in percent, and its numbers of skip connections and of edges without
an operation. The last row is the mean over all 15,625 cells, for a cell drawn at random. A folder is that of a run, or
holds runs; all on search_space=nasbench201.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, Job, Proposal, SearchSpace, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.storage.records import read_run
from table_kinds.shared import add_runs, directories, print_table, spread

HEADER = ("evaluator", "strategy", "seeds", "seconds", "test accuracy, %", "skip connections", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the runs, and the data set of the table."""
    add_runs(parser)
    parser.add_argument("--dataset", default="cifar10", help="data set of the table: cifar10, cifar100 or imagenet16")


def make(arguments: argparse.Namespace) -> None:
    """Print the table."""
    space = NASBench201()
    groups: dict[tuple[str, str], list[tuple[Genome, float]]] = {}
    for directory in directories(arguments.runs):
        name, genome, seconds = found_by(directory, space)
        groups.setdefault(name, []).append((genome, seconds))
    everything = list(_all_cells(space))
    accuracy = dict(zip(everything, accuracies(everything, arguments.dataset), strict=True))
    rows = []
    for (evaluator, strategy), found in groups.items():
        genomes, spent = [genome for genome, _ in found], [one for _, one in found]
        counts = (spread([float(genome.count(name)) for genome in genomes], 1) for name in ("skip_connect", "none"))
        values = spread([100 * accuracy[genome] for genome in genomes], 2)
        rows.append([evaluator, strategy, str(len(found)), spread(spent, 0), values, *counts])
    rows.append(["", "a cell at random", "", "0", f"{100 * sum(accuracy.values()) / len(accuracy):.2f}", "1.2", "1.2"])
    print_table(HEADER, rows)


def found_by(directory: Path, space: SearchSpace) -> tuple[tuple[str, str], Genome, float]:
    """The kind of a run, its resulting cell, and the seconds of its search."""
    try:
        summary = json.loads((directory / "summary.json").read_text())
        choices = json.loads((directory / "environment.json").read_text())["choices"]
        genome = space.parse(summary["best"]["genome"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{directory}: holds no finished run on search_space=nasbench201") from None
    run = read_run(directory)
    seconds = sum(event.seconds for event in run.shared) + sum(record.seconds for record in run.trials.values())
    return (choices["evaluator"], choices["strategy"]), genome, seconds


def accuracies(genomes: Sequence[Genome], dataset: str) -> list[float]:
    """Test accuracies of cells by the table, after 200 epochs."""
    words = ["search_space=nasbench201", "evaluator=table", "strategy=random", f"dataset={dataset}"]
    evaluator = build(task_config(compose_config(words))).evaluator
    evaluator.prepare()
    jobs = (Job(Trial(number, Proposal(genome)), 0, number) for number, genome in enumerate(genomes))
    return [float(evaluator.final(job)["metrics"]["test_accuracy"]) for job in jobs]


def _all_cells(space: SearchSpace) -> Sequence[Genome]:
    cells: list[Genome] = [()]
    for choices in space.positions():
        cells = [(*cell, choice) for cell in cells for choice in choices]
    return cells
