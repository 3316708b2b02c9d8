"""Table I of the I-ENAS paper, and its figure, from run directories.

    python scripts/tables.py ienas DIR... [--epoch N] [--plot FILE]

The runs are searches with shared weights. Runs of one data set whose strategies are `reinforce` with `reward=ienas` and
`reward=enas` are compared; more runs of the same kind are seeds.

For each data set mean and standard deviation of the accuracies of all networks sampled in one epoch. The epoch is that
in which I-ENAS first reached its highest accuracy, separately in each seed, as in the paper; or `--epoch`. ENAS is read
at the same epoch of the run with the same seed. Then, by run, the first maximum. `--plot` draws the accuracies of the
first ENAS and the first I-ENAS run of the first data set in one figure.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError
from nasrun.reports.shared_plots import draw_sampled
from table_kinds.shared import add_runs, directories, over_seeds, print_table

REWARDS = {"ienas": "I-ENAS", "enas": "ENAS"}


class Run(NamedTuple):
    """One search: its data set, reward, seed and trials per epoch, and the accuracy of each trial in order."""

    path: Path
    dataset: str
    reward: str
    seed: int
    rounds: int
    accuracies: np.ndarray

    @property
    def first_maximum(self) -> int:
        """The trial that first reached the highest accuracy."""
        return int(np.argmax(self.accuracies))

    def epoch(self, number: int) -> list[float]:
        """The accuracies of all networks sampled in an epoch, from 1."""
        values: list[float] = self.accuracies[(number - 1) * self.rounds : number * self.rounds].tolist()
        return values


def read_run(path: Path) -> Run:
    """Read a run directory; KeyError, OSError or ValueError if it is not a search by a controller with shared
    weights."""
    config = yaml.safe_load((path / ".hydra" / "config.yaml").read_text())
    choices = json.loads((path / "environment.json").read_text())["choices"]
    with (path / "trials.csv").open() as file:
        values = [float(row["val_accuracy"] or "nan") for row in csv.DictReader(file)]
    if not values or np.isnan(values).any():
        raise ValueError("no trials, or failed ones")
    reward, rounds = config["strategy"]["reward"], config["evaluator"]["rounds"]
    return Run(path, choices["dataset"], reward, config["seed"], rounds, np.array(values))


def pairs(runs: list[Run]) -> list[tuple[Run, Run]]:
    """The I-ENAS runs of a data set, each with the ENAS run of the same seed."""
    enas = {run.seed: run for run in runs if run.reward == "enas"}
    return [(run, enas[run.seed]) for run in runs if run.reward == "ienas" and run.seed in enas]


def table(runs: list[Run], epoch: int | None) -> list[list[str]]:
    """Rows of a data set: for each seed the epoch, and both means and deviations; then the means over the seeds."""
    rows, numbers = [], []
    for ours, theirs in pairs(runs):
        chosen = epoch or ours.first_maximum // ours.rounds + 1
        found = [run.epoch(chosen) for run in (ours, theirs)]
        if min(map(len, found)) < 2:
            raise ConfigError(f"epoch {chosen} is not in both runs of seed {ours.seed}")
        both = [over_seeds(each) for each in found]
        values = [*(one.mean for one in both), *(one.deviation or 0.0 for one in both)]
        numbers.append(values)
        rows.append([ours.dataset, str(ours.seed), str(chosen), *(f"{value:.3f}" for value in values)])
    if len(numbers) > 1:
        means = [exact_mean(column) for column in zip(*numbers, strict=True)]
        rows.append([runs[0].dataset, f"mean of {len(numbers)}", "", *(f"{value:.3f}" for value in means)])
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the runs, the epoch to tabulate, and the figure."""
    add_runs(parser)
    parser.add_argument("--epoch", type=int, metavar="N", help="the epoch to tabulate [that of the first maximum]")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw ENAS against I-ENAS there, as PNG")


def make(arguments: argparse.Namespace) -> None:
    """Print the tables of some run directories."""
    runs: list[Run] = []
    for path in directories(arguments.runs):
        try:
            runs.append(read_run(path))
        except (OSError, KeyError, TypeError, ValueError) as error:
            what = "not a finished search of strategy=reinforce with evaluator=supernet"
            raise ConfigError(f"{path}: {what} ({error})") from error
    datasets = {run.dataset: [other for other in runs if other.dataset == run.dataset] for run in runs}
    rows = [row for found in datasets.values() for row in table(found, arguments.epoch)]
    print_table(["data", "seed", "epoch", "avg I-ENAS", "avg ENAS", "std I-ENAS", "std ENAS"], rows)
    print("\nThe first maximum:\n")
    firsts = []
    for run in runs:
        trial = run.first_maximum
        place = [str(run.seed), str(trial), str(trial // run.rounds + 1)]
        firsts.append([run.dataset, REWARDS[run.reward], *place, f"{run.accuracies[trial]:.4f}"])
    print_table(["data", "reward", "seed", "trial", "epoch", "accuracy"], firsts)
    if arguments.plot:
        draw(next(iter(datasets.values())), arguments.plot)


def draw(runs: list[Run], path: Path) -> None:
    """Draw the accuracies of the first run of each reward into a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    first = {run.reward: run for run in reversed(runs)}
    series = {
        REWARDS[reward]: (np.arange(len(first[reward].accuracies)), first[reward].accuracies)
        for reward in ("enas", "ienas")
        if reward in first
    }
    label = f"Validation accuracy, {runs[0].dataset.replace('_', '-')}"
    FigureCanvasAgg(draw_sampled(series, label)).print_png(str(path))  # type: ignore[no-untyped-call]
