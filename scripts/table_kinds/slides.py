"""The slides' tables from the runs of a sweep: swarms, Q-learning, or the grid of the evolution.

    nasrun experiment=slides_swarm hydra.sweep.dir=outputs/slides_swarm
    python scripts/tables.py slides outputs/slides_swarm [--plot FILE]

Uses the validation accuracies of the trials. The experiment that made the runs determines the table. `slides_swarm`:
the slides' five columns; a generation is a stretch of 30 trials and counts with its best. `slides_dqn_*`: per
controller the highest accuracy, the trial that reached it first, and the mean of the first and of the last fifth of the
episodes. `slides_evolution`: mean over seeds of the highest accuracy, by rates and by sizes. `--plot` draws the
learning curves of Q-learning: mean over seeds of the accuracy of the last 100 episodes.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError
from nasrun.reports.plot_style import BLUE, ORANGE, add_legend, new_figure, save_figure
from nasrun.reports.reproduction.measures import generation_bests
from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from table_kinds.shared import add_folder, by_strategy, print_table

METRIC = "val_accuracy"

SLIDES = {
    "gaco": (0.94121, 0.94017, 0.93731, 0.94088, 31.0),
    "pso": (0.94431, 0.94179, 0.94029, 0.94186, 19.5),
    "abc": (0.94151, 0.94018, 0.87706, 0.93847, 9.0),
    "random": (0.94061, 0.92591, 0.90109, 0.93964, 18.7),
}
"""The slides' columns as printed: NAS-Bench-101, 50 generations of 30, 10 runs."""
COLOURS = (BLUE, ORANGE)
SWARM = ("strategy", "n", "highest", "highest mean", "mean", "mean of highest", "first met in generation", "slides")
LEARNING = ("strategy", "episodes", "highest", "first met in episode", "mean of first fifth", "mean of last fifth")

WINDOW = 100
"""Number of episodes averaged in a point of a learning curve."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the sweep, and the plot of Q-learning."""
    add_folder(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the learning curves there, as PNG")


def swarm_table(runs: Sequence[SweepRun]) -> None:
    """Highest, highest mean of a run, mean, mean of the highest, and the generation that reached it first."""
    print_table(SWARM, [swarm_cells(name, group) for name, group in by_strategy(runs).items()])


def swarm_cells(name: str, group: Sequence[SweepRun]) -> Sequence[str]:
    """The row of a strategy."""
    executions = [generation_bests(run.values(METRIC)) for run in group]
    highest = [max(bests.values()) for bests in executions]
    first = [next(number for number, best in bests.items() if best == max(bests.values())) for bests in executions]
    means = [exact_mean([*bests.values()]) for bests in executions]
    everything = [best for bests in executions for best in bests.values()]
    numbers = (max(highest), max(means), exact_mean(everything), exact_mean(highest))
    printed = SLIDES.get(name)
    beside = " / ".join([*(f"{100 * value:.2f}" for value in printed[:4]), str(printed[4])]) if printed else "-"
    return [name, str(len(group)), *(f"{100 * value:.2f}" for value in numbers), f"{exact_mean(first):.1f}", beside]


def learning_table(runs: Sequence[SweepRun]) -> None:
    """The best result of a controller, when it was found, and whether its episodes improve."""
    print_table(LEARNING, [learning_cells(name, run) for name, group in by_strategy(runs).items() for run in group])


def learning_cells(name: str, run: SweepRun) -> Sequence[str]:
    """The row of a run."""
    values = run.values(METRIC)
    highest, fifth = max(value for value in values if value is not None), len(values) // 5
    parts = ([value for value in part if value is not None] for part in (values[:fifth], values[-fifth:]))
    means = [exact_mean(part) if part else math.nan for part in parts]
    place = str(values.index(highest) + 1)
    return [name, str(len(values)), f"{100 * highest:.2f}", place, *(f"{100 * mean:.2f}" for mean in means)]


def learning_curves(runs: Sequence[SweepRun]) -> dict[str, np.ndarray]:
    """By controller the mean over seeds of the accuracies of the last episodes, float (episodes - WINDOW + 1,); an
    episode without an accuracy counts as the one before it."""
    curves = {}
    for name, group in by_strategy(runs).items():
        averages = []
        for run in group:
            values = np.array([np.nan if value is None else value for value in run.values(METRIC)])
            places = np.where(np.isnan(values), 0, np.arange(len(values)))
            averages.append(np.convolve(values[np.maximum.accumulate(places)], np.full(WINDOW, 1 / WINDOW), "valid"))
        curves[name] = np.mean(averages, axis=0)
    return curves


def draw_learning(runs: Sequence[SweepRun], path: Path) -> None:
    """Draw the learning curves into a file."""
    figure, axes = new_figure("Episode", f"Validation accuracy (%), mean of {WINDOW} episodes")
    for place, (name, curve) in enumerate(learning_curves(runs).items()):
        style = "-" if place % 2 == 0 else "--"
        axes.plot(np.arange(WINDOW, WINDOW + len(curve)), 100 * curve, style, color=COLOURS[place // 2], label=name)
    save_figure(add_legend(figure, axes), path)


def grid_table(runs: Sequence[SweepRun]) -> None:
    """Mean over seeds of the highest accuracy, by both rates (all sizes) and by sizes (all rates)."""
    by_rates: dict[tuple[float, float], list[float]] = defaultdict(list)
    by_sizes: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        highest = run.summary["best"]["metrics"][METRIC]
        options = run.config["strategy"]
        by_rates[options["add_node_rate"], options["add_connection_rate"]].append(highest)
        by_sizes[options["population"], options["sample"]].append(highest)
    nodes, connections = (sorted({rates[position] for rates in by_rates}) for position in (0, 1))
    rows = [
        [str(node), *(f"{100 * exact_mean(by_rates[node, connection]):.3f}" for connection in connections)]
        for node in nodes
    ]
    print_table(["add_node_rate \\ add_connection_rate", *map(str, connections)], rows)
    print()
    sizes = [
        [f"{population}/{sample}", str(len(values)), f"{100 * exact_mean(values):.3f}", f"{100 * max(values):.2f}"]
        for (population, sample), values in by_sizes.items()
    ]
    print_table(["population/sample", "n", "mean of highest", "highest"], sizes)


TABLES: dict[str, Callable[[Sequence[SweepRun]], None]] = {
    "slides_swarm": swarm_table,
    "slides_dqn_small": learning_table,
    "slides_dqn_wide": learning_table,
    "slides_evolution": grid_table,
}


def make(arguments: argparse.Namespace) -> None:
    """Print the tables of a sweep's folder."""
    runs = sweep_runs(arguments.folder)
    experiment = runs[0].choices["experiment"]
    if experiment not in TABLES:
        raise ConfigError(f"made by experiment={experiment}; expected one of {', '.join(TABLES)}")
    TABLES[experiment](runs)
    if arguments.plot:
        if TABLES[experiment] is not learning_table:
            raise ConfigError(f"--plot: needs runs of slides_dqn_small or slides_dqn_wide; these are of {experiment}")
        draw_learning(runs, arguments.plot)
