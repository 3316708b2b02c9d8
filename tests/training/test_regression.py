"""Training for regression on pictures: what is counted, on which scale, and which way is better."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasrun.core import Task
from nasrun.datasets import Splits
from nasrun.datasets.gap_filling import GapFilling
from nasrun.training import single
from nasrun.training.data import DeviceData
from nasrun.training.loop import make_trainee, train
from nasrun.training.losses import CrossEntropy, SquaredError
from nasrun.training.outcomes import TrainingError
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper, measure
from tests.support import setup_of, with_options
from tests.training.auto_encoders import AutoEncoders, smooth
from tests.training.conftest import cpu

TRAIN = TrainSettings(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("picture") / "picture.npy"
    np.save(path, smooth())
    return str(path)


def small(picture: str, **options: Any) -> GapFilling:
    return with_options(GapFilling, path=picture, **{"size": 16, "region": 40, "patches": None, **options})


@pytest.fixture(scope="module")
def splits(picture: str) -> Splits:
    return small(picture).load()


@pytest.fixture(scope="module")
def data(splits: Splits) -> DeviceData:
    return DeviceData(splits, "cpu")


def in_floats(splits: Splits) -> Splits:
    """The same with targets in other units, as a picture of real numbers has them."""

    def changed(part: Any) -> Any:
        return replace(part, targets=(part.targets * 0.2 + 250).astype(np.float32))

    parts = {name: changed(getattr(splits, name)) for name in ("train", "validation", "test")}
    scale = {"target_mean": tuple(0.2 * mean + 250 for mean in splits.target_mean)}
    return replace(splits, **parts, **scale, target_std=tuple(0.2 * std for std in splits.target_std))


class Constant(nn.Module):
    """Gives the same standardised value for every pixel of every band."""

    def __init__(self, value: float, bands: int = 2) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.bands = bands

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(images), self.bands, *images.shape[2:])


class Copy(nn.Module):
    """Gives back the bands of the input as they are."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :-1]


@pytest.mark.parametrize("background", [0.0, 0.25, 1.0])
def test_the_loss_is_the_one_written_out(background: float) -> None:
    rng = np.random.default_rng(0)
    targets, outputs = rng.integers(0, 256, (5, 2, 4, 3)).astype(np.uint8), rng.normal(0, 1, (5, 2, 4, 3))
    weights = rng.integers(0, 2, (5, 1, 4, 3)).astype(np.uint8)
    mean, std = np.array([100.0, 130.0]).reshape(1, 2, 1, 1), np.array([30.0, 7.0]).reshape(1, 2, 1, 1)
    squares = (outputs - (targets - mean) / std) ** 2
    counted = np.broadcast_to(np.where(weights, 1.0, background), squares.shape)
    scale, offset = (torch.tensor(numbers, dtype=torch.float32) for numbers in (1 / std, -mean / std))
    loss = SquaredError(scale, offset, background)
    labels = torch.from_numpy(np.concatenate((targets, weights), 1))
    given = torch.tensor(outputs, dtype=torch.float32, requires_grad=True)
    value = loss(given, labels)
    assert value.item() == pytest.approx((squares * counted).sum() / counted.sum(), rel=1e-5)
    value.backward()
    expected = 2 * counted * (outputs - (targets - mean) / std) / counted.sum()
    np.testing.assert_allclose(given.grad.numpy(), expected, rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]
    meter = loss.meter("cpu")
    for chosen in (slice(0, 2), slice(2, 5)):
        meter.add(given.detach()[chosen], labels[chosen])
    gaps = np.broadcast_to(weights, squares.shape) == 1
    expected_metrics = {"loss": squares[gaps].mean(), "loss_whole": squares.mean()}
    assert meter.metrics(5) == pytest.approx(expected_metrics, rel=1e-5)


def test_a_batch_without_a_gap_has_no_loss_and_no_gradient() -> None:
    loss = SquaredError(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    outputs = torch.ones(2, 1, 3, 3, requires_grad=True)
    value = loss(outputs, torch.zeros(2, 2, 3, 3))
    value.backward()
    assert value.item() == 0
    assert not outputs.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 16, 16), (4, 2, 16, 1), (4, 2, 8, 8)])
def test_outputs_of_another_shape_are_refused_and_never_spread_out(data: DeviceData, shape: tuple[int, ...]) -> None:
    loss = data.loss()
    labels = data.split("train").labels[:4]
    wrong = " x ".join(map(str, shape[1:]))
    with pytest.raises(ValueError, match=f"^the network's output is {wrong}, and must be 2 x 16 x 16 as the targets"):
        loss(torch.zeros(shape), labels)


@pytest.mark.parametrize("floats", [False, True])
def test_an_error_of_one_is_the_mean_for_an_answer(splits: Splits, floats: bool) -> None:
    data = DeviceData(in_floats(splits) if floats else splits, "cpu")
    assert measure(Constant(0.0), data, "train", cpu())["loss_whole"] == pytest.approx(1.0, abs=1e-4)
    assert measure(Constant(2.0), data, "train", cpu())["loss_whole"] == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("floats", [False, True])
def test_known_pixels_have_the_scale_of_the_targets(splits: Splits, floats: bool) -> None:
    data = DeviceData(in_floats(splits) if floats else splits, "cpu")
    found = measure(Copy(), data, "train", cpu())
    share = splits.train.weights.mean()  # type: ignore[union-attr]
    # All of the error is in the gaps, where the input is black.
    assert found["loss"] > 1
    assert found["loss_whole"] == pytest.approx(share * found["loss"], rel=2e-3)


def test_without_weights_all_pixels_count(splits: Splits) -> None:
    plain = replace(splits, train=replace(splits.train, weights=None))
    found = measure(Copy(), DeviceData(plain, "cpu"), "train", cpu())
    assert found["loss"] == found["loss_whole"]
    assert found["loss_whole"] == measure(Copy(), DeviceData(splits, "cpu"), "train", cpu())["loss_whole"]


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("options", [{"shift": 3}, {"flip": True}, {"shift": 2, "flip": True}])
def test_targets_and_gaps_move_with_their_image(splits: Splits, floats: bool, options: dict[str, Any]) -> None:
    data = DeviceData(in_floats(splits) if floats else splits, "cpu")
    settings = TrainSettings(batch_size=16, **options)
    generators = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    moved = 0
    for images, labels in data.training_batches(data.split("train"), settings, torch.contiguous_format, *generators):
        assert labels.dtype == (torch.float32 if floats else torch.uint8)
        bytes_ = ((images - data.offset) / data.scale).round()
        targets, weights = labels[:, :-1].double(), labels[:, -1:]
        assert torch.equal(bytes_[:, -1:], 255 * weights.float())
        units = (targets - 250) / 0.2 if floats else targets
        seen = (weights == 0).expand_as(units) & (units > -1)  # what came in from outside of the picture is 0
        assert torch.allclose(bytes_[:, :-1].double()[seen], units[seen], atol=1e-2)
        moved += int((labels != data.split("train").labels[: len(labels)]).any())
    assert moved


def test_classification_has_the_loss_it_had() -> None:
    data = DeviceData(setup_of("dataset.samples=40").dataset.load(), "cpu")
    assert not data.regression
    loss = data.training_loss(TrainSettings(label_smoothing=0.1), data.split("train"))
    assert isinstance(loss, CrossEntropy)
    outputs, labels = torch.randn(6, 10), torch.arange(6)
    expected = nn.functional.cross_entropy(outputs, labels, label_smoothing=0.1)
    assert torch.equal(loss(outputs, labels), expected)


def trained(data: DeviceData, seed: int = 1, precision: str = "fp32", **options: Any) -> tuple[list[Any], nn.Module]:
    """The history of a training, without times, and the network."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = AutoEncoders().build((8, 3), Task("pictures", 3, 16, 16, 2, "regression"))
        training = train(model, seed, TrainingRequest(data, replace(TRAIN, **options), cpu(precision)))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in training.history], model


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_repeats_and_fills_the_gaps_better_than_the_mean(data: DeviceData, precision: str) -> None:
    history, model = trained(data, 1, precision, epochs=30)
    again, _ = trained(data, 1, precision, epochs=30)
    other, _ = trained(data, 2, precision, epochs=30)
    assert history == again
    assert history != other
    assert set(history[0]) == {"epoch", "train_loss", "val_loss", "val_loss_whole"}
    baseline = measure(Constant(0.0), data, "validation", cpu())
    assert history[-1]["val_loss"] < 0.6 * baseline["loss"]
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]
    found = measure(model, data, "validation", cpu(precision))
    assert {f"val_{name}": value for name, value in found.items()}.items() <= history[-1].items()


def test_training_lowers_what_counts(splits: Splits) -> None:
    gaps, whole = (DeviceData(replace(splits, background=share), "cpu") for share in (0.0, 1.0))
    first, _ = trained(gaps, epochs=6)
    second, model = trained(whole, epochs=6)
    assert second[-1]["val_loss_whole"] < first[-1]["val_loss_whole"]
    # With a background of 1 the training loss is that of the whole pictures.
    assert second[-1]["train_loss"] == pytest.approx(measure(model, whole, "train", cpu())["loss_whole"], rel=0.1)


def test_patience_goes_by_the_lowest_validation_loss(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([0.9, 0.5, 0.7, 0.6, 0.1])
    monkeypatch.setattr(single, "measure", lambda *arguments, **named: {"loss": next(given), "loss_whole": 0.0})
    model = Constant(0.0)
    values: list[float] = []
    training = train(
        model,
        1,
        TrainingRequest(data, replace(TRAIN, epochs=5, patience=2), cpu()),
        lambda epoch, metrics: values.append(model.value.item()),
    )
    assert len(training.history) == 4
    assert training.metrics["epoch"] == 2
    assert model.value.item() == values[1]


def test_a_dense_network_is_not_trained_by_the_steps_made_for_classes(data: DeviceData) -> None:
    dense = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 2))
    trainee = make_trainee([dense], [1], TrainingRequest(data, TRAIN, cpu()))
    inputs, labels = next(iter(trainee.batches()))
    with pytest.raises(ValueError, match="the network's output is 2, and must be 2 x 16 x 16"):
        trainee.step(inputs, labels)


def test_a_loss_that_overflows_is_a_failure(data: DeviceData) -> None:
    with pytest.raises(TrainingError, match=r"became (inf|nan) in epoch 1"):
        trained(data, optimizer="sgd", lr=1e12, schedule="constant")


def test_a_step_without_a_loss_named_is_on_cross_entropy() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    expected = nn.functional.cross_entropy(model(torch.ones(2, 1, 2, 2)), torch.tensor([0, 2])).item()
    loss = Stepper(model, TrainSettings(), cpu(), 1).step(torch.ones(2, 1, 2, 2), torch.tensor([0, 2]))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_price_of_the_networks_of_these_tests_is_right() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    space, task = AutoEncoders(), Task("pictures", 3, 16, 16, 2, "regression")
    for genome in ((4, 3), (16, 5)):
        model = space.build(genome, task)
        with FlopCounterMode(display=False) as counter:
            assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 2, 16, 16)
        assert space.cost(genome, task) == (sum(p.numel() for p in model.parameters()), counter.get_total_flops())


def test_the_blue_marble_can_be_filled() -> None:
    data = DeviceData(with_options(GapFilling, train_samples=800).load(), "cpu")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = AutoEncoders().build((8, 3), Task("pictures", 4, 32, 32, 3, "regression"))
        training = train(model, 1, TrainingRequest(data, TrainSettings(epochs=3, batch_size=16), cpu()))
    assert training.metrics["val_loss"] < 0.3
    assert measure(model, data, "test", cpu())["loss"] < 0.4
