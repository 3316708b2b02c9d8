"""The slides' tables from the runs of a sweep: swarms, Q-learning, or the grid of the evolution.

    nasrun experiment=slides_swarm hydra.sweep.dir=outputs/slides_swarm
    python scripts/make_slides_tables.py outputs/slides_swarm

Prints Markdown, made from the validation accuracies of the trials. Which table follows from the experiment that made
the runs. `slides_swarm`: the slides' five columns; a generation is a stretch of 30 trials and counts with its best.
`slides_dqn_*`: per controller the highest accuracy, the trial that met it first, and the mean of the first and of the
last fifth of the episodes. `slides_evolution`: mean over seeds of the highest accuracy, by rates and by sizes.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from sweep_runs import SweepRun, by_strategy, sweep_runs

METRIC = "val_accuracy"
GENERATION = 30

SLIDES = {
    "gaco": (0.94121, 0.94017, 0.93731, 0.94088, 31.0),
    "pso": (0.94431, 0.94179, 0.94029, 0.94186, 19.5),
    "abc": (0.94151, 0.94018, 0.87706, 0.93847, 9.0),
    "random": (0.94061, 0.92591, 0.90109, 0.93964, 18.7),
}
"""The slides' columns as printed: NAS-Bench-101, 50 generations of 30, 10 executions."""


def swarm_table(runs: list[SweepRun]) -> None:
    """Highest, highest mean of an execution, mean, mean of the highest, and the generation that met it first."""
    print("| strategy | n | highest | highest mean | mean | mean of highest | first met in generation | slides |")
    print("|---|---|---|---|---|---|---|---|")
    for name, group in by_strategy(runs).items():
        means, highest, generations, everything = [], [], [], []
        for run in group:
            bests = generation_bests(run.values(METRIC))
            means.append(statistics.fmean(bests.values()))
            highest.append(max(bests.values()))
            generations.append(next(number for number, best in bests.items() if best == max(bests.values())))
            everything += bests.values()
        printed = SLIDES.get(name)
        beside = " / ".join([*(f"{100 * value:.2f}" for value in printed[:4]), str(printed[4])]) if printed else "-"
        print(
            f"| {name} | {len(group)} | {100 * max(highest):.2f} | {100 * max(means):.2f} "
            f"| {100 * statistics.fmean(everything):.2f} | {100 * statistics.fmean(highest):.2f} "
            f"| {statistics.fmean(generations):.1f} | {beside} |"
        )


def generation_bests(values: list[float | None]) -> dict[int, float]:
    """The best value of each generation, numbered from 1; a generation without any value is left out."""
    bests = {}
    for number in range(math.ceil(len(values) / GENERATION)):
        present = [value for value in values[number * GENERATION : (number + 1) * GENERATION] if value is not None]
        if present:
            bests[number + 1] = max(present)
    return bests


def learning_table(runs: list[SweepRun]) -> None:
    """What a controller finds, when, and whether its episodes get better."""
    print("| strategy | episodes | highest | first met in episode | mean of first fifth | mean of last fifth |")
    print("|---|---|---|---|---|---|")
    for name, group in by_strategy(runs).items():
        for run in group:
            values = run.values(METRIC)
            present = [value for value in values if value is not None]
            fifth = len(values) // 5
            early, late = (
                statistics.fmean([value for value in part if value is not None] or [math.nan])
                for part in (values[:fifth], values[-fifth:])
            )
            print(
                f"| {name} | {len(values)} | {100 * max(present):.2f} | {values.index(max(present)) + 1} "
                f"| {100 * early:.2f} | {100 * late:.2f} |"
            )


def grid_table(runs: list[SweepRun]) -> None:
    """Mean over seeds of the highest accuracy, by both rates (all sizes) and by sizes (all rates)."""
    by_rates: dict[tuple[float, float], list[float]] = defaultdict(list)
    by_sizes: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        highest = run.summary["best"]["metrics"][METRIC]
        options = run.config["strategy"]
        by_rates[options["add_node_rate"], options["add_connection_rate"]].append(highest)
        by_sizes[options["population"], options["sample"]].append(highest)
    nodes, connections = (sorted({rates[position] for rates in by_rates}) for position in (0, 1))
    print(f"| add_node_rate \\ add_connection_rate | {' | '.join(map(str, connections))} |")
    print("|---" * (len(connections) + 1) + "|")
    for node in nodes:
        cells = (f"{100 * statistics.fmean(by_rates[node, connection]):.3f}" for connection in connections)
        print(f"| {node} | {' | '.join(cells)} |")
    print("\n| population/sample | n | mean of highest | highest |\n|---|---|---|---|")
    for (population, sample), values in by_sizes.items():
        mean, top = 100 * statistics.fmean(values), 100 * max(values)
        print(f"| {population}/{sample} | {len(values)} | {mean:.3f} | {top:.2f} |")


TABLES: dict[str, Callable[[list[SweepRun]], None]] = {
    "slides_swarm": swarm_table,
    "slides_dqn_small": learning_table,
    "slides_dqn_wide": learning_table,
    "slides_evolution": grid_table,
}


def main() -> None:
    """Print the table of a sweep's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    runs = sweep_runs(parser.parse_args().sweep)
    experiment = runs[0].choices["experiment"]
    if experiment not in TABLES:
        parser.error(f"made by experiment={experiment}; expected one of {', '.join(TABLES)}")
    TABLES[experiment](runs)


if __name__ == "__main__":
    main()
