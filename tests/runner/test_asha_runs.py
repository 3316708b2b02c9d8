"""Whole runs that stop most trainings early: what is trained, at which learning rate, and runs that are cut short."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.checkpoints.archive import read_info
from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import resume, start
from nasrun.training import single
from nasrun.training.schedule import learning_rate
from nasrun.training.settings import TrainSettings
from tests.runner.test_crash import SCRIPTS
from tests.runner.test_miha_runs import rows, run_of, stopped

SMALL = (
    "search_space=mlp",
    "search_space.max_width=24",
    "dataset=synthetic",
    "dataset.samples=300",
    "dataset.height=8",
    "dataset.width=8",
    "evaluator=train",
    "evaluator.final_epochs=null",
    "hardware=cpu",
    "hardware.threads=1",
    "output.console=none",
    "output.plots=false",
)
ASHA = (*SMALL, "strategy=asha", "trials=18")
HALVING = (*SMALL, "strategy=successive_halving", "strategy.configurations=9", "trials=13")


def results(directory: Path) -> dict[str, bytes]:
    """All results of a run, without times."""
    kept: dict[str, bytes] = {}
    for name in ("trials.csv", "measurements.csv", "history.csv"):
        timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(directory / name)]
        kept[name] = json.dumps(timeless).encode()
    files = [directory / name for name in ("genomes.txt", "best.json", "strategy.json")]
    files += [path for folder in ("best", "checkpoints") for path in (directory / folder).glob("*")]
    return kept | {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_promoted_network_is_trained_on_and_not_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[int, int]] = []
    usual = learning_rate

    def noted(settings: TrainSettings, step: int, steps: int) -> float:
        rates.append((step, steps))
        return usual(settings, step, steps)

    monkeypatch.setattr(single, "learning_rate", noted)
    directory = run_of(ASHA, tmp_path / "run", "output.keep=all")
    trials, history = rows(directory / "trials.csv"), rows(directory / "history.csv")
    assert [row["status"] for row in trials] == ["ok"] * 18
    assert {row["epochs"] for row in trials} == {"1", "3", "9"}
    trained = 0
    for row in trials:
        epochs = [int(one["epoch"]) for one in history if one["trial"] == row["trial"]]
        info = read_info(directory / "checkpoints" / f"{row['trial']}-0.zip")
        before = 0
        if row["origin"] == "promote":
            parent = trials[int(row["parent"])]
            assert parent["genome"] == row["genome"]
            before = int(parent["epochs"])
            assert info.parent == int(row["parent"])
        assert epochs == list(range(before + 1, int(row["epochs"]) + 1))
        # The rates are those of a training of 9 epochs from its step `before` on: two steps to an epoch.
        steps, rates = rates[: 2 * len(epochs)], rates[2 * len(epochs) :]
        assert steps == [(step, 18) for step in range(2 * before, 2 * int(row["epochs"]))]
        assert (info.epochs, info.hparams["schedule_epochs"]) == (int(row["epochs"]), 9)
        trained += len(epochs)
    assert not rates
    assert trained == len(history) < 18 * 9
    best, top = json.loads((directory / "best.json").read_text()), [row for row in trials if row["epochs"] == "9"]
    assert str(best["trial"]) == max(top, key=lambda row: float(row["val_accuracy"]))["trial"]
    rungs = json.loads((directory / "strategy.json").read_text())["rungs"]
    assert [rung["budget"] for rung in rungs] == [1, 3, 9]
    assert sum(len(rung["trials"]) for rung in rungs) == 18


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (ASHA, ("evaluator.repeats=2", "hardware.in_flight=3", "search_space.max_width=9")),
        (HALVING, ("deduplicate=resample", "output.keep=all")),
    ],
    ids=["asha", "halving"],
)
def test_a_run_stopped_anywhere_goes_on_to_the_same(
    tmp_path: Path, words: tuple[str, ...], options: tuple[str, ...]
) -> None:
    expected = results(run_of(words, tmp_path / "whole", *options))
    assert b"promote" in expected["trials.csv"]
    for after in (1, 19, 38):
        directory = tmp_path / f"stopped{after}"
        stopped(words, directory, after, *options)
        resume(directory, {})
        assert results(directory) == expected, after


def test_checkpoints_are_kept_while_a_rung_needs_them(tmp_path: Path) -> None:
    """Keeping what is needed finds the same as keeping everything, and keeps no more."""
    all_kept, few = (run_of(HALVING, tmp_path / keep, f"output.keep={keep}") for keep in ("all", "best"))
    assert (all_kept / "genomes.txt").read_bytes() == (few / "genomes.txt").read_bytes()
    assert (all_kept / "best" / "model.safetensors").read_bytes() == (few / "best" / "model.safetensors").read_bytes()
    assert len(list((all_kept / "checkpoints").iterdir())) == 13
    accuracies = {row["trial"]: float(row["val_accuracy"]) for row in rows(few / "trials.csv")}
    best = max(accuracies, key=lambda trial: accuracies[trial])
    assert {path.stem for path in (few / "checkpoints").iterdir()} == {f"{best}-0", "12-0"}
    # A run of any length can be extended: what may still be promoted stays.
    directory = run_of(ASHA, tmp_path / "extended", "trials=11")
    resume(directory, {"trials": 13})
    trials = rows(directory / "trials.csv")
    assert [row["status"] for row in trials] == ["ok"] * 13
    assert [(row["parent"], row["epochs"]) for row in trials[11:]] == [("10", "3"), ("11", "9")]


def test_failed_trials_are_left_where_they_are(tmp_path: Path) -> None:
    words = ("evaluator=synthetic", "evaluator.fail_rate=0.3", "strategy=asha", "trials=60", "output.console=none")
    trials = rows(run_of(words, tmp_path / "run", "output.plots=false") / "trials.csv")
    failed = {row["trial"] for row in trials if row["status"] == "failed"}
    parents = {row["parent"] for row in trials if row["parent"]}
    assert len(failed) > 5
    assert len(parents) > 5
    assert not failed & parents


def test_the_budgets_of_a_table(tmp_path: Path) -> None:
    words = ("search_space=nasbench201", "evaluator=table", "strategy=asha", "strategy.budgets=[12,200]", "trials=60",
             "output.console=none", "output.plots=false")  # fmt: skip
    directory = run_of(words, tmp_path / "run")
    trials = rows(directory / "trials.csv")
    assert {row["status"] for row in trials} == {"ok"}
    assert {(row["origin"], row["epochs"]) for row in trials} == {("start", "12"), ("promote", "200")}
    assert json.loads((directory / "best.json").read_text())["trial"] in {
        int(row["trial"]) for row in trials if row["epochs"] == "200"
    }


def test_the_plan_shows_the_rungs(nasrun_inprocess: Callable) -> None:
    words = " ".join([*(word for word in HALVING if "console" not in word), "dry_run=true"])
    answer = nasrun_inprocess(words)
    assert answer.returncode == 0, answer.stderr
    assert "1, 3, 9 epochs; each trial trains" in answer.stdout
    assert "about 21 in all, as many as 2.3 training runs of 9" in answer.stdout


def test_the_table_of_epochs_until_a_level(tmp_path: Path) -> None:
    for seed in (0, 1):
        for strategy, words in {"random": ("evaluator.epochs=9", "trials=4"), "asha": ("trials=18",)}.items():
            config = task_config(compose_config([*SMALL, f"strategy={strategy}", f"seed={seed}", *words]))
            directory = tmp_path / strategy / f"{seed}_{strategy}"
            start(config, directory, unique=False, choices={"strategy": strategy})
    command = [sys.executable, SCRIPTS / "tables.py", "speed", tmp_path]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line[:4] != "|---"]
    for seed in (0, 1):
        full = [float(row["val_accuracy"]) for row in rows(tmp_path / "random" / f"{seed}_random" / "trials.csv")]
        steps = rows(tmp_path / "asha" / f"{seed}_asha" / "trials.csv")
        trained, reached = 0, 0
        for row in steps:
            before = int(steps[int(row["parent"])]["epochs"]) if row["parent"] else 0
            trained += int(row["epochs"]) - before
            if not reached and row["epochs"] == "9" and float(row["val_accuracy"]) >= max(full):
                reached = trained
        ends = [float(row["val_accuracy"]) for row in steps if row["epochs"] == "9"]
        needed, epochs = 9 * (full.index(max(full)) + 1), reached or trained
        expected = [f"{max(full):.4f}", f"{max(ends):.4f}", str(needed), f"{'' if reached else '> '}{epochs}"]
        assert lines[1 + seed] == [str(seed), *expected, f"{'' if reached else '< '}{needed / epochs:.2f}"]
    assert ["epochs in all", "36 ± 0"] in [line[:2] for line in lines]
    nothing = subprocess.run([*command[:3], tmp_path / "asha"], capture_output=True, text=True, check=False)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "holds no finished runs of strategy=random" in nothing.stderr
