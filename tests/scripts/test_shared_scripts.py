"""The scripts about shared weights: Table I of I-ENAS, the rank correlation, the time of an epoch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import start
from tests.runner.test_crash import SCRIPTS, script
from tests.runner.test_shared_runs import SMALL


def call(name: str, *words: str | Path) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of the Markdown tables in a text, without headers and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_one_is_of_the_epoch_of_the_first_maximum(tmp_path: Path) -> None:
    accuracies = {}
    for strategy in ("reinforce", "reinforce_ienas"):
        for seed in (0, 1):
            name = f"{strategy}_{seed}"
            config = task_config(compose_config([*SMALL, f"strategy={strategy}", f"seed={seed}", "trials=12"]))
            start(config, tmp_path / name, unique=False, choices={"dataset": "synthetic", "strategy": strategy})
            table = np.genfromtxt(
                tmp_path / name / "trials.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
            )
            accuracies[strategy, seed] = table["val_accuracy"]
    text = call("tables", "ienas", tmp_path, "--plot", tmp_path / "both.png")
    found = rows(text)
    epochs = []
    for seed in (0, 1):
        ours, theirs = accuracies["reinforce_ienas", seed], accuracies["reinforce", seed]
        epoch = int(np.argmax(ours)) // 4 + 1
        part = slice(4 * epoch - 4, 4 * epoch)
        expected = [ours[part].mean(), theirs[part].mean(), ours[part].std(ddof=1), theirs[part].std(ddof=1)]
        assert ["synthetic", str(seed), str(epoch), *(f"{value:.3f}" for value in expected)] in found
        epochs.append(expected)
    assert ["synthetic", "mean of 2", "", *(f"{value:.3f}" for value in np.mean(epochs, axis=0))] in found
    assert sum(row[1] == "I-ENAS" for row in found) == sum(row[1] == "ENAS" for row in found) == 2
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    chosen = rows(call("tables", "ienas", tmp_path, "--epoch", "2"))
    assert chosen[1][:3] == ["synthetic", "0", "2"]


def test_kendalls_tau() -> None:
    tau = script("rank_correlation").tau
    assert tau(np.arange(5), np.arange(5)) == 1
    assert tau(np.arange(5), -np.arange(5)) == -1
    # 8 of 10 pairs in the same order, 2 in the other, no ties
    assert tau(np.array([1, 2, 3, 4, 5]), np.array([3, 1, 2, 4, 5])) == pytest.approx(0.6)
    # 4 of 6 pairs in the same order, none in the other, one tie in each
    assert tau(np.array([1, 1, 2, 3]), np.array([1, 2, 2, 3])) == pytest.approx(4 / 5)


def test_tau_among_what_is_equal() -> None:
    tau = script("rank_correlation").tau
    first, second = np.array([1, 2, 4, 3, 5]), np.array([1, 2, 3, 4, 0])
    assert tau(first, second, np.array([0, 0, 1, 1, 2])) == 0  # one pair of either kind
    assert tau(first, second, np.array([0, 0, 1, 2, 2])) == 0
    assert tau(first, second, np.array([0, 0, 1, 2, 3])) == 1
    assert np.isnan(tau(first, second, np.arange(5)))


def test_rank_correlations_are_taken_up_row_by_row(tmp_path: Path) -> None:
    words = ("--epochs", "2", "--points", "2", "--architectures", "8", "--results", tmp_path / "r.jsonl")
    small = ("search_space.channels=2", "dataset=fashion_mnist_mini", "dataset.train_samples=200", "hardware.threads=1")
    first = rows(call("rank_correlation", *words, *small, "--rows", "default"))
    names = ["parameters", "flops", "naswot", "jacob_cov", "synflow", "rank sum of naswot, jacob_cov, synflow"]
    assert [row[0] for row in first[1:]] == [*names, "default", "default"]
    half, whole = (int(row[2]) for row in first[-2:])
    assert whole == 2 * half > 0
    for row in first[1:]:
        assert all(-1 <= float(cell.split()[0]) <= 1 for cell in row[3:7] if cell and not cell.startswith("nan"))
    lines = (tmp_path / "r.jsonl").read_text()
    again = rows(call("rank_correlation", *words, *small, "--rows", "default", "--row", "evaluator.sampling=uniform"))
    assert again[: len(first)] == first
    assert [row[0] for row in again[len(first) :]] == ["evaluator.sampling=uniform"] * 2
    assert (tmp_path / "r.jsonl").read_text().startswith(lines)


def test_the_time_of_an_epoch_is_told_by_part() -> None:
    text = call(
        "bench_supernet",
        "--steps",
        "6",
        "--device",
        "cpu",
        "search_space.blocks=1",
        "search_space.layout=c",
        "search_space.channels=2",
        "evaluator.batch_size=8",
        "evaluator.pad_to=null",
        "hardware.threads=1",
    )
    found = {row[0]: row[1] for row in rows(text)}
    assert {"step, median", "forward", "backward", "optimizer", "outside of these"} <= set(found)
    assert all(float(found[name].split()[0]) > 0 for name in ("forward", "backward", "optimizer"))
