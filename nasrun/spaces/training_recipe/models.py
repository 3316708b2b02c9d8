"""The fixed networks that `training_recipe` trains: their layers and cost by formula, and the torch modules.

Only the functions that build networks import torch.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from nasrun.core import Cost, Task

if TYPE_CHECKING:
    from torch import nn

Model = Literal["dense", "small_cnn", "auto_encoder", "genome"]

WIDTHS: dict[str, tuple[int, ...]] = {"dense": (400,), "small_cnn": (16, 32), "auto_encoder": (16, 32)}
"""Units, or channels, of the hidden layers if the config names none."""

KERNEL = 3
PROBE = Task("probe", 3, 32, 32, 10)
"""A task for a network whose activations are counted; no weights are made."""


class Layer(NamedTuple):
    """A linear layer or convolution: units or channels, stride, height and width of its output (1 for a linear layer).

    `enlarged`: its input is enlarged to twice the size first. `activated`: an activation follows.
    """

    kind: Literal["linear", "convolution"]
    inputs: int
    outputs: int
    stride: int
    height: int
    width: int
    enlarged: bool
    activated: bool


def activations_of(model: str, widths: Sequence[int]) -> int:
    """The number of activations of a network: each of them is a gene."""
    return 2 * len(widths) if model == "auto_encoder" else len(widths)


def layers(model: str, widths: Sequence[int], task: Task) -> list[Layer]:
    """The layers of a network from input to output; ValueError if the task does not fit it.

    `dense`: linear layers of `widths` units. `small_cnn`: convolutions of stride 2 with `widths` channels, global
    average pooling, a linear layer. `auto_encoder`: convolutions of stride 2 down, and as many back to the size of the
    input, each after doubling the picture's size; a last convolution gives the outputs.
    """
    if model == "dense":
        pixels = task.height * task.width if task.kind == "regression" else 1
        sizes = [task.channels * task.height * task.width, *widths, task.outputs * pixels]
        last = len(sizes) - 2
        pairs = pairwise(sizes)
        return [Layer("linear", a, b, 1, 1, 1, False, number < last) for number, (a, b) in enumerate(pairs)]
    found: list[Layer] = []
    channels, height, width = task.channels, task.height, task.width
    for outputs in widths:
        height, width = -(-height // 2), -(-width // 2)
        found.append(Layer("convolution", channels, outputs, 2, height, width, False, True))
        channels = outputs
    if model == "small_cnn":
        return [*found, Layer("linear", channels, task.outputs, 1, 1, 1, False, False)]
    if task.height % 2 ** len(widths) or task.width % 2 ** len(widths):
        size = f"{task.height} x {task.width}"
        raise ValueError(f"widths={list(widths)}: pictures of {size} cannot be halved {len(widths)} times")
    for outputs in [*reversed(widths[:-1]), widths[0]]:
        height, width = 2 * height, 2 * width
        found.append(Layer("convolution", channels, outputs, 1, height, width, True, True))
        channels = outputs
    return [*found, Layer("convolution", channels, task.outputs, 1, height, width, False, False)]


def cost_of(plan: Sequence[Layer]) -> Cost:
    """Weights and biases; two FLOPs per weight and output position."""
    weights = [layer.inputs * layer.outputs * (KERNEL**2 if layer.kind == "convolution" else 1) for layer in plan]
    places = [layer.height * layer.width for layer in plan]
    flops = 2 * sum(count * places for count, places in zip(weights, places, strict=True))
    return Cost(sum(weights) + sum(layer.outputs for layer in plan), flops)


def build(
    model: str, widths: Sequence[int], activations: Sequence[str], task: Task, output: str | None = None
) -> "nn.Module":
    """The network with the named activations of `torch.nn`, which have no weights, so the other layers' weights have
    the same names with any activations. `output`: the activation over the classes after the last layer, or none.
    Initial weights are torch's own, from its global generator."""
    from torch import nn

    names = iter(activations)
    parts: list[nn.Module] = [nn.Flatten()] if model == "dense" else []
    for layer in layers(model, widths, task):
        if layer.kind == "linear":
            parts += _pooled() if model == "small_cnn" else []
            parts.append(nn.Linear(layer.inputs, layer.outputs))
        else:
            parts += [nn.Upsample(scale_factor=2)] if layer.enlarged else []
            parts.append(nn.Conv2d(layer.inputs, layer.outputs, KERNEL, layer.stride, KERNEL // 2))
        if layer.activated:
            parts.append(getattr(nn, next(names))())
    if model == "dense" and task.kind == "regression":
        parts.append(nn.Unflatten(1, (task.outputs, task.height, task.width)))
    if output is not None:
        parts.append(getattr(nn, output)(1))
    return nn.Sequential(*parts)


def _pooled() -> "list[nn.Module]":
    from torch import nn

    from nasrun.spaces.layers import GlobalAveragePool

    return [GlobalAveragePool(), nn.Flatten()]


def places_of_activations(network: "nn.Module") -> "list[tuple[nn.Module, str]]":
    """Each activation of a network, as the module that holds it and its name there, in the order of the modules."""
    from torch import nn

    names = "ReLU ELU Hardshrink Hardsigmoid Hardtanh SELU Sigmoid Tanh SiLU GELU LeakyReLU CELU Hardswish Mish"
    known = tuple(getattr(nn, name) for name in names.split())  # ReLU6 is a Hardtanh
    paths = [path for path, part in network.named_modules(remove_duplicate=False) if isinstance(part, known)]
    split = [path.rpartition(".") for path in paths]
    return [(network.get_submodule(holder), name) for holder, _, name in split]


def with_activations(network: "nn.Module", activations: Sequence[str]) -> "nn.Module":
    """A network with its activations replaced by others, one each, in place."""
    from torch import nn

    for (holder, name), activation in zip(places_of_activations(network), activations, strict=True):
        setattr(holder, name, getattr(nn, activation)())
    return network
