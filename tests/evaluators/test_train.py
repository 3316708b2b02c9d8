"""Evaluator `train`: weights on disk, warm starts, settings of a proposal, the winner's end, estimates."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.archive import read_info
from nasrun.checkpoints.store import load_weights
from nasrun.training import loop, single
from nasrun.training.outcomes import Training
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from tests.evaluators.conftest import Bench, measured


def test_saved_weights_give_the_reported_accuracy(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "new" / "0-0.zip"
    [measurement] = bench.measure(bench.job(save_to=path, budget=3))
    assert measurement.status == "ok"
    found = measured(bench, path, "validation")
    assert found["accuracy"] == measurement.metrics["val_accuracy"]
    assert found["loss"] == pytest.approx(measurement.metrics["val_loss"], rel=1e-6)
    info = read_info(path)
    assert (info.epochs, info.genome) == (3, bench.setup.space.format(bench.genome()))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_saving_changes_no_result(bench: Bench, tmp_path: Path) -> None:
    [saved] = bench.measure(bench.job(save_to=tmp_path / "0-0.zip"))
    [unsaved] = bench.measure(bench.job())
    assert saved.metrics == unsaved.metrics


def test_metrics_of_a_trial(bench: Bench) -> None:
    [measurement] = bench.measure(bench.job(budget=2))
    cost = bench.setup.space.cost(bench.genome(), bench.setup.dataset.task)
    assert measurement.metrics["parameters"] == cost.parameters
    assert measurement.metrics["flops"] == cost.flops
    assert measurement.metrics["epochs"] == 2
    assert set(measurement.metrics) == {*bench.train.metrics, "epochs"}
    assert [row["epoch"] for row in measurement.history] == [1, 2]
    assert measurement.seconds > 0


def test_torchs_generator_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "0-0.zip"
    torch.manual_seed(99)
    before = torch.get_rng_state()
    bench.measure(bench.job(save_to=path), bench.job(1, hparams={"lr": -1.0}))
    bench.train.estimate(bench.job().trial)
    loading = Bench("evaluator.final_epochs=null")
    loading.train.final(loading.job(load_from=path))
    bench.train.final(bench.job(load_from=path))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(100)
    [after] = bench.measure(bench.job())
    torch.manual_seed(99)
    assert bench.measure(bench.job())[0].metrics == after.metrics


def test_continue_goes_on_from_the_parents_epochs(bench: Bench, tmp_path: Path) -> None:
    parent, child = tmp_path / "0-0.zip", tmp_path / "1-0.zip"
    [first] = bench.measure(bench.job(budget=2, save_to=parent))
    job = bench.job(1, budget=5, parent=0, warm_start="continue", load_from=parent, save_to=child)
    [second] = bench.measure(job)
    assert [row["epoch"] for row in first.history] == [1, 2]
    assert [row["epoch"] for row in second.history] == [3, 4, 5]
    assert second.metrics["epochs"] == 5
    assert read_info(child).epochs == 5


def test_continue_starts_from_the_parents_weights(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0-0.zip"
    bench.measure(bench.job(budget=1, save_to=path))
    given: list[dict[str, torch.Tensor]] = []

    def noted(model: torch.nn.Module, *arguments: object, **named: object) -> Training:
        given.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return Training({"epoch": 2, "val_accuracy": 1.0})

    monkeypatch.setattr(loop, "train", noted)
    bench.measure(bench.job(1, budget=2, parent=0, warm_start="continue", load_from=path))
    weights = load_weights(path)
    assert set(given[0]) == set(weights)
    assert all(torch.equal(tensor, given[0][name]) for name, tensor in weights.items())


def test_continue_after_early_stopping_counts_the_epochs_of_the_weights(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.6, 0.4, 0.4])
    monkeypatch.setattr(single, "measure", lambda *arguments, **named: {"accuracy": next(accuracies), "loss": 1.0})
    path = tmp_path / "0-0.zip"
    [measurement] = bench.measure(bench.job(budget=9, hparams={"patience": 2}, save_to=path))
    assert len(measurement.history) == 4
    assert read_info(path).epochs == 2


def test_continue_with_nothing_left_fails(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "0-0.zip"
    bench.measure(bench.job(budget=2, save_to=path))
    failed, fine = bench.measure(
        bench.job(1, budget=2, parent=0, warm_start="continue", load_from=path), bench.job(2, budget=1)
    )
    assert failed.status == "failed"
    assert failed.error == "nothing left to train: 2 epochs of 2 are done already"
    assert fine.status == "ok"


def test_continue_with_another_architecture_fails(bench: Bench, tmp_path: Path) -> None:
    parent, child = map(bench.setup.space.parse, ("N4k3relu-R8k3relu-R8k3relu", "N4k3relu-R4k3relu-R8k3relu"))
    bench.measure(bench.job(genome=parent, save_to=tmp_path / "0-0.zip"))
    job = bench.job(1, genome=child, budget=3, parent=0, warm_start="continue", load_from=tmp_path / "0-0.zip")
    [measurement] = bench.measure(job)
    assert measurement.status == "failed"
    assert measurement.error == (
        "cannot continue from the checkpoint of trial 0: its architecture is another; "
        "propose warm_start=inherit, which takes the weights that fit"
    )


def test_inherit_copies_what_matches(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, path = bench.setup.space, tmp_path / "0-0.zip"
    parent = space.parse("N4k3relu-R8k3relu-R8k3relu")
    child = space.parse("N4k3relu-R4k3relu-R8k3relu")
    bench.measure(bench.job(genome=parent, save_to=path))
    given: list[dict[str, torch.Tensor]] = []
    train = loop.train

    def noted(model: torch.nn.Module, *arguments: Any, **named: Any) -> Training:
        given.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return train(model, *arguments, **named)

    monkeypatch.setattr(loop, "train", noted)
    job = bench.job(1, genome=child, parent=0, warm_start="inherit", load_from=path)
    [measurement] = bench.measure(job)
    bench.measure(bench.job(1, genome=child))
    inherited, afresh = given
    weights = load_weights(path)
    changed = {name for name, tensor in inherited.items() if tensor.shape != weights[name].shape}
    assert changed == {
        "layer2.convolution.weight",
        "layer3.convolution.weight",
        *(f"layer2.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
    }
    for name, tensor in inherited.items():
        assert torch.equal(tensor, afresh[name] if name in changed else weights[name]), name
    assert [row["epoch"] for row in measurement.history] == [1]


@pytest.mark.parametrize("warm_start", ["continue", "inherit"])
def test_a_missing_parent_fails_the_trial(bench: Bench, tmp_path: Path, warm_start: str) -> None:
    job = bench.job(1, budget=3, parent=0, warm_start=warm_start, load_from=tmp_path / "none.zip")
    [measurement] = bench.measure(job)
    assert measurement.status == "failed"
    assert "none.zip" in measurement.error


def test_hparams_override_settings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[TrainSettings] = []
    train = loop.train

    def noted(model: Any, seed: int, request: TrainingRequest, *arguments: Any) -> Training:
        given.append(request.settings)
        return train(model, seed, request, *arguments)

    monkeypatch.setattr(loop, "train", noted)
    bench.measure(
        bench.job(hparams={"optimizer": "sgd", "lr": 1, "epochs": 2}), bench.job(hparams={"epochs": 3}, budget=1)
    )
    assert given[0] == TrainSettings(optimizer="sgd", lr=1.0, epochs=2, batch_size=32, weight_decay=5e-4)
    assert given[1] == TrainSettings(epochs=1, batch_size=32, weight_decay=5e-4)


@pytest.mark.parametrize(
    ("hparams", "words"),
    [
        ({"optimiser": "sgd"}, ("hparams.optimiser", "optimizer")),
        ({"lr": -1.0}, ("hparams.lr=-1.0", "above 0")),
        ({"batch_size": "many"}, ("hparams.batch_size=many", "whole number")),
        ({"repeats": 2}, ("hparams.repeats", "no such key")),
    ],
)
def test_a_bad_hparam_fails_the_trial_by_name(bench: Bench, hparams: dict[str, object], words: tuple[str, ...]) -> None:
    failed, fine = bench.measure(bench.job(0, hparams=hparams), bench.job(1))
    assert failed.status == "failed"
    assert all(word in failed.error for word in words)
    assert fine.status == "ok"


def test_a_bad_budget_fails_the_trial_by_name(bench: Bench) -> None:
    [failed] = bench.measure(bench.job(budget=0))
    assert failed.status == "failed"
    assert "epochs=0" in failed.error


def test_a_failed_training_keeps_the_epochs_it_got_through(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 2.0, math.nan])
    monkeypatch.setattr(single, "measure", lambda *arguments, **named: {"accuracy": 0.5, "loss": next(losses)})
    [failed] = bench.measure(bench.job(budget=5))
    assert failed.error == "the validation loss became nan in epoch 3"
    assert failed.metrics == {}
    assert [row["epoch"] for row in failed.history] == [1, 2]


def test_time_limit_fails_the_trial_but_not_the_final_training() -> None:
    bench = Bench("evaluator.time_limit=1e-9", "evaluator.final_epochs=2")
    [failed] = bench.measure(bench.job())
    assert failed.status == "failed"
    assert failed.error == "time limit of 1e-09 s reached in epoch 1"
    assert len(bench.train.final(bench.job())["history"]) == 2


def test_progress_is_told(bench: Bench) -> None:
    told: list[Any] = []
    bench.train.on_progress = told.append
    [measurement] = bench.measure(bench.job(4, repeat=1, budget=2))
    assert [progress[:4] for progress in told] == [(4, 1, 1, 2), (4, 1, 2, 2)]
    assert [progress.metrics for progress in told] == list(measurement.history)
    told.clear()
    bench.train.final(bench.job(4))
    assert {progress.trial for progress in told} == {-1}


@pytest.mark.parametrize("batch_size", [1, 32, 100, 5000])
def test_estimate_is_positive_and_grows_with_the_budget(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that every step moves by a second: the estimate is then the number of steps, and a tenth.
    bench = Bench(f"evaluator.batch_size={batch_size}")
    trial = bench.job(budget=4).trial
    assert bench.train.estimate(trial) > 0
    clock, step = [0.0], single.Stepper.step

    def ticking(self: single.Stepper, *arguments: Any) -> torch.Tensor:
        clock[0] += 1
        return step(self, *arguments)

    monkeypatch.setattr(single.Stepper, "step", ticking)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    steps = max(1, 140 // batch_size)
    assert bench.train.estimate(trial) == pytest.approx(4 * steps * 1.1)
