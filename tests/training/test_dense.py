"""The hand-written training step of dense networks gives what autograd gives."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from nasrun.hardware.devices import Runtime
from nasrun.training.dense import MASK_STEPS, DenseStepper, is_plain_dense
from nasrun.training.loop import Stepper, make_stepper
from nasrun.training.settings import TrainSettings

CPU = Runtime("cpu", "fp32", "", 1, True)


def network(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Flatten()]
    for first, second in pairwise(widths):
        parts += [nn.Linear(first, second), nn.ReLU()]
        parts += [nn.Dropout(dropout)] if dropout else []
    torch.manual_seed(0)
    return nn.Sequential(*parts, nn.Linear(widths[-1], 5))


def batch(size: int = 16, features: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(size, 1, 3, features // 3, generator=generator),
        torch.randint(0, 5, (size,), generator=generator),
    )


@pytest.mark.parametrize("widths", [(12,), (12, 7), (12, 9, 4), (12, 3, 8, 6)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_are_those_of_autograd(widths: tuple[int, ...], smoothing: float) -> None:
    model = network(*widths)
    reference = copy.deepcopy(model)
    images, labels = batch()
    expected = functional.cross_entropy(reference(images), labels, label_smoothing=smoothing)
    expected.backward()
    stepper = DenseStepper(model, TrainSettings(label_smoothing=smoothing), CPU, 10)
    with torch.no_grad():
        loss = stepper._backward(images.flatten(1), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    linear = [module for module in reference if isinstance(module, nn.Linear)]
    for module, layer in zip(linear, stepper._layers, strict=True):
        torch.testing.assert_close(layer.weight_gradient, module.weight.grad, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.bias_gradient, module.bias.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_gradients_under_dropout_are_those_of_autograd_under_the_same_masks(dropout: float) -> None:
    model = network(12, 9, 4, dropout=dropout)
    reference = [copy.deepcopy(module) for module in model if isinstance(module, nn.Linear)]
    images, labels = batch()
    stepper = DenseStepper(model, TrainSettings(), CPU, 10)
    with torch.no_grad():
        stepper._backward(images.flatten(1), labels)
    hidden = images.flatten(1)
    for module, mask in zip(reference[:-1], stepper._next_masks(16), strict=True):
        assert mask is not None
        hidden = module(hidden).relu() * mask
    functional.cross_entropy(reference[-1](hidden), labels).backward()
    for module, layer in zip(reference, stepper._layers, strict=True):
        torch.testing.assert_close(layer.weight_gradient, module.weight.grad, rtol=1e-5, atol=1e-6)


def test_masks_drop_at_the_rate_and_keep_the_mean() -> None:
    stepper = DenseStepper(network(12, 300, 200, dropout=0.2), TrainSettings(), CPU, 10)
    seen = []
    for _ in range(MASK_STEPS):
        masks = stepper._next_masks(32)
        assert [tuple(mask.shape) for mask in masks if mask is not None] == [(32, 300), (32, 200)]
        seen.append(torch.cat([mask.flatten() for mask in masks if mask is not None]))
        stepper.step_number += 1
    factors = torch.stack(seen)
    assert factors.unique().tolist() == pytest.approx([0.0, 1.25])
    assert (factors == 0).float().mean().item() == pytest.approx(0.2, abs=0.002)
    assert len({tuple(row[:200].tolist()) for row in factors}) == MASK_STEPS


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"optimizer": "sgd", "lr": 0.05}, {"clip_norm": 0.1}])
def test_twenty_steps_end_at_the_weights_of_autograd(options: dict) -> None:
    model = network(12, 9, 4)
    reference = copy.deepcopy(model)
    settings = TrainSettings(**{"optimizer": "adam", "lr": 0.01, **options})
    ours, theirs = make_stepper(model, settings, CPU, 20), Stepper(reference, settings, CPU, 20)
    assert isinstance(ours, DenseStepper)
    images, labels = batch()
    for _ in range(20):
        losses = ours.step(images, labels).item(), theirs.step(images, labels).item()
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=2e-3, atol=2e-4)
    torch.testing.assert_close(model(images), reference(images), rtol=2e-3, atol=2e-3)


def test_what_is_no_plain_dense_network_is_left_to_autograd() -> None:
    assert is_plain_dense(network(12, 4, dropout=0.5))
    others = [
        nn.Linear(3, 4),
        nn.Sequential(nn.Linear(3, 4)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Linear(4, 5)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(3, 4)),
    ]
    assert not any(is_plain_dense(model) for model in others)
