"""Networks that train together: each as if it were alone, whatever becomes of the others."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nasrun.core import seeding
from nasrun.training.data import DeviceData, steps_per_epoch
from nasrun.training.dense.replicas import Replicas
from nasrun.training.loop import train, train_together
from nasrun.training.outcomes import Training, TrainingError
from nasrun.training.request import Limits, TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import measure
from tests.training.conftest import cpu, train_network

PIXELS, CLASSES = 144, 4
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 32, "optimizer": "adam", "weight_decay": 0.0}
TOLERANCE = 1e-4
"""Relative, of losses after three epochs (36 steps): a product's terms may be added up in another order in company."""

Trained = tuple[Training, nn.Sequential]


def network(seed: int, *hidden: int, dropout: float = 0.2) -> nn.Sequential:
    """A dense network whose initial weights follow from the seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise((PIXELS, *hidden)):
            parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        return nn.Sequential(*parts, nn.Linear(hidden[-1], CLASSES))


def alone(data: DeviceData, seed: int, *hidden: int, threads: int = 1, **options: Any) -> Trained:
    model = network(seed, *hidden)
    runtime = cpu()._replace(threads=threads)
    runtime.apply()
    return train(model, seed, TrainingRequest(data, TrainSettings(**{**SETTINGS, **options}), runtime)), model


def together(
    data: DeviceData, hidden: Sequence[Sequence[int]], threads: int = 1, **options: Any
) -> list[tuple[Training | TrainingError, nn.Sequential]]:
    """Networks of seeds 0, 1, ... in one computation."""
    limits = options.pop("limits", Limits())
    told = {name: options.pop(name) for name in ("on_epoch",) if name in options}
    models = options.pop("models", None) or [network(seed, *widths) for seed, widths in enumerate(hidden)]
    runtime = cpu()._replace(threads=threads)
    runtime.apply()
    settings = TrainSettings(**{**SETTINGS, **options})
    request = TrainingRequest(data, settings, runtime, limits=limits)
    outcomes = train_together(models, range(len(models)), request, **told)
    return list(zip(outcomes, models, strict=True))


def check_same(found: tuple[Training | TrainingError, nn.Module], expected: Trained) -> None:
    """The same epochs with the same losses and, but for an image or two, the same accuracies, and the same weights."""
    assert isinstance(found[0], Training)
    assert [row["epoch"] for row in found[0].history] == [row["epoch"] for row in expected[0].history]
    rows, expected_rows = ([training.metrics, *training.history] for training in (found[0], expected[0]))
    for row, wanted in zip(rows, expected_rows, strict=True):
        assert row["epoch"] == wanted["epoch"]
        assert row["train_loss"] == pytest.approx(wanted["train_loss"], rel=TOLERANCE)
        assert row["val_loss"] == pytest.approx(wanted["val_loss"], rel=TOLERANCE)
        assert row["val_accuracy"] == pytest.approx(wanted["val_accuracy"], abs=2 / 100)
    for name, tensor in expected[1].state_dict().items():
        torch.testing.assert_close(found[1].state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"schedule": "constant", "weight_decay": 1e-3, "label_smoothing": 0.1, "clip_norm": 0.5, "optimizer": "adamw"},
    {"optimizer": "sgd", "lr": 0.05, "schedule": "cosine"},
    {"shift": 1, "flip": True},
    {"batch_size": 7, "epochs": 1},
    {"batch_size": 5000},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_the_same_alone_and_among_ten(data: DeviceData, options: dict[str, Any]) -> None:
    group = together(data, [(24, 10)] * 10, **options)
    for seed in (0, 7):
        check_same(group[seed], alone(data, seed, 24, 10, **options))


def test_the_same_alone_and_among_wider_networks(data: DeviceData) -> None:
    widths = [(24, 10), (3, 31), (50, 2), (24, 40)]
    group = together(data, widths)
    for seed in range(4):
        check_same(group[seed], alone(data, seed, *widths[seed]))


@pytest.mark.parametrize("hidden", [(24, 10), (2000, 700)], ids=["small", "large"])
def test_threads_make_no_difference(data: DeviceData, hidden: tuple[int, ...]) -> None:
    options = {"epochs": 1, "batch_size": 100}
    expected = together(data, [hidden] * 3, **options)
    spread = together(data, [hidden] * 3, threads=2, **options)
    for seed in range(3):
        for found in (spread[seed], alone(data, seed, *hidden, threads=2, **options)):
            check_same(found, expected[seed])  # type: ignore[arg-type]


def test_neighbours_have_seeds_of_their_own(data: DeviceData) -> None:
    # Equal initial weights: what differs is the order of the data, and dropout.
    models = [network(5, 24) for _ in range(3)]
    losses = {outcome.history[0]["train_loss"] for outcome, _ in together(data, [], models=models)}  # type: ignore[union-attr]
    assert len(losses) == 3


def test_dense_networks_learn(data: DeviceData) -> None:
    for outcome, _ in together(data, [(32, 16)] * 3, epochs=6, batch_size=16):
        assert isinstance(outcome, Training)
        assert outcome.metrics["val_accuracy"] > 0.9
        assert outcome.metrics == outcome.history[-1]
        expected = {"epoch", "train_loss", "val_accuracy", "val_loss", "seconds"}
        assert all(set(row) == expected for row in outcome.history)


def replicas(data: DeviceData, seeds: Sequence[int], **options: Any) -> Replicas:
    settings = TrainSettings(**{**SETTINGS, **options})
    return Replicas([network(seed, 8) for seed in seeds], seeds, TrainingRequest(data, settings, cpu()))


@pytest.mark.parametrize("options", [{}, {"shift": 2}, {"flip": True, "shift": 1, "batch_size": 70}])
def test_batches_are_those_of_one_network(data: DeviceData, options: dict[str, Any]) -> None:
    settings, split = TrainSettings(**{**SETTINGS, **options}), data.split("train")
    trainee = replicas(data, (4, 9), **options)
    # The second epoch, too: what the first one drew is drawn in the same order.
    ours = [[(inputs.clone(), labels) for inputs, labels in trainee.batches()] for _ in range(2)]
    for number, seed in enumerate((4, 9)):
        purposes = (seeding.Purpose.ORDER, seeding.Purpose.AUGMENT)
        order, augment = (torch.Generator().manual_seed(seeding.integer(seed, purpose)) for purpose in purposes)
        for epoch in ours:
            expected = list(data.training_batches(split, settings, torch.contiguous_format, order, augment))
            assert len(expected) == len(epoch) == steps_per_epoch(split, settings)
            for (images, labels), (inputs, targets) in zip(expected, epoch, strict=True):
                assert torch.equal(inputs[number], images.flatten(1))
                assert torch.equal(targets[number], labels)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_all_are_measured_as_one_is(data: DeviceData, part: str) -> None:
    trainee = replicas(data, range(4))
    for inputs, labels in trainee.batches():
        trainee.step(inputs, labels)
    found = trainee.measure(part)
    models = [network(seed, 8) for seed in range(4)]
    again = Replicas(models, range(4), TrainingRequest(data, TrainSettings(**SETTINGS), cpu()))
    for inputs, labels in again.batches():
        again.step(inputs, labels)
    again.write_back()
    for metrics, model in zip(found, models, strict=True):
        expected = measure(model, data, part, cpu())
        assert metrics["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_torchs_generator_is_not_drawn_from(data: DeviceData) -> None:
    models = [network(seed, 8) for seed in range(2)]
    torch.manual_seed(77)
    before = torch.get_rng_state()
    together(data, [], models=models)
    assert torch.equal(torch.get_rng_state(), before)


def poisoned(seed: int, value: float) -> nn.Sequential:
    model = network(seed, 24)
    with torch.no_grad():
        model[1].weight[3] = value
    return model


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"patience": 2}, {"optimizer": "sgd", "lr": 0.05}])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_a_failure_does_not_touch_the_neighbours(data: DeviceData, value: float, options: dict[str, Any]) -> None:
    healthy = together(data, [(24,)] * 4, **options)
    mixed = together(data, [], models=[network(0, 24), network(1, 24), poisoned(2, value), network(3, 24)], **options)
    failed = mixed[2][0]
    assert isinstance(failed, TrainingError)
    assert str(failed).split(" became ")[0] in ("the loss", "the validation loss")
    assert str(failed).endswith("in epoch 1")
    assert list(failed.history) == []
    for number in (0, 1, 3):
        found, expected = mixed[number], healthy[number]
        assert isinstance(found[0], Training)
        assert isinstance(expected[0], Training)
        for row, wanted in zip(found[0].history, expected[0].history, strict=True):
            assert {**row, "seconds": 0.0} == {**wanted, "seconds": 0.0}
        assert all(torch.equal(t, expected[1].state_dict()[name]) for name, t in found[1].state_dict().items())


def test_a_late_failure_keeps_the_epochs_before_it(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = Replicas.step, steps_per_epoch(data.split("train"), TrainSettings(**SETTINGS))

    def broken(self: Replicas, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = step(self, inputs, labels)
        if self.step_number > steps:
            losses[1] = float("nan")
        return losses

    monkeypatch.setattr(Replicas, "step", broken)
    told: list[tuple[int, int]] = []
    group = together(data, [(8,)] * 3, on_epoch=lambda number, epoch, metrics: told.append((number, epoch)))
    assert str(group[1][0]) == "the loss became nan in epoch 2"
    assert [row["epoch"] for row in group[1][0].history] == [1]
    assert [len(group[number][0].history) for number in (0, 2)] == [3, 3]
    assert told == [(0, 1), (1, 1), (2, 1), (0, 2), (2, 2), (0, 3), (2, 3)]


def test_a_validation_loss_that_is_not_finite_fails_one(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_all, calls = Replicas.measure, itertools.count()

    def broken(self: Replicas, part: str) -> list[dict[str, float]]:
        found = measure_all(self, part)
        return [found[0], {**found[1], "loss": float("inf")}, found[2]] if next(calls) == 1 else found

    monkeypatch.setattr(Replicas, "measure", broken)
    told: list[tuple[int, int]] = []
    group = together(data, [(8,)] * 3, on_epoch=lambda number, epoch, metrics: told.append((number, epoch)))
    assert str(group[1][0]) == "the validation loss became inf in epoch 2"
    assert [len(outcome.history) for outcome, _ in group] == [3, 1, 3]
    assert [epoch for number, epoch in told if number == 1] == [1]


def test_a_group_of_failures_ends_at_once(data: DeviceData) -> None:
    told: list[int] = []
    models = [poisoned(seed, float("nan")) for seed in range(3)]
    group = together(data, [], models=models, on_epoch=lambda number, epoch, metrics: told.append(epoch), epochs=50)
    assert [str(outcome) for outcome, _ in group] == ["the loss became nan in epoch 1"] * 3
    assert told == []


def test_each_stops_early_on_its_own(data: DeviceData) -> None:
    options = {"patience": 2, "epochs": 12, "schedule": "constant", "lr": 0.01, "shift": 2}
    group = together(data, [(24, 10)] * 6, **options)
    lengths = [len(outcome.history) for outcome, _ in group]  # type: ignore[union-attr]
    assert len(set(lengths)) > 1
    assert min(lengths) < 12
    for seed, (outcome, model) in enumerate(group):
        expected, reference = alone(data, seed, 24, 10, **options)
        assert isinstance(outcome, Training)
        assert len(outcome.history) == len(expected.history)
        assert outcome.metrics["epoch"] == expected.metrics["epoch"]
        # The best epoch's weights, not those at the end of the group.
        found = measure(model, data, "validation", cpu())
        assert found["accuracy"] == outcome.metrics["val_accuracy"]
        assert found["accuracy"] == max(row["val_accuracy"] for row in outcome.history)
        for name, tensor in reference.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-2, atol=1e-3)


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))


def test_the_time_limit_is_for_each_ones_share(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    # An epoch of 12 steps takes 14 ticks, so three networks reach 10 s each in the third.
    group = together(data, [(8,)] * 3, limits=Limits(10.0), epochs=9)
    assert [str(outcome) for outcome, _ in group] == ["time limit of 10 s reached in epoch 3"] * 3
    assert [len(outcome.history) for outcome, _ in group] == [2, 2, 2]  # type: ignore[union-attr]


def test_what_stopped_before_the_time_was_up_keeps_its_result(
    data: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"patience": 2, "epochs": 12, "schedule": "constant", "lr": 0.01, "shift": 2}
    whole = [outcome for outcome, _ in together(data, [(24, 10)] * 6, **options)]
    lengths = [len(outcome.history) for outcome in whole]  # type: ignore[union-attr]
    ticking(monkeypatch)
    # Some 5 ticks into the epoch after the one in which the first network stopped.
    group = together(data, [(24, 10)] * 6, limits=Limits((14 * min(lengths) + 5) / 6), **options)
    for (outcome, model), expected in zip(group, whole, strict=True):
        if len(expected.history) > min(lengths):  # type: ignore[union-attr]
            assert isinstance(outcome, TrainingError)
            continue
        assert isinstance(outcome, Training)
        assert outcome.metrics["epoch"] == expected.metrics["epoch"]  # type: ignore[union-attr]
        assert measure(model, data, "validation", cpu())["accuracy"] == outcome.metrics["val_accuracy"]


def test_seconds_are_shares(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    [(outcome, _), *_] = together(data, [(8,)] * 4, epochs=2)
    assert [row["seconds"] for row in outcome.history] == [0.25, 0.25]  # type: ignore[union-attr]


def test_what_is_done_already_is_not_trained_again(data: DeviceData) -> None:
    model = network(0, 8)
    request = TrainingRequest(data, TrainSettings(**SETTINGS), cpu(), first_epoch=2)
    training = train(model, 0, request)
    assert [row["epoch"] for row in training.history] == [3]
    outcomes = train_together([model, network(1, 8)], [0, 1], replace(request, first_epoch=3))
    assert [str(outcome) for outcome in outcomes] == ["nothing left to train: 3 epochs of 3 are done already"] * 2


def test_only_dense_networks_train_together(data: DeviceData) -> None:
    _, convolutional = train_network(data, epochs=1)
    with pytest.raises(ValueError, match="unpack"):
        train_together([convolutional] * 2, [1, 2], TrainingRequest(data, TrainSettings(epochs=1), cpu()))
