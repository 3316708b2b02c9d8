"""The table of MIHA and its baselines from run directories: a row per strategy, mean and spread over seeds.

    python scripts/tables.py miha DIR... [--best] [--csv FILE]

Columns: runs (seeds); epochs trained in all, and those of the run's resulting network; its test metric, measured once
(accuracy, or for regression the loss on the gaps and on the whole picture), as mean, sample standard deviation, minimum
and maximum; megabytes of checkpoints. For MIHA this network is the last one, as published. `--best`: also the test
metric of the trial that is best by the objective, for runs that kept its checkpoint, which requires loading the data.
`--csv` writes a row per run.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import build
from nasrun.config.stored_run import check_data
from nasrun.core import Job, Objective
from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.paths import find_paths
from nasrun.storage.records import RunRecords, best_of, outcome, read_run
from nasrun.storage.run_directory import load_config
from table_kinds import shared


class Row(NamedTuple):
    """One run: its name in the table, and its results; `best` holds the test metrics of the best trial."""

    label: str
    directory: Path
    seed: int
    total_epochs: int
    epochs: int
    tests: Mapping[str, float]
    best: Mapping[str, float]
    megabytes: float


def runs_of(path: Path) -> list[Path]:
    """The run directories at or below a path."""
    return sorted(found.parent for found in path.rglob(journal.NAME))


def label_of(section: Mapping[str, Any], name: str, record_epochs: int, trials: int) -> str:
    """The name of a strategy, with its relevant options."""
    if name == "miha":
        words = [section["choose"]] + ([section["weights"]] if section["choose"] == "crossover" else [])
        words += [section["fitness"]] * (section["fitness"] != "train_loss") + ["keep_one"] * section["keep_one"]
        return f"miha {' '.join(words)}"
    if name == "grid" and trials == 1:
        return f"untouched, {record_epochs} epochs"
    return name


def read_row(directory: Path, with_best: bool) -> Row:
    """The row of a finished run; ValueError if it is not one."""
    run = read_run(directory)
    if run.final is None or not run.end:
        raise ValueError("the run is not finished, or has no test metrics")
    config = load_config(directory, [])
    objective = Objective(**json.loads((directory / "summary.json").read_text())["objective"])
    record = outcome(run, objective)
    assert record is not None
    total = sum(len(m.history) for one in run.trials.values() for m in one.measurements)
    epochs = round(record.mean("epochs") or 0)
    name = run.header.choices.get("strategy") or "strategy"
    tests = {key: value for key, value in run.final.metrics.items() if key.startswith("test_")}
    size = sum(path.stat().st_size for path in (directory / "checkpoints").glob("*.zip")) / 1e6
    best = test_of_best(directory, run, objective) if with_best else {}
    label = label_of(config.strategy, name, epochs, len(run.trials))
    return Row(label, directory, run.header.seed, total, epochs, tests, best, size)


def test_of_best(directory: Path, run: RunRecords, objective: Objective) -> Mapping[str, float]:
    """The test metrics of the best trial by the objective, from its checkpoint; empty if that was not kept."""
    best = best_of(run.trials, objective)
    assert best is not None
    original = best.trial.proposal.reuse_of
    number = best.trial.number if original is None else original
    files = CheckpointStore(directory, "all").files(number)
    if not files:
        return {}
    config = find_paths(load_config(directory, []), run.header, directory)
    config.evaluator.final_epochs = None
    setup = build(config)
    setup.evaluator.prepare(run.header.facts)
    check_data(run, config, setup.dataset)
    result: Mapping[str, float] = setup.evaluator.final(Job(best.trial, 0, 0, str(files[0])))["metrics"]
    return {name: value for name, value in result.items() if name.startswith("test_")}


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation, and the range."""
    if not values:
        return "-"
    return f"{shared.spread(values, 4, '±')} ({min(values):.4f} to {max(values):.4f})"


def table(rows: list[Row], with_best: bool) -> Iterator[list[str]]:
    """Header and a line per label, in the order of appearance."""
    metrics = list(
        dict.fromkeys(name for row in rows for name in row.tests if name != "test_loss" or _regression(rows))
    )
    bests = [f"best trial: {name}" for name in metrics] if with_best else []
    yield ["strategy", "runs", "epochs in all", "epochs of the network", *metrics, *bests, "checkpoints (MB)"]
    for label in dict.fromkeys(row.label for row in rows):
        group = [row for row in rows if row.label == label]
        cells = [
            label,
            str(len(group)),
            _range([row.total_epochs for row in group]),
            _range([row.epochs for row in group]),
        ]
        cells += [spread([row.tests[name] for row in group if name in row.tests]) for name in metrics]
        if with_best:
            cells += [spread([row.best[name] for row in group if name in row.best]) for name in metrics]
        yield [*cells, f"{exact_mean([row.megabytes for row in group]):.1f}"]


def _regression(rows: list[Row]) -> bool:
    return all("test_accuracy" not in row.tests for row in rows)


def _range(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the runs and the output."""
    shared.add_runs(parser)
    parser.add_argument("--best", action="store_true", help="test the best trial by the objective too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row per run there")


def make(arguments: argparse.Namespace) -> None:
    """Print the table."""
    rows = []
    for directory in (run for path in arguments.runs for run in runs_of(path)):
        try:
            rows.append(read_row(directory, arguments.best))
        except (OSError, ValueError, KeyError) as error:
            print(f"{directory}: left out: {error}", file=sys.stderr)
    if not rows:
        raise ConfigError("no finished run found")
    header, *lines = table(rows, arguments.best)
    shared.print_table(header, lines)
    if arguments.csv:
        write_rows(rows, arguments.csv)


def write_rows(rows: list[Row], path: Path) -> None:
    """Write a row per run."""
    metrics = list(rows[0].tests)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["strategy", "run", "seed", "total_epochs", "epochs", *metrics, "megabytes"])
        for row in rows:
            tests = [row.tests.get(name) for name in metrics]
            writer.writerow([row.label, row.directory, row.seed, row.total_epochs, row.epochs, *tests, row.megabytes])
