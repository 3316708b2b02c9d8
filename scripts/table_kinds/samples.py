"""Accuracy by depth and by activation, from networks drawn at random (course report).

    nasrun experiment=course_samples hydra.sweep.dir=outputs/course_samples
    python scripts/tables.py samples outputs/course_samples [--plot FILE]

Every run has networks of one activation; only those drawn at random count, each once. Mean validation accuracy with its
95 % bootstrap interval, by depth and by activation; p: Kruskal-Wallis, that all are equal, and for each one
Mann-Whitney against the best, corrected by Holm's method. `--plot` draws both.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import kruskal, mannwhitneyu

from nasrun.core import Origin
from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError
from nasrun.reports.compare.statistics import bootstrap_mean, holm
from nasrun.reports.plot_style import BLUE, INK, new_figure, save_figure
from nasrun.reports.sweep_runs import SweepRun, sweep_runs
from table_kinds.shared import add_folder, print_table

METRIC = "val_accuracy"
Groups = Mapping[str, Sequence[float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the sweep, and the plot."""
    add_folder(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw both there, as PNG")


def make(arguments: argparse.Namespace) -> None:
    """Print both tables of a sweep."""
    found = samples(sweep_runs(arguments.folder))
    tables = {"depth": grouped(found, "depth"), "activation": grouped(found, "activation")}
    for place, (name, groups) in enumerate(tables.items()):
        print("\n" * (place > 0), end="")
        print_table([name, "n", "mean accuracy", "95 % interval", "best", "p (best)"], rows(groups))
        print(f"\nAll alike: p = {kruskal(*groups.values()).pvalue:.2g} (Kruskal-Wallis).")
    if arguments.plot:
        draw(tables, arguments.plot)


class Sample(NamedTuple):
    """A network that was drawn at random."""

    depth: str
    activation: str
    accuracy: float


def samples(runs: Sequence[SweepRun]) -> list[Sample]:
    """Every network that was drawn at random."""
    found = []
    for run in runs:
        activations = run.config["search_space"].get("activations") or []
        if len(activations) != 1:
            raise ConfigError(f"{run.directory}: its networks have several activations; see experiment=course_samples")
        for row in run.rows:
            if row["status"] == "ok" and row["origin"] == Origin.SAMPLE:
                depth = str(row["genome"].count("-") + 1)
                found.append(Sample(depth, str(activations[0]), float(row[METRIC])))
    return found


def grouped(found: Sequence[Sample], by: Literal["depth", "activation"]) -> dict[str, list[float]]:
    """Accuracies by depth, ascending, or by activation, the one with the best mean first."""
    groups: dict[str, list[float]] = {}
    for sample in found:
        groups.setdefault(sample.depth if by == "depth" else sample.activation, []).append(sample.accuracy)
    order = sorted(groups, key=lambda name: int(name) if by == "depth" else -exact_mean(groups[name]))
    return {name: groups[name] for name in order}


def rows(groups: Groups) -> list[list[str]]:
    """A row per group."""
    best = max(groups, key=lambda name: exact_mean(groups[name]))
    others = [name for name in groups if name != best]
    tested = [float(mannwhitneyu(groups[name], groups[best]).pvalue) for name in others]
    p = dict(zip(others, holm(tested), strict=True))
    lines = []
    for name, values in groups.items():
        low, high = bootstrap_mean(np.array(values))
        numbers = [f"{exact_mean(values):.4f}", f"{low:.4f} to {high:.4f}", f"{max(values):.4f}"]
        lines.append([name, str(len(values)), *numbers, f"{p[name]:.2g}" if name in p else "-"])
    return lines


def draw(tables: Mapping[str, Groups], path: Path) -> None:
    """Draw every network as a point, the mean of each group as a line with its interval; depth left, activation
    right."""
    figure, first = new_figure("Convolutions", "Validation accuracy (%)")
    figure.set_layout_engine("none")
    first.set_position((0.09, 0.14, 0.42, 0.8))
    second = figure.add_axes((0.56, 0.14, 0.42, 0.8), sharey=first)
    second.tick_params(labelsize=8, labelleft=False)
    second.set_xlabel("Activation")
    rng = np.random.default_rng(0)
    for axes, groups in zip((first, second), tables.values(), strict=True):
        for place, values in enumerate(groups.values()):
            spread = place + rng.uniform(-0.25, 0.25, len(values))
            axes.plot(spread, 100 * np.array(values), ".", color=BLUE, alpha=0.4)
            low, high = bootstrap_mean(np.array(values))
            axes.plot([place, place], [100 * low, 100 * high], color=INK, linewidth=2)
            axes.plot([place - 0.3, place + 0.3], [100 * exact_mean(values)] * 2, color=INK, linewidth=2)
        axes.set_xticks(range(len(groups)), list(groups))
    save_figure(figure, path)
