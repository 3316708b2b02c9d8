"""Optimizers that go on: n steps, saved, and n more are 2n steps."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from nasrun.training.optimizer_state import read_state, restore_state
from nasrun.training.schedule import make_optimizer
from nasrun.training.settings import TrainSettings


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 9, 2)
    network: nn.Module = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, count: int) -> None:
    for number in range(first, first + count):
        images = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        model(images.to(memory_format=torch.channels_last)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "adadelta"])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(name: str, weight_decay: float) -> None:
    settings = TrainSettings(optimizer=name, lr=0.01, weight_decay=weight_decay)
    whole = network()
    steps(whole, make_optimizer(whole, settings), 0, 6)
    first = network()
    optimizer = make_optimizer(first, settings)
    steps(first, optimizer, 0, 3)
    state = load(save({key: value.contiguous() for key, value in read_state(first, optimizer).items()}))
    second = network()
    second.load_state_dict(first.state_dict())
    optimizer = make_optimizer(second, settings)
    restore_state(second, optimizer, state)
    steps(second, optimizer, 3, 3)
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    afresh = network()
    afresh.load_state_dict(first.state_dict())
    steps(afresh, make_optimizer(afresh, settings), 3, 3)
    assert not all(torch.equal(a, b) for a, b in zip(afresh.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(("name", "kept"), [("sgd", 1), ("adam", 3), ("adadelta", 3)])
def test_what_is_remembered(name: str, kept: int) -> None:
    model = network()
    optimizer = make_optimizer(model, TrainSettings(optimizer=name))
    assert read_state(model, optimizer) == {}
    steps(model, optimizer, 0, 1)
    assert len(read_state(model, optimizer)) == kept * len(list(model.parameters()))


def test_plain_momentum() -> None:
    model = nn.Linear(2, 1)
    assert make_optimizer(model, TrainSettings(optimizer="sgd")).defaults["nesterov"]
    assert not make_optimizer(model, TrainSettings(optimizer="sgd", nesterov=False)).defaults["nesterov"]
