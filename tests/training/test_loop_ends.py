"""How trainings end: patience, limits, losses that are no numbers."""

import itertools
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from nasrun.training import single
from nasrun.training.data import DeviceData, steps_per_epoch
from nasrun.training.loop import train
from nasrun.training.outcomes import TrainingError
from nasrun.training.request import Limits, TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper, measure
from tests.training.conftest import accuracy, cpu, small_network, train_network


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Validation accuracies that follow a script; the real ones cannot be made to fall."""
    given = iter(accuracies)
    monkeypatch.setattr(single, "measure", lambda *arguments, **named: {"accuracy": next(given), "loss": 1.0})


def noting_weights(into: list[dict[str, torch.Tensor]], model: nn.Module) -> Callable[[int, object], None]:
    return lambda epoch, metrics: into.append({name: t.clone() for name, t in model.state_dict().items()})


@pytest.mark.parametrize(
    ("patience", "accuracies", "trained", "best"),
    [
        (2, [0.5, 0.6, 0.6, 0.55, 0.9], 4, 2),
        (1, [0.5, 0.4, 0.9, 0.9, 0.9], 2, 1),
        (3, [0.1, 0.5, 0.2, 0.3, 0.6], 5, 5),
        (9, [0.1, 0.5, 0.2, 0.3, 0.1], 5, 2),
    ],
)
def test_patience_stops_and_takes_the_best_epochs_weights(
    data: DeviceData,
    monkeypatch: pytest.MonkeyPatch,
    patience: int,
    accuracies: list[float],
    trained: int,
    best: int,
) -> None:
    scripted(monkeypatch, accuracies)
    torch.manual_seed(1)
    model = small_network()
    weights: list[dict[str, torch.Tensor]] = []
    settings = TrainSettings(epochs=5, batch_size=64, patience=patience)
    training = train(model, 1, TrainingRequest(data, settings, cpu()), noting_weights(weights, model))
    assert len(training.history) == trained
    assert training.metrics["epoch"] == best
    assert accuracy(training) == accuracies[best - 1]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[best - 1][name]), name


def test_without_patience_the_last_epoch_counts(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.9, 0.1])
    training, _ = train_network(data, epochs=2)
    assert training.metrics["epoch"] == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_restored_weights_reproduce_the_best_accuracy(data: DeviceData, precision: str) -> None:
    training, model = train_network(
        data, 1, cpu(precision), epochs=40, patience=2, lr=0.01, schedule="constant", shift=2, flip=True
    )
    accuracies = [row["val_accuracy"] for row in training.history]
    assert training.metrics["epoch"] == len(accuracies) - 2
    assert training.metrics["val_loss"] != pytest.approx(training.history[-1]["val_loss"], rel=1e-3)
    found = measure(model, data, "validation", cpu(precision))
    assert found["accuracy"] == max(accuracies)
    assert found["loss"] == pytest.approx(training.metrics["val_loss"], rel=1e-6)


def test_a_loss_that_is_not_a_number_names_the_epoch(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = Stepper.step, steps_per_epoch(data.split("train"), TrainSettings(batch_size=32))

    def broken(self: Stepper, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = step(self, images, labels)
        return loss * float("nan") if self.step_number == steps + 3 else loss

    monkeypatch.setattr(Stepper, "step", broken)
    with pytest.raises(TrainingError, match=r"^the loss became nan in epoch 2$") as caught:
        train_network(data, epochs=4)
    assert [row["epoch"] for row in caught.value.history] == [1]


def test_a_rate_that_is_far_too_high_is_a_reason(data: DeviceData) -> None:
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch 1"):
        train_network(data, epochs=3, optimizer="sgd", lr=1e30)


def test_a_validation_loss_that_is_not_finite_names_the_epoch(
    data: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "measure", lambda *arguments, **named: {"accuracy": 0.1, "loss": float("inf")})
    with pytest.raises(TrainingError, match=r"^the validation loss became inf in epoch 1$"):
        train_network(data)


def test_time_limit(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(TrainingError, match=r"^time limit of 20\.5 s reached in epoch 2$") as caught:
        train_network(data, epochs=9, limits=Limits(20.5))
    assert [row["epoch"] for row in caught.value.history] == [1]
    train_network(data, epochs=2, limits=Limits(1e6))


def test_nothing_left_to_train_is_a_reason(data: DeviceData) -> None:
    with pytest.raises(TrainingError, match="3 epochs of 2 are done already"):
        train_network(data, epochs=2, first_epoch=3)
