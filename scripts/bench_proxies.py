"""How well scores of untrained networks rank cells compared with training: Kendall's tau on NAS-Bench-201.

    python scripts/bench_proxies.py [--cells 100] [--dataset cifar10] [--tables cifar10 ...] [--scores naswot ...]
                                    [--images 64] [--seed 0] [--results FILE] [WORD...]

Scores random cells with evaluator `proxies`, each network in the benchmark's training configuration, on images of
`--dataset`, and compares with their test and validation accuracies after 200 epochs in the shipped table, on the data
sets `--tables`. Prints, for each score, tau-b with a 95 % interval by bootstrap over the cells. `az_nas` and `rank_sum`
rank the cells relative to each other, as in the papers. `best cell`: the accuracy of the cell with the highest score.
Times are processor times, which other work does not affect. `--results`: a JSON Lines file of scores, a line for each
cell, with which a later call continues. WORDs are further overrides of the config (`search_space.channels=8
search_space.cells=1`: smaller networks).
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rank_correlation import interval, tau

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, Job, Proposal, SearchSpace, Trial, seeding
from nasrun.evaluators.proxies.evaluator import Proxies
from nasrun.evaluators.proxies.names import AZ_NAS
from nasrun.evaluators.proxies.reference import Reference
from nasrun.tables import choose, mean

SCORES = ("naswot", "jacob_cov", "synflow", "snip", "grad_norm", "zico", *AZ_NAS, "parameters")
TABLES = ("cifar10", "cifar100", "imagenet16")
RANK_SUM = ("naswot", "jacob_cov", "synflow")
EPOCHS = 200
TIMED = 3
"""Number of cells with which the time of each single score is measured."""


def accuracies(space: SearchSpace, dataset: str, genomes: Sequence[Genome]) -> dict[str, np.ndarray]:
    """Accuracies of cells in the table, in percent, by part of the data."""
    table = choose("auto", space)
    table.load()
    trainings = table.trainings(dataset, EPOCHS)
    rows = [table.find(space, genome) for genome in genomes]
    places = [trainings.of(row) for row in rows if row is not None]
    assert trainings.test is not None
    parts = {"validation": trainings.validation, "test": trainings.test}
    return {name: 100 * np.array([mean(values[place]) for place in places]) for name, values in parts.items()}


def scored(
    evaluator: Proxies, genomes: Sequence[Genome], seed: int, names: Sequence[str], first: int = 0
) -> tuple[list[Mapping[str, float]], float]:
    """Scores of each cell, numbered from `first`, and the processor seconds of all cells."""
    jobs = [
        Job(Trial(number, Proposal(genome)), 0, seeding.integer(seed, seeding.Purpose.JOB, number))
        for number, genome in enumerate(genomes, start=first)
    ]
    evaluator.metrics = tuple(names)
    started, rows = time.process_time(), []
    for measurement in evaluator.evaluate(jobs):
        if measurement.status != "ok":
            raise SystemExit(f"{genomes[measurement.trial - first]}: {measurement.error}")
        rows.append(measurement.metrics)
    return rows, time.process_time() - started


def main() -> None:
    """Score, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--tables", nargs="+", default=["cifar10"], choices=TABLES, metavar="NAME")
    parser.add_argument("--scores", nargs="+", default=list(SCORES), choices=SCORES, metavar="NAME")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("words", nargs="*", metavar="WORD", help="further overrides of the config")
    arguments = parser.parse_intermixed_args()
    words = ["search_space=nasbench201", "evaluator=proxies", f"dataset={arguments.dataset}", "hardware=cpu"]
    setup = build(task_config(compose_config([*words, f"evaluator.images={arguments.images}", *arguments.words])))
    evaluator, space = setup.evaluator, setup.space
    assert isinstance(evaluator, Proxies)
    evaluator.prepare()
    rng = np.random.default_rng(arguments.seed)
    genomes = [space.sample(rng) for _ in range(arguments.cells)]
    rows, seconds = all_scored(evaluator, genomes, arguments)
    timed = genomes[:TIMED]
    alone = {name: scored(evaluator, timed, arguments.seed, [name])[1] / len(timed) for name in arguments.scores}
    print(f"{len(genomes)} cells of NAS-Bench-201, {EPOCHS} epochs, {arguments.images} images of {arguments.dataset}")
    ranked = with_ranks(rows, arguments.scores)
    for table in arguments.tables:
        truth = accuracies(space, table, genomes)
        print(f"\n{table}, best of these cells: {truth['test'].max():.2f}\n")
        print_table(ranked, truth, alone)
    print(f"\n{len(arguments.scores)} scores at once: {seconds:.0f} s")
    print(f"\n{' '.join(sys.argv)}")


def all_scored(
    evaluator: Proxies, genomes: Sequence[Genome], arguments: argparse.Namespace
) -> tuple[list[Mapping[str, float]], float]:
    """`scored` for all cells; scores that `--results` already holds are read from there."""
    key = [*arguments.scores, arguments.dataset, str(arguments.images), str(arguments.seed), *arguments.words]
    path: Path | None = arguments.results
    lines = path.read_text().splitlines() if path is not None and path.is_file() else []
    known = {entry["cell"]: entry for entry in map(json.loads, lines) if entry["key"] == key}
    rows, seconds = [], 0.0
    for number, genome in enumerate(genomes):
        entry = known.get(number)
        if entry is None:
            [found], took = scored(evaluator, [genome], arguments.seed, arguments.scores, first=number)
            entry = {"key": key, "cell": number, "scores": found, "seconds": took}
            if path is not None:
                with path.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
        rows.append(entry["scores"])
        seconds += entry["seconds"]
    return rows, seconds


def with_ranks(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, list[float]]:
    """The scores by name, with those that rank the cells relative to each other."""
    found = {name: [row[name] for row in rows] for name in names}
    reference = Reference(found)
    if set(AZ_NAS) <= set(found):
        found["az_nas"] = [reference.az_nas(row) for row in rows]
    if set(RANK_SUM) <= set(found):
        found["rank_sum"] = [reference.rank_sum(row, RANK_SUM) for row in rows]
    return found


def print_table(
    found: Mapping[str, Sequence[float]], truth: Mapping[str, np.ndarray], alone: Mapping[str, float]
) -> None:
    """Print a row for each score. `alone`: seconds per cell of each single score."""
    print("| score | tau, test | 95 % interval | tau, validation | best cell, test | ms a cell, alone |")
    print("|---|---|---|---|---|---|")
    for name, values in found.items():
        column = np.array(values)
        low, high = interval(column, truth["test"], np.random.default_rng(1))
        cost = f"{1000 * alone[name]:.0f}" if name in alone else ""
        line = f"{tau(column, truth['test']):.3f} | {low:.3f} to {high:.3f} | {tau(column, truth['validation']):.3f}"
        print(f"| {name} | {line} | {truth['test'][np.argmax(column)]:.2f} | {cost} |")


if __name__ == "__main__":
    main()
