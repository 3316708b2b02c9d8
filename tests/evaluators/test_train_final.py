"""Evaluator train: the winner's training and test."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.store import load_weights
from nasrun.checkpoints.winner import read_winner
from nasrun.datasets import Splits
from nasrun.training.data import DeviceData
from tests.evaluators.conftest import Bench, measured


def test_final_tests_the_searchs_weights_where_no_epochs_are_set(tmp_path: Path) -> None:
    bench = Bench("evaluator.final_epochs=null")
    found, kept = tmp_path / "0-0.zip", tmp_path / "best.safetensors"
    bench.measure(bench.job(budget=3, save_to=found))
    result = bench.train.final(bench.job(load_from=found, save_to=kept))
    expected = measured(bench, found, "test")
    assert result["metrics"] == {"test_accuracy": expected["accuracy"], "test_loss": expected["loss"]}
    assert list(result["history"]) == []
    assert all(torch.equal(tensor, load_weights(kept)[name]) for name, tensor in load_weights(found).items())


def test_final_trains_where_no_weights_were_kept(tmp_path: Path) -> None:
    bench = Bench("evaluator.final_epochs=null")
    result = bench.train.final(bench.job(budget=2))
    assert [row["epoch"] for row in result["history"]] == [1, 2]


@pytest.mark.parametrize(("final_data", "count"), [("all", 200), ("train", 140)])
def test_final_trains_anew_on_the_data_asked_for(
    tmp_path: Path, final_data: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench("evaluator.final_epochs=2", f"evaluator.final_data={final_data}", "evaluator.patience=1")
    searched, kept = tmp_path / "0-0.zip", tmp_path / "best" / "model.safetensors"
    bench.measure(bench.job(save_to=searched))
    used: list[int] = []
    batches = DeviceData.training_batches

    def noted(self: DeviceData, split: Any, *arguments: Any) -> Any:
        used.append(len(split))
        return batches(self, split, *arguments)

    monkeypatch.setattr(DeviceData, "training_batches", noted)
    result = bench.train.final(bench.job(load_from=searched, save_to=kept))
    assert used == [count, count]
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    # Patience goes by the validation images, where the final training leaves them out.
    told = {"epoch", "train_loss", "seconds"} | ({"val_accuracy", "val_loss"} if final_data == "train" else set())
    assert all(set(row) == told for row in result["history"])
    expected = measured(bench, kept, "test")
    assert result["metrics"]["test_accuracy"] == expected["accuracy"]
    assert result["metrics"]["test_loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert "2 epochs" in result["trained_on"]
    assert result["seconds"] > 0
    about = read_winner(kept)
    assert about is not None
    assert (about.genome, about.task) == (bench.setup.space.format(bench.genome()), bench.setup.dataset.task)
    assert not about.test_flip
    # From new weights: the search's own make no difference.
    assert bench.train.final(bench.job())["metrics"] == result["metrics"]
    json.dumps(result)


class Guarded(Splits):
    """Splits whose test part raises when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "test":
            raise AssertionError("the test part was looked at")
        return super().__getattribute__(name)


def test_only_final_looks_at_the_test_part() -> None:
    bench = Bench()
    whole = bench.setup.dataset.load()
    bench.setup.dataset.hold(Guarded(whole.train, whole.validation, whole.test, whole.mean, whole.std, whole.classes))
    bench.train.prepare()
    assert bench.measure(bench.job())[0].status == "ok"
    assert bench.train.estimate(bench.job().trial) > 0
    with pytest.raises(AssertionError, match="was looked at"):
        bench.train.final(bench.job())


def test_real_images_are_learned() -> None:
    """The shipped part of Fashion-MNIST: four epochs on a thousand images, where guessing gives a tenth."""
    data = ("dataset=fashion_mnist_mini", "dataset.train_samples=1000")
    bench = Bench("evaluator=train", "hardware=cpu", "hardware.precision=fp32", "hardware.threads=1", *data, base=())
    genome = bench.setup.space.parse("R8k3relu-R16k3relu-N16k3relu")
    [measurement] = bench.measure(bench.job(genome=genome, budget=4, hparams={"batch_size": 16}))
    assert measurement.metrics["val_accuracy"] > 0.5
