"""The hand-written training step of dense networks gives each of them what autograd gives it."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nasrun.hardware.devices import Runtime
from nasrun.training.dense.layers import matrices
from nasrun.training.dense.masks import STEPS, Masks
from nasrun.training.dense.steps import DenseStepper, Shape, dense_shape
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper

CPU = Runtime("cpu", "fp32", "", 1, True)
CLASSES, FEATURES = 5, 12
WIDTHS = [(), (7,), (9, 4), (3, 8, 6)]


def network(*hidden: int, dropout: float = 0.0, seed: int = 0, last_linear: bool = False) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Flatten()]
    torch.manual_seed(seed)
    for before, after in pairwise((FEATURES, *hidden)):
        parts += [nn.Linear(before, after), nn.ReLU()]
        parts += [nn.Dropout(dropout)] if dropout else []
    if last_linear and hidden:
        del parts[-2 if dropout else -1 :]
    return nn.Sequential(*parts, nn.Linear(hidden[-1] if hidden else FEATURES, CLASSES))


def batches(networks: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (networks, size, features) and labels (networks, size): a batch of its own for each."""
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(networks, size, FEATURES, generator=generator),
        torch.randint(0, CLASSES, (networks, size), generator=generator),
    )


def stepper_of(models: list[nn.Sequential], size: int = 16, padded: bool = False, **options: Any) -> DenseStepper:
    """`padded`: as it is on CUDA, else as on the CPU."""
    generators = [torch.Generator().manual_seed(40 + number) for number in range(len(models))]
    return DenseStepper(models, TrainSettings(**options), 20, size, generators, padded=padded)


def gradients(stepper: DenseStepper, number: int, position: int) -> tuple[torch.Tensor, ...]:
    """The gradients of a layer of one network, shaped as torch keeps them."""
    layer = stepper.layers[position]
    return layer.weight_gradients[number], layer.bias_gradients[number][0]


def linear_of(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def check_gradients(models: list[nn.Sequential], size: int, smoothing: float, padded: bool) -> None:
    stepper = stepper_of(models, size, padded, label_smoothing=smoothing)
    inputs, labels = batches(len(models), size)
    with torch.no_grad():
        losses = stepper.backward(inputs, labels, stepper.masks.following())
    for number, model in enumerate(models):
        expected = functional.cross_entropy(model(inputs[number]), labels[number], label_smoothing=smoothing)
        expected.backward()
        assert losses[number].item() == pytest.approx(expected.item(), rel=1e-5)
        for position, linear in enumerate(linear_of(model)):
            weight, bias = gradients(stepper, number, position)
            torch.testing.assert_close(weight, linear.weight.grad, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(bias, linear.bias.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("hidden", WIDTHS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_those_of_autograd(
    hidden: tuple[int, ...], smoothing: float, networks: int, padded: bool
) -> None:
    check_gradients([network(*hidden, seed=seed) for seed in range(networks)], 16, smoothing, padded)


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.integers(0, 3).flatmap(
        lambda depth: st.lists(st.lists(st.integers(1, 20), min_size=depth, max_size=depth), min_size=1, max_size=4)
    ),
    size=st.integers(1, 9),
    smoothing=st.sampled_from([0.0, 0.1]),
    last_linear=st.booleans(),
    padded=st.booleans(),
)
def test_gradients_of_networks_of_different_widths(
    hidden: list[list[int]], size: int, smoothing: float, last_linear: bool, padded: bool
) -> None:
    models = [network(*widths, seed=seed, last_linear=last_linear) for seed, widths in enumerate(hidden)]
    check_gradients(models, size, smoothing, padded)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_gradients_under_dropout_are_those_of_autograd_under_the_same_masks(dropout: float, padded: bool) -> None:
    models = [network(9, 4, dropout=dropout), network(5, 6, dropout=dropout, seed=1)]
    stepper = stepper_of(models, padded=padded)
    inputs, labels = batches(2)
    with torch.no_grad():
        losses = stepper.backward(inputs, labels, stepper.masks.following())
    masks = factors(stepper_of(models).masks, [[9, 5], [4, 6]])
    for number, model in enumerate(models):
        hidden = inputs[number]
        layers = linear_of(model)
        for layer, mask in zip(layers[:-1], masks, strict=True):
            assert mask is not None
            hidden = layer(hidden).relu() * mask[number]
        loss = functional.cross_entropy(layers[-1](hidden), labels[number])
        loss.backward()
        assert losses[number].item() == pytest.approx(loss.item(), rel=1e-5)
        for position, layer in enumerate(layers):
            weight, bias = gradients(stepper, number, position)
            torch.testing.assert_close(weight, layer.weight.grad, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(bias, layer.bias.grad, rtol=1e-5, atol=1e-6)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "optimizer": "adamw"},
    {"optimizer": "sgd", "lr": 0.05},
    {"clip_norm": 0.1, "optimizer": "sgd", "lr": 0.5},
    {"clip_norm": 50.0, "optimizer": "sgd", "lr": 0.05},
    {"schedule": "one_cycle", "label_smoothing": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("hidden", [[(9, 4)], [(9, 4), (9, 4), (9, 4)], [(9, 4), (3, 11), (6, 6)]], ids=len)
@pytest.mark.parametrize("padded", [False, True])
def test_twenty_steps_end_at_the_weights_of_autograd(
    hidden: list[tuple[int, ...]], options: dict, padded: bool
) -> None:
    models = [network(*widths, seed=seed) for seed, widths in enumerate(hidden)]
    references = [copy.deepcopy(model) for model in models]
    options = {"optimizer": "adam", "lr": 0.01, "schedule": "constant", **options}
    ours = stepper_of(models, padded=padded, **options)
    theirs = [Stepper(reference, TrainSettings(**options), CPU, 20) for reference in references]
    inputs, labels = batches(len(models))
    for _ in range(20):
        found = ours.step(inputs, labels)
        expected = [stepper.step(inputs[number], labels[number]).item() for number, stepper in enumerate(theirs)]
        assert found.tolist() == pytest.approx(expected, rel=1e-3)
    ours.write_back()
    outputs = ours.outputs(inputs[0])
    for number, (model, reference) in enumerate(zip(models, references, strict=True)):
        for name, tensor in reference.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=2e-3, atol=2e-4)
        torch.testing.assert_close(outputs[number], model(inputs[0]).detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(outputs[number], reference(inputs[0]).detach(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("padded", [False, True])
def test_what_no_network_has_stays_zero(padded: bool) -> None:
    models = [network(9, 4, dropout=0.3), network(3, 11, dropout=0.3)]
    stepper = stepper_of(models, padded=padded, weight_decay=0.1)
    inputs, labels = batches(2)
    for _ in range(5):
        stepper.step(inputs, labels)
    own = [tensor for layer in stepper.layers for tensor in (*layer.weights, *layer.biases)]
    assert [tuple(tensor.shape) for tensor in stepper.layers[1].weights] == [(4, 9), (11, 3)]
    assert all(tensor.any() for tensor in own)
    assert sum(int(tensor.count_nonzero()) for tensor in own) == stepper.values.count_nonzero()
    assert sum(tensor.numel() for tensor in own) < stepper.values.numel()


def masks_of(
    widths: list[list[int]], rates: list[float], batch: int = 32, first_seed: int = 3, padded: bool = False
) -> Masks:
    """`widths`: per layer, of each network."""
    generators = [torch.Generator().manual_seed(first_seed + number) for number in range(len(widths[0]))]
    return Masks(widths, rates, batch, generators, padded)


def factors(masks: Masks, widths: list[list[int]]) -> list[list[torch.Tensor] | None]:
    """The next step's, (batch, width) for each layer and network."""
    batch = masks.batch
    return [
        None if flat is None else matrices(flat, [batch] * len(layer), layer, masks.padded)
        for flat, layer in zip(masks.following(), widths, strict=True)
    ]


@pytest.mark.parametrize("padded", [False, True])
def test_masks_drop_at_the_rate_and_keep_the_mean(padded: bool) -> None:
    widths = [[300] * 2, [200] * 2, [7] * 2]
    masks = masks_of(widths, [0.2, 0.5, 0.0], padded=padded)
    seen: list[list[torch.Tensor]] = [[], []]
    for _ in range(STEPS + 5):
        *found, none = factors(masks, widths)
        assert none is None
        for layer, mask, width in zip(seen, found, (300, 200), strict=True):
            assert mask is not None
            layer.append(torch.stack(mask))
            assert layer[-1].shape == (2, 32, width)
    for layer, rate in zip(seen, (0.2, 0.5), strict=True):
        drawn = torch.stack(layer)
        assert drawn.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
        for number in range(2):
            assert (drawn[:, number] == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
        # No step, network or image has the mask of another.
        assert len({tuple(row.tolist()) for row in drawn[..., :200].reshape(-1, 200)}) == (STEPS + 5) * 2 * 32


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("widths", "batch"), [([8, 4], 32), ([5, 3], 7), ([300, 200], 500)])
def test_a_networks_masks_do_not_depend_on_its_company(widths: list[int], batch: int, padded: bool) -> None:
    lone = [[width] for width in widths]
    alone = masks_of(lone, [0.3, 0.1], batch, first_seed=8)
    # Wider company: fewer steps are drawn at a time, and the rows are longer.
    all_ = [[40, 16, 1, 9, 50, widths[0]], [900, 2, 1, 9, 50, widths[1]]]
    company = masks_of(all_, [0.3, 0.1], batch, padded=padded)
    assert batch < 500 or company.steps < alone.steps
    for _ in range(min(150, alone.steps + 3)):
        for own, others in zip(factors(alone, lone), factors(company, all_), strict=True):
            assert own is not None
            assert others is not None
            assert torch.equal(own[0], others[5])


def test_the_shape_of_a_plain_dense_network() -> None:
    assert dense_shape(network(4, dropout=0.5)) == Shape((12, 4, 5), (True,), (0.5,))
    assert dense_shape(network(7, 6)) == Shape((12, 7, 6, 5), (True, True), (0.0, 0.0))
    assert dense_shape(network()) == Shape((12, 5), (), ())
    assert dense_shape(network(7, 6, dropout=0.5, last_linear=True)) == Shape((12, 7, 6, 5), (True, False), (0.5, 0.0))


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(3, 4),
        nn.Sequential(nn.Linear(3, 4)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 5)),
        nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Dropout(1.0), nn.Linear(4, 5)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(3, 4)),
    ],
)
def test_what_is_no_plain_dense_network_is_left_to_autograd(model: nn.Module) -> None:
    assert dense_shape(model) is None
