"""Learning rates against torch's schedulers, and what the optimizers are made of."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from nasrun.training.schedule import learning_rate, make_optimizer
from nasrun.training.settings import DEFAULT_LR, TrainSettings
from tests.training.conftest import small_network

STEPS = [1, 2, 3, 4, 7, 10, 33, 100, 241]


def rates(make: type[LRScheduler], steps: int, **options: float) -> list[float]:
    """The rates that one of torch's schedulers gives over `steps` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.7)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scheduler warns where no optimizer steps
        scheduler = make(optimizer, **options)  # type: ignore[arg-type]
        for step in range(steps):
            found.append(float(optimizer.param_groups[0]["lr"]))
            if step < steps - 1:
                scheduler.step()
    return found


@pytest.mark.parametrize("steps", STEPS)
def test_one_cycle_is_torchs(steps: int) -> None:
    settings = TrainSettings(schedule="one_cycle", lr=0.7)
    expected = rates(OneCycleLR, steps, max_lr=0.7, total_steps=steps)
    assert [learning_rate(settings, step, steps) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", STEPS)
def test_cosine_is_torchs(steps: int) -> None:
    settings = TrainSettings(schedule="cosine", lr=0.7)
    expected = rates(CosineAnnealingLR, steps, T_max=steps)
    # torch multiplies the rate up step by step, so its own rounding grows.
    assert [learning_rate(settings, step, steps) for step in range(steps)] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("share", [None, 0.2, 0.5])
def test_linear_rises_and_falls_in_straight_lines(share: float | None) -> None:
    settings = TrainSettings(schedule="linear", lr=0.3, warm_up=share)
    found = [learning_rate(settings, step, 100) for step in range(100)]
    top = round(100 * (0.2 if share is None else share))
    assert max(found) == found[top - 1] == found[top] == 0.3
    assert found[:top] == pytest.approx([0.3 * (step + 1) / top for step in range(top)])
    assert found[top:] == pytest.approx([0.3 * (100 - step) / (100 - top) for step in range(top, 100)])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "one_cycle"])
@pytest.mark.parametrize("warm_up", [None, 0.0, 0.15, 0.9])
def test_no_step_is_without_a_rate_and_none_is_above_the_peak(schedule: str, warm_up: float | None, steps: int) -> None:
    settings = TrainSettings(schedule=schedule, lr=0.7, warm_up=warm_up)  # type: ignore[arg-type]
    found = [learning_rate(settings, step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.7 + 1e-12 for rate in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    if steps > 30:
        usual = {"linear": 0.2, "one_cycle": 0.3}.get(schedule, 0.0)
        assert top == pytest.approx((usual if warm_up is None else warm_up) * steps, abs=2.5)


def test_warm_up_of_one_cycle_is_torchs() -> None:
    settings = TrainSettings(schedule="one_cycle", lr=0.7, warm_up=0.15)
    expected = rates(OneCycleLR, 100, max_lr=0.7, total_steps=100, pct_start=0.15)
    assert [learning_rate(settings, step, 100) for step in range(100)] == pytest.approx(expected, rel=1e-9)


def test_constant() -> None:
    settings = TrainSettings(schedule="constant", lr=0.7)
    assert {learning_rate(settings, step, 10) for step in range(10)} == {0.7}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_peak_is_the_optimizers_own_where_none_is_set(optimizer: str) -> None:
    settings = TrainSettings(optimizer=optimizer, schedule="one_cycle")  # type: ignore[arg-type]
    highest = max(learning_rate(settings, step, 1000) for step in range(1000))
    assert highest == pytest.approx(DEFAULT_LR[optimizer], rel=1e-3)
    assert make_optimizer(small_network(), settings).param_groups[0]["lr"] == DEFAULT_LR[optimizer]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_only_matrices_decay(optimizer: str) -> None:
    model = small_network()
    made = make_optimizer(model, TrainSettings(optimizer=optimizer, weight_decay=0.05))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay.pop(id(parameter)) == (0.05 if parameter.ndim > 1 else 0), name
    assert not decay


def test_all_decay_where_that_is_asked_for() -> None:
    model = small_network()
    made = make_optimizer(model, TrainSettings(weight_decay=0.05, decay_all=True))
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    assert {decay[id(p)] for p in model.parameters()} == {0.05}


def test_frozen_parameters_are_left_out() -> None:
    model = small_network()
    model[0].weight.requires_grad_(False)
    for weight_decay in (0.0, 0.05):
        made = make_optimizer(model, TrainSettings(weight_decay=weight_decay))
        held = {id(p) for group in made.param_groups for p in group["params"]}
        assert held == {id(p) for p in model.parameters()} - {id(model[0].weight)}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_kernels_are_fused(optimizer: str, weight_decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    name = "_fused_sgd_" if optimizer == "sgd" else f"_fused_{optimizer}_"
    fused = getattr(torch, name)

    def counted(parameters: list[torch.Tensor], *arguments: object, **named: object) -> object:
        called.append(len(parameters))
        return fused(parameters, *arguments, **named)

    monkeypatch.setattr(torch, name, counted)
    settings = TrainSettings(optimizer=optimizer, weight_decay=weight_decay)  # type: ignore[arg-type]
    model = small_network()
    made = make_optimizer(model, settings)
    model(torch.ones(2, 1, 12, 12)).sum().backward()
    made.step()
    assert all(group["fused"] for group in made.param_groups)
    assert sum(called) == len(list(model.parameters()))
    assert len(called) == (2 if weight_decay else 1)


def test_sgd_takes_nesterovs_step() -> None:
    weight = nn.Parameter(torch.tensor([[1.0]]))
    model = nn.Module()
    model.weight = weight
    made = make_optimizer(model, TrainSettings(optimizer="sgd", lr=0.1, momentum=0.9))
    value, velocity = 1.0, 0.0
    for _ in range(5):
        made.zero_grad()
        (weight**2).sum().backward()
        made.step()
        gradient = 2 * value
        velocity = 0.9 * velocity + gradient
        value -= 0.1 * (gradient + 0.9 * velocity)
        assert weight.item() == pytest.approx(value, rel=1e-4)


def test_sgd_without_momentum() -> None:
    made = make_optimizer(small_network(), TrainSettings(optimizer="sgd", momentum=0.0))
    assert made.param_groups[0]["momentum"] == 0
    assert not made.param_groups[0]["nesterov"]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd", "weight_decay": 5e-4},
        {"optimizer": "adam"},
        {"optimizer": "adam", "weight_decay": 5e-4},
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "weight_decay": 0.05},
    ],
    ids=str,
)
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_every_option_reduces_the_loss(options: dict[str, object], schedule: str) -> None:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(128, 10, generator=generator)
    labels = (inputs[:, :3].argmax(1)).long()
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    settings = TrainSettings(schedule=schedule, **options)  # type: ignore[arg-type]
    made = make_optimizer(model, settings)
    losses = []
    for step in range(200):
        for group in made.param_groups:
            group["lr"] = learning_rate(settings, step, 200)
        loss = F.cross_entropy(model(inputs), labels)
        made.zero_grad()
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
