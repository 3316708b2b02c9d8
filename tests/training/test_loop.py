"""Training one network: it learns, it repeats itself to the bit, it stops where it should."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasrun.training import data as data_module
from nasrun.training import single
from nasrun.training.data import DeviceData, steps_per_epoch
from nasrun.training.loop import train
from nasrun.training.outcomes import Training
from nasrun.training.request import TrainingRequest
from nasrun.training.schedule import learning_rate
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper, measure
from tests.training.conftest import accuracy, cpu, small_data, small_network, train_network

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = {"shift": 1, "flip": True, "label_smoothing": 0.1, "clip_norm": 1.0, "weight_decay": 1e-3}


def digest(training: Training, model: nn.Module) -> list[Any]:
    """Everything that a training gave, to the bit, without its times."""
    weights = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        weights.update(name.encode() + tensor.contiguous().numpy().tobytes())
    rows = [training.metrics, *training.history]
    return [weights.hexdigest(), [{name: value for name, value in row.items() if name != "seconds"} for row in rows]]


def test_training_learns(data: DeviceData) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    training, model = train_network(data, epochs=4, on_epoch=lambda epoch, metrics: told.append((epoch, metrics)))
    assert accuracy(training) > 0.9
    assert [row["epoch"] for row in training.history] == [1, 2, 3, 4]
    assert all(set(row) == {"epoch", "train_loss", "val_accuracy", "val_loss", "seconds"} for row in training.history)
    assert training.metrics == training.history[-1]
    assert training.history[-1]["train_loss"] < 0.7 * training.history[0]["train_loss"]
    assert told == [(row["epoch"], row) for row in training.history]
    assert measure(model, data, "validation", cpu())["accuracy"] == accuracy(training)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("options", [{}, EVERYTHING, {"optimizer": "sgd", "lr": 0.05}], ids=["plain", "all", "sgd"])
def test_a_seed_repeats_to_the_bit_after_other_work(
    data: DeviceData, precision: str, options: dict[str, object]
) -> None:
    first = digest(*train_network(data, 1, cpu(precision), **options))
    other = digest(*train_network(data, 2, cpu(precision), **options))
    torch.manual_seed(123)
    np.random.seed(123)
    torch.randn(1000)
    assert digest(*train_network(data, 1, cpu(precision), **options)) == first
    assert other[0] != first[0]
    assert other[1] != first[1]


def test_a_seed_repeats_in_a_fresh_process(data: DeviceData) -> None:
    code = (
        "import json\n"
        "from tests.training.conftest import accuracy, cpu, small_data, train_network\n"
        "from tests.training.test_loop import EVERYTHING, digest\n"
        "cpu().apply()\n"
        "print(json.dumps([digest(*train_network(small_data(), 1, cpu(p), **EVERYTHING)) for p in ('fp32', 'bf16')]))\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    here = [digest(*train_network(data, 1, cpu(precision), **EVERYTHING)) for precision in ("fp32", "bf16")]
    assert json.loads(printed.stdout) == json.loads(json.dumps(here))


def test_the_seed_decides_order_augmentation_and_dropout_apart(data: DeviceData) -> None:
    # Without any of the three, and with full batches in which order means nothing, the seed changes nothing.
    whole: dict[str, Any] = {"batch_size": len(data.split("train")), "epochs": 1, "schedule": "constant"}
    trained = []
    for seed, shift, dropout in itertools.product((1, 2), (0, 1), (0.0, 0.3)):
        torch.manual_seed(7)
        model = small_network()
        model.insert(6, nn.Dropout(dropout))
        train(model, seed, TrainingRequest(data, TrainSettings(shift=shift, **whole), cpu()))
        trained.append(model[-1].weight.detach())
    one, other = trained[:4], trained[4:]
    torch.testing.assert_close(one[0], other[0], atol=1e-5, rtol=1e-4)
    assert all(not torch.allclose(a, b, atol=1e-5, rtol=1e-4) for a, b in zip(one[1:], other[1:], strict=True))


def test_what_was_drawn_before_makes_no_difference(data: DeviceData) -> None:
    weights = []
    for before in (1, 2):
        torch.manual_seed(7)
        model = small_network()
        model.insert(6, nn.Dropout(0.5))
        torch.manual_seed(before)
        train(model, 3, TrainingRequest(data, TrainSettings(epochs=1, shift=1, flip=True), cpu()))
        weights.append(model[-1].weight.detach())
    assert torch.equal(*weights)


def test_every_epoch_trains_in_training_mode_and_measures_in_evaluation_mode(data: DeviceData) -> None:
    modes: list[tuple[bool, bool]] = []
    model = small_network()
    model[1].register_forward_hook(lambda module, *rest: modes.append((module.training, torch.is_grad_enabled())))
    train(model, 3, TrainingRequest(data, TrainSettings(epochs=2, batch_size=100), cpu()))
    assert modes == 2 * ([(True, True)] * 4 + [(False, False)])


def test_bf16_is_used_and_as_good(data: DeviceData) -> None:
    whole, _ = train_network(data, epochs=4)
    half, model = train_network(data, 1, cpu("bf16"), epochs=4)
    assert abs(accuracy(half) - accuracy(whole)) < 0.06
    assert half.metrics["train_loss"] != whole.metrics["train_loss"]
    assert half.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=0.1)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    seen: list[torch.dtype] = []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    measure(model, data, "validation", cpu("bf16"))
    assert set(seen) == {torch.bfloat16}


def test_dense_networks_stay_in_fp32_on_the_cpu(data: DeviceData) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    seen: list[torch.dtype] = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    half = train(model, 1, TrainingRequest(data, TrainSettings(epochs=1), cpu("bf16")))
    found = measure(model, data, "validation", cpu("bf16"))
    assert set(seen) == {torch.float32}
    assert found["loss"] == pytest.approx(half.metrics["val_loss"], rel=1e-5)


def test_channels_last_is_used_and_as_good(data: DeviceData) -> None:
    last, model = train_network(data, 1, cpu(channels_last=True), epochs=4)
    contiguous, other = train_network(data, 1, cpu(channels_last=False), epochs=4)
    assert abs(accuracy(last) - accuracy(contiguous)) < 0.06
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert other[3].weight.is_contiguous()
    for trained, runtime in ((model, cpu()), (other, cpu(channels_last=False))):
        seen: list[bool] = []
        trained[3].register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(
                inputs[0].is_contiguous(memory_format=torch.channels_last)
            )
        )
        measure(trained, data, "validation", runtime)
        assert set(seen) == {runtime.channels_last}


def test_one_step_is_the_one_written_out(data: DeviceData) -> None:
    """Loss with smoothing, gradient clipped to its norm, SGD: one step against the same in plain torch."""
    settings = TrainSettings(
        optimizer="sgd", lr=0.3, momentum=0.0, schedule="constant", label_smoothing=0.2, clip_norm=0.05, epochs=1
    )
    images = data.normalise(data.split("train").images[:32], torch.contiguous_format)
    labels = data.split("train").labels[:32]
    torch.manual_seed(3)
    model, plain = small_network(), small_network()
    plain.load_state_dict(model.state_dict())
    runtime = cpu(channels_last=False)
    loss = Stepper(model, settings, runtime, 1).step(images, labels)

    logarithms = plain(images).log_softmax(1)
    right, all_ = logarithms[torch.arange(32), labels], logarithms.mean(1)
    expected = -(0.8 * right + 0.2 * all_).mean()
    expected.backward()
    norm = sum(float((p.grad**2).sum()) for p in plain.parameters()) ** 0.5  # type: ignore[operator]
    assert norm > 0.05
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for (name, parameter), own in zip(plain.named_parameters(), model.parameters(), strict=True):
        updated = parameter.detach() - 0.3 * parameter.grad * 0.05 / norm  # type: ignore[operator]
        torch.testing.assert_close(own.detach(), updated, msg=lambda text, name=name: f"{name}: {text}")


def test_each_step_has_the_rate_of_its_place_in_the_schedule(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    rate = learning_rate

    def noted(settings: TrainSettings, step: int, steps: int) -> float:
        asked.append((step, steps))
        return rate(settings, step, steps)

    monkeypatch.setattr(single, "learning_rate", noted)
    train_network(data, epochs=3, batch_size=100)
    assert asked == [(step, 12) for step in range(12)]
    asked.clear()
    training, _ = train_network(data, epochs=3, batch_size=100, first_epoch=2)
    assert asked == [(step, 12) for step in range(8, 12)]
    assert [row["epoch"] for row in training.history] == [3]


def test_train_loss_is_the_mean_over_the_steps(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    step = Stepper.step

    def noted(self: Stepper, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = step(self, images, labels)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(Stepper, "step", noted)
    training, _ = train_network(data, epochs=2, batch_size=64)
    assert len(losses) == 2 * steps_per_epoch(data.split("train"), TrainSettings(batch_size=64)) == 12
    assert training.history[1]["train_loss"] == pytest.approx(sum(losses[6:]) / 6, rel=1e-5)


def test_a_batch_larger_than_the_data_is_one_step(data: DeviceData) -> None:
    training, _ = train_network(data, batch_size=10_000, epochs=1)
    assert np.isfinite(training.metrics["train_loss"])


@pytest.mark.parametrize("batch", [7, 100, 1000])
@pytest.mark.parametrize("part", ["validation", "test", "whole_training"])
def test_measure_is_the_mean_over_all_images(
    data: DeviceData, monkeypatch: pytest.MonkeyPatch, part: str, batch: int
) -> None:
    monkeypatch.setattr(data_module, "EVALUATION_BATCH", batch)
    _, model = train_network(data, epochs=1)
    found = measure(model, data, part, cpu())
    split = data.split(part)
    exact = small_network().double()
    exact.insert(6, nn.Dropout(0.1))
    exact.load_state_dict({name: t.double() for name, t in model.state_dict().items()})
    exact.eval()
    pixels = split.images.numpy().astype(np.float64) / 255
    mean, std = np.float64(data.splits.mean[0]), np.float64(data.splits.std[0])
    with torch.no_grad():
        outputs = exact(torch.from_numpy((pixels - mean) / std))
    losses = -outputs.log_softmax(1)[torch.arange(len(split)), split.labels]
    assert found["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert found["accuracy"] == (outputs.argmax(1) == split.labels).sum().item() / len(split)
    assert F.cross_entropy(outputs, split.labels).item() == pytest.approx(losses.mean().item())


def test_measuring_changes_no_weight(data: DeviceData) -> None:
    _, model = train_network(data, epochs=1)
    before = digest(Training({}), model)
    measure(model, data, "validation", cpu())
    assert digest(Training({}), model) == before


def test_the_small_data_is_the_same_each_time() -> None:
    assert torch.equal(small_data().split("train").images, small_data().split("train").images)


def test_the_share_of_an_epoch_that_is_done_is_told(data: DeviceData) -> None:
    told: list[tuple[int, float]] = []
    settings = TrainSettings(epochs=2, batch_size=64)
    request = TrainingRequest(data, settings, cpu(), on_step=lambda done, share: told.append((done, share)))
    train(small_network(), 0, request)
    steps = steps_per_epoch(data.split("train"), settings)
    assert told == [(epoch, step / steps) for epoch in (0, 1) for step in range(1, steps + 1)]
