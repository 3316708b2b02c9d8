"""How well scores with shared weights rank architectures compared with training: Kendall's tau on NAS-Bench-201.

    python scripts/rank_correlation.py [--rows NAME...] [--row "WORD WORD ..."] [--epochs 20] [--points 4] [--seeds 1]
                                       [--architectures 200] [--cells-seed 0] [--results FILE] [WORD...]

Each row is a way of training the shared weights: one of `--rows` by name (`--rows all`: every one), or overrides of its
own (`--row`). Trains a small network of all cells of NAS-Bench-201 (`BASE`, which WORDs change for all rows), scores
random cells with it on all validation data that is not held out, and compares with their accuracies in the shipped
table (200 epochs, CIFAR-10, validation). Prints tau-b with a 95 % interval by bootstrap over the cells: by lower loss,
by accuracy, by loss among pairs of cells of equal parameters, and by the sum of the ranks of loss and scores of the
untrained networks (`SUMMED`). The first lines are baselines that cost nothing or little: parameters, FLOPs, scores of
the untrained networks. Seconds are processor seconds, of training and scoring separately. `--points`: how often each
training is scored. Measurements are added to `--results`, a JSON Lines file with which a later call continues, row by
row.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Evaluator, Genome, Job, Proposal, SharedEvaluator, Trial, seeding

RESAMPLES = 1000
BASE = (
    "search_space=nasbench201",
    "search_space.channels=8",
    "search_space.cells=1",
    "evaluator=supernet",
    "evaluator.score=whole",
    "evaluator.batch_size=64",
    "evaluator.image_size=16",
    "dataset=cifar10",
    "dataset.train_samples=10000",
    "dataset.validation=0.04",
    "hardware=cpu",
)
ROWS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "uniform": ("evaluator.sampling=uniform",),
    "cost": ("evaluator.sampling=weighted", "evaluator.operation_weights=cost"),
    "fair": ("evaluator.sampling=fair",),
    "sandwich": ("evaluator.sampling=sandwich",),
    "distilled": ("evaluator.sampling=sandwich", "evaluator.distil=inplace"),
    "recalibrated": ("evaluator.statistics=recalibrated",),
    "few_shot": ("evaluator.split=1",),
    "restarts": ("evaluator.cycle=4", "evaluator.cycle_growth=1"),
}
PRICES, UNTRAINED = ("parameters", "flops"), ("naswot", "jacob_cov", "synflow")
SUMMED = ("naswot", "jacob_cov", "synflow")
"""Scores whose ranks are added to that of the loss."""


def tau(first: np.ndarray, second: np.ndarray, among: np.ndarray | None = None) -> float:
    """Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs not tied in each.
    `among`: only count pairs that are equal in it."""
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]
    if among is not None:
        signs = [sign * (among[:, None] == among[None, :]) for sign in signs]
    untied = [float((sign * sign).sum()) for sign in signs]
    return float((signs[0] * signs[1]).sum()) / (untied[0] * untied[1]) ** 0.5 if all(untied) else float("nan")


def interval(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator, among: np.ndarray | None = None
) -> tuple[float, float]:
    """The middle 95 % of tau over resamples of the architectures."""
    draws = rng.integers(len(first), size=(RESAMPLES, len(first)))
    taus = [tau(first[draw], second[draw], None if among is None else among[draw]) for draw in draws]
    found = np.nanquantile(taus, [0.025, 0.975])
    return float(found[0]), float(found[1])


def ranks(values: np.ndarray) -> np.ndarray:
    """The number of values below each, ties counting half."""
    below, alike = values[None, :] < values[:, None], values[None, :] == values[:, None]
    return np.asarray(below.sum(1) + alike.sum(1) / 2)


def accuracies(genomes: list[Genome]) -> np.ndarray:
    """Validation accuracies of the table, after 200 epochs."""
    setup = build(task_config(compose_config(["search_space=nasbench201", "evaluator=table", "strategy=random"])))
    setup.evaluator.prepare()
    return scores(setup.evaluator, genomes, "val_accuracy")["val_accuracy"]


def scores(evaluator: Evaluator, genomes: list[Genome], *names: str) -> dict[str, np.ndarray]:
    """The metrics of an evaluator for some architectures, by name."""
    jobs = [Job(Trial(number, Proposal(genome)), 0, number) for number, genome in enumerate(genomes)]
    found = [measurement.metrics for measurement in evaluator.evaluate(jobs)]
    return {name: np.array([metrics[name] for metrics in found]) for name in names}


class Results:
    """Measurements by their settings: in memory, and line by line in a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.is_file() else []
        self._known: dict[str, dict[str, Any]] = {}
        for line in lines:
            entry = json.loads(line)
            self._known[entry["key"]] = entry

    def get(self, *key: object) -> dict[str, Any] | None:
        """The measurement of a key, if there is one."""
        return self._known.get(json.dumps(key))

    def add(self, *key: object, **values: object) -> None:
        """Remember a measurement, and write it at once."""
        entry: dict[str, Any] = {"key": json.dumps(key), **values}
        self._known[entry["key"]] = entry
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")


class Comparison:
    """Cells with their accuracies, and the table of how scores rank them."""

    def __init__(self, genomes: list[Genome], parameters: np.ndarray) -> None:
        self.genomes, self._parameters, self._truth = genomes, parameters, accuracies(genomes)
        self._summed: list[np.ndarray] = []

    def sum_with(self, found: Mapping[str, Sequence[float]]) -> None:
        """Set the scores that rank sums use."""
        self._summed = [ranks(np.array(found[name])) for name in SUMMED]

    def cell(self, values: np.ndarray, equal: bool = False) -> str:
        """Tau with its interval; `equal`: among cells of equal parameters."""
        among = self._parameters if equal else None
        low, high = interval(values, self._truth, np.random.default_rng(1), among)
        return f"{tau(values, self._truth, among):.3f} ({low:.3f} to {high:.3f})"

    def line(self, name: str, seed: str, steps: str, values: Mapping[str, Sequence[float]], seconds: str) -> None:
        """Print a row of the table. `values`: by `loss`, where lower is better, and `accuracy`; or one score by its
        name."""
        if "loss" in values:
            loss, accuracy = -np.array(values["loss"]), np.array(values["accuracy"])
            cells = [self.cell(loss), self.cell(accuracy), self.cell(loss, equal=True)]
            cells.append(self.cell(np.sum([ranks(loss), *self._summed], axis=0)))
        else:
            [score] = (np.array(each) for each in values.values())
            equal = self.cell(score, equal=True) if name not in PRICES else ""
            cells = [self.cell(score), "", equal, ""]
        print(f"| {name} | {seed} | {steps} | {' | '.join(cells)} | {seconds} |", flush=True)


def merged(words: Sequence[str]) -> list[str]:
    """Overrides of a config; the last one of a key counts."""
    return list({word.partition("=")[0]: word for word in words}.values())


def untrained(words: Sequence[str], genomes: list[Genome], results: Results, cells: int) -> dict[str, list[float]]:
    """Scores of the untrained networks for some overrides."""
    own = [
        word for word in words if word.partition("=")[0].partition(".")[0] in ("search_space", "dataset", "hardware")
    ]
    key = ("untrained", own, cells, len(genomes))
    if (known := results.get(*key)) is None:
        listed = ",".join(UNTRAINED)
        setup = build(task_config(compose_config([*own, "evaluator=proxies", f"evaluator.scores=[{listed}]"])))
        setup.evaluator.prepare()
        started = time.process_time()
        found = scores(setup.evaluator, genomes, *UNTRAINED, *PRICES)
        seconds = time.process_time() - started
        results.add(*key, seconds=seconds, **{name: values.tolist() for name, values in found.items()})
        known = results.get(*key)
    assert known is not None
    return known


def trained(
    setup: Setup, seed: int, epochs: int, points: int, genomes: list[Genome]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Train shared weights with a seed; yields the epoch and the scores at each point, with the seconds so far."""
    evaluator, space = setup.evaluator, setup.space
    assert isinstance(evaluator, SharedEvaluator)
    evaluator.prepare()
    started = time.process_time()
    scoring = 0.0

    def draw(rng: np.random.Generator) -> Genome:
        genome = evaluator.sample(rng)
        return space.sample(rng) if genome is None else genome

    stops = {round(epochs * point / points) for point in range(1, points + 1)}
    for epoch in range(1, epochs + 1):
        evaluator.train_shared(draw, seeding.generator(seed, seeding.Purpose.SHARED, epoch), epoch, epochs)
        if epoch in stops:
            before = time.process_time()
            found = scores(evaluator, genomes, "val_accuracy", "val_loss")
            took = time.process_time() - before
            training = before - started - scoring
            scoring += took
            lists = {"accuracy": found["val_accuracy"].tolist(), "loss": found["val_loss"].tolist()}
            yield epoch, {**lists, "training": training, "scoring": took}


def main() -> None:
    """Train, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", default=[], choices=[*ROWS, "all"], metavar="NAME")
    parser.add_argument("--row", action="append", default=[], metavar="WORDS", help="overrides of an additional row")
    for name, default in (("epochs", 20), ("points", 4), ("seeds", 1), ("architectures", 200), ("cells-seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("words", nargs="*", metavar="WORD", help="overrides of the config for all rows")
    arguments = parser.parse_intermixed_args()
    named = list(ROWS) if "all" in arguments.rows else arguments.rows
    rows = {name: ROWS[name] for name in named} | {row: tuple(row.split()) for row in arguments.row}
    results, words = Results(arguments.results), merged([*BASE, *arguments.words])
    setup = build(task_config(compose_config(words)))
    rng = np.random.default_rng(arguments.cells_seed)
    genomes = [setup.space.sample(rng) for _ in range(arguments.architectures)]
    sizes = [setup.space.cost(genome, setup.dataset.task).parameters for genome in genomes]
    table = Comparison(genomes, np.array(sizes))
    columns = ("row", "seed", "steps", "tau by less loss", "by accuracy", "by loss, equal parameters", "by rank sum")
    print(f"{len(genomes)} cells, draws of seed {arguments.cells_seed}\n\n| {' | '.join(columns)} | seconds |")
    print(f"|{'---|' * (len(columns) + 1)}")
    found = untrained(words, genomes, results, arguments.cells_seed)
    table.sum_with(found)
    for name in (*PRICES, *UNTRAINED):
        table.line(name, "", "0", {name: found[name]}, "0" if name in PRICES else f"{found['seconds']:.0f} for all")
    table.line(
        f"rank sum of {', '.join(SUMMED)}",
        "",
        "0",
        {"sum": np.sum([ranks(np.array(found[name])) for name in SUMMED], axis=0).tolist()},
        "",
    )
    for name, more in (rows or {"default": ()}).items():
        for seed in range(arguments.seeds):
            show(name, merged([*words, *more]), seed, arguments, table, results)
    print(f"\n{' '.join(sys.argv)}")


def show(
    name: str, words: list[str], seed: int, arguments: argparse.Namespace, table: Comparison, results: Results
) -> None:
    """Print the rows of one training, taken from the results or measured."""
    setup = build(task_config(compose_config(words)))
    key = (words, seed, arguments.epochs, arguments.cells_seed, len(table.genomes))
    stops = sorted({round(arguments.epochs * point / arguments.points) for point in range(1, arguments.points + 1)})
    if any(results.get(*key, epoch) is None for epoch in stops):
        for epoch, entry in trained(setup, seed, arguments.epochs, arguments.points, table.genomes):
            results.add(*key, epoch, steps=setup.evaluator.trainer.steps * epoch, **entry)  # type: ignore[attr-defined]
    for epoch in stops:
        known = results.get(*key, epoch)
        assert known is not None
        seconds = f"{known['training']:.0f} + {known['scoring']:.0f}"
        table.line(name, str(seed), str(known["steps"]), known, seconds)


if __name__ == "__main__":
    main()
