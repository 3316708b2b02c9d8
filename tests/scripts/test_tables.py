"""The published tables: what `scripts/tables.py` prints of a sweep is what its runs hold."""

import csv
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import mannwhitneyu

from nasrun.reports.sweep_runs import sweep_runs
from nasrun.tables.nasbench201 import NasBench201
from tests.runner.test_crash import SCRIPTS, script
from tests.scripts.conftest import Script
from tests.scripts.test_shared_scripts import call, rows

KINDS = sorted(path.stem for path in (SCRIPTS / "table_kinds").glob("*.py") if path.stem not in ("__init__", "shared"))
Call = Callable[[str], Any]


def sweep(nasrun_inprocess: Call, words: str) -> None:
    done = nasrun_inprocess(f"{words} seed=0,1,2 output.console=none hydra.sweep.dir=sweep")
    assert (done.returncode, done.stderr) == (0, "")


def found(folder: Path) -> dict[str, list[tuple[Any, list[dict[str, str]]]]]:
    """Summary and trials of the runs of a sweep by strategy."""
    groups: dict[str, list[tuple[Any, list[dict[str, str]]]]] = {}
    for path in sorted(folder.glob("*/summary.json")):
        with (path.parent / "trials.csv").open() as file:
            run = json.loads(path.read_text()), list(csv.DictReader(file))
        name = json.loads((path.parent / "environment.json").read_text())["choices"]["strategy"]
        groups.setdefault(name, []).append(run)
    return groups


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_says_what_is_in_it(kind: str, call_there: Script, tmp_path: Path) -> None:
    assert kind in script("tables").KINDS
    done = call_there("tables", kind, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: tables.py {kind} [-h]" in done.stdout
    assert f"python scripts/tables.py {kind} " in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_runs_is_said_in_a_line(kind: str, call_there: Script, tmp_path: Path) -> None:
    done = call_there("tables", kind, tmp_path, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_cells_are_those_that_the_runs_came_to(nasrun_inprocess: Call, tmp_path: Path) -> None:
    sweep(nasrun_inprocess, "-m search_space=nasbench201 evaluator=table strategy=random,aging_evolution trials=4")
    runs = found(tmp_path / "sweep")
    lines, last = (table := rows(call("tables", "cells", tmp_path / "sweep")))[1:-1], table[-1]
    assert [line[:3] for line in lines] == [["table", name, "3"] for name in ("random", "aging_evolution")]
    for line in lines:
        summaries = [summary for summary, _ in runs[line[1]]]
        values = [100 * summary["final"]["test_accuracy"] for summary in summaries]
        assert line[4] == f"{statistics.fmean(values):.2f} +- {statistics.stdev(values):.2f}"
        skips = [summary["best"]["genome"].count("skip_connect") for summary in summaries]
        assert line[5] == f"{statistics.fmean(skips):.1f} +- {statistics.stdev(skips):.1f}"
    assert last[1] == "a cell at random"
    assert 80 < float(last[4]) < 95


def test_regrets_are_those_of_the_runs(nasrun_inprocess: Call, tmp_path: Path) -> None:
    sweep(nasrun_inprocess, "experiment=nasbench201_all strategy=random,aging_evolution,dqn,dqn_single trials=25")
    groups = {
        name: {kind: [100 * run["final"][f"{kind}_regret"] for run, _ in runs] for kind in ("val", "test")}
        for name, runs in found(tmp_path / "sweep").items()
    }
    text = call("tables", "regrets", tmp_path / "sweep")
    printed = {cells[0]: cells for cells in rows(text)[1:]}
    assert [*printed] == sorted(groups, key=lambda name: statistics.fmean(groups[name]["val"]))
    for name, regrets in groups.items():
        expected = [f"{statistics.fmean(one):.3f} +- {statistics.stdev(one):.3f}" for one in regrets.values()]
        p = mannwhitneyu(regrets["val"], groups["random"]["val"]).pvalue
        assert printed[name][1:5] == ["3", "25", *expected]
        assert printed[name][6] == ("-" if name == "random" else f"{p:.2g}")
    p = mannwhitneyu(groups["dqn"]["val"], groups["dqn_single"]["val"]).pvalue
    assert text.splitlines()[-1] == f"dqn against dqn_single: p = {p:.2g}."


def area(points: np.ndarray, reference: np.ndarray) -> float:
    """The area that points (n, 2) dominate above a reference, higher is better: by strips, from the right."""
    total, height = 0.0, reference[1]
    for x, y in sorted(points.tolist(), reverse=True):
        if x > reference[0] and y > height:
            total += (x - reference[0]) * (y - height)
            height = y
    return total


def test_hypervolumes_are_those_of_the_trials(nasrun_inprocess: Call, tmp_path: Path) -> None:
    sweep(nasrun_inprocess, "experiment=nasbench201_fronts strategy=random,nsga2 trials=100")
    table = NasBench201()
    table.load()
    everything = np.stack([table.trainings("cifar10", 200).validation, -table.parameters("cifar10")], axis=1)
    config = yaml.safe_load(next((tmp_path / "sweep").rglob("config.yaml")).read_text())
    reference = np.array(config["objective"]["reference"]) * [1, -1]
    front = {tuple(point) for point in everything if not (everything > point).all(axis=1).any()}
    front = {p for p in front if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in front)}
    printed = {cells[1]: cells for cells in rows(call("tables", "fronts", tmp_path / "sweep"))[1:]}
    for name, runs in found(tmp_path / "sweep").items():
        points = [
            np.array([[float(row["val_accuracy"]), -float(row["parameters"])] for row in rows]) for _, rows in runs
        ]
        shares = [100 * area(one, reference) / area(everything, reference) for one in points]
        hits = [sum(any(math.dist(p, q) < 1e-9 for q in one.tolist()) for p in front) for one in points]
        expected = f"{statistics.fmean(shares):.2f} +- {statistics.stdev(shares):.2f}"
        assert printed[name][:5] == ["100", name, "3", expected, f"{statistics.fmean(hits):.1f}"]
    assert printed["random"][5] == "-"
    assert 0.25 <= float(printed["nsga2"][5]) <= 1  # three pairs give no less


def test_generations_of_the_slides_are_stretches_of_30_trials(nasrun_inprocess: Call, tmp_path: Path) -> None:
    sweep(nasrun_inprocess, "experiment=slides_swarm strategy=random,pso trials=75")
    printed = {cells[0]: cells for cells in rows(call("tables", "slides", tmp_path / "sweep"))[1:]}
    for name, runs in found(tmp_path / "sweep").items():
        values = [[100 * float(row["val_accuracy"]) for row in trials] for _, trials in runs]
        bests = [[max(one[:30]), max(one[30:60]), max(one[60:])] for one in values]
        mean = statistics.fmean
        expected = [max(map(max, bests)), max(map(mean, bests)), float(np.mean(bests)), mean(map(max, bests))]
        first = mean(one.index(max(one)) + 1 for one in bests)
        assert printed[name][1:7] == ["3", *(f"{value:.2f}" for value in expected), f"{first:.1f}"]
        assert printed[name][7].count("/") == 4  # what the slides print


def test_learning_curves_are_means_over_seeds_of_the_last_episodes(
    nasrun_inprocess: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)  # as Python does for a script
    words = "experiment=slides_dqn_small strategy=dqn trials=120 strategy.updates=1 strategy.hidden=4"
    sweep(nasrun_inprocess, words)
    call("tables", "slides", tmp_path / "sweep", "--plot", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    [runs] = found(tmp_path / "sweep").values()
    values = np.array([[float(row["val_accuracy"]) for row in trials] for _, trials in runs])
    [curve] = script("table_kinds/slides").learning_curves(sweep_runs(tmp_path / "sweep")).values()
    np.testing.assert_allclose(curve, [values[:, end - 100 : end].mean() for end in range(100, 121)])


def test_samples_are_counted_by_depth_and_activation(nasrun_inprocess: Call, tmp_path: Path) -> None:
    space = "search_space=sequential_cnn search_space.max_depth=8 search_space.activations=[relu],[tanh]"
    sweep(nasrun_inprocess, f"-m {space} strategy=random evaluator=synthetic dataset=synthetic trials=20")
    networks = [row for _, trials in found(tmp_path / "sweep")["random"] for row in trials]
    text = call("tables", "samples", tmp_path / "sweep", "--plot", tmp_path / "samples.png")
    printed = {cells[0]: cells for cells in rows(text)}
    assert (tmp_path / "samples.png").stat().st_size > 5000
    for depth in "345678":
        values = [float(row["val_accuracy"]) for row in networks if row["genome"].count("-") + 1 == int(depth)]
        assert printed[depth][1:3] == [str(len(values)), f"{statistics.fmean(values):.4f}"]
    for name in ("relu", "tanh"):
        values = [float(row["val_accuracy"]) for row in networks if name in row["genome"]]
        assert printed[name][1:3] == [str(len(values)), f"{statistics.fmean(values):.4f}"]
    one, other = ([float(r["val_accuracy"]) for r in networks if name in r["genome"]] for name in ("relu", "tanh"))
    assert f"{mannwhitneyu(one, other).pvalue:.2g}" in (printed["relu"][5], printed["tanh"][5])


def test_an_experiment_without_a_table_is_refused(nasrun_inprocess: Call, tmp_path: Path) -> None:
    sweep(nasrun_inprocess, "experiment=nasbench201_all strategy=random trials=5")
    words = [sys.executable, SCRIPTS / "tables.py", "slides", tmp_path / "sweep"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("made by experiment=nasbench201_all; expected one of slides_swarm")
