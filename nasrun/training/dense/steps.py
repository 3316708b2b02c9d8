"""Training steps of plain dense networks with the backward pass written by hand, for one network or many at once.

A step of such a network is so short that building and walking an autograd graph, and an optimizer that visits every
tensor, take longer than its matrix products. Here the parameters of all networks lie in one flat buffer and their
gradients in another, a layer of all of them is one batched product, written straight into the buffer, and the
optimizer sees one tensor, or two. Measured in `docs/benchmarks.md`; the gradients are those of autograd to within
floating-point reordering (`tests/training/test_dense.py`).

Networks of different widths are padded with units whose weights are zero. They need no masks: such a unit is 0, and
what it would pass on is 0 too, so that its weights stay zero under each of the optimizers.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from nasrun.training.dense.cuda_graphs import StepGraph
from nasrun.training.dense.masks import LEVELS, Masks
from nasrun.training.schedule import learning_rate, optimizer_for
from nasrun.training.settings import TrainSettings

ALIGNMENT = 16
"""Floats: parts of the buffers end on a cache line, so that an optimizer's vector code has no remainder."""


class Shape(NamedTuple):
    """A plain dense network: `widths` of input, hidden layers and output; of each hidden layer whether it has a ReLU,
    and the rate of its dropout."""

    widths: tuple[int, ...]
    relus: tuple[bool, ...]
    rates: tuple[float, ...]


class _Layer(NamedTuple):
    """One linear layer of all networks, views of the buffers: weight (networks, in, out), bias (networks, 1, out)."""

    weight: torch.Tensor
    bias: torch.Tensor
    weight_gradient: torch.Tensor
    bias_gradient: torch.Tensor


def dense_shape(model: nn.Module) -> Shape | None:
    """The shape of an `nn.Sequential` of Flatten and Linear layers, a Linear one last, each of the others with or
    without a ReLU, maybe with a Dropout after it; None for any other network."""
    if type(model) is not nn.Sequential:
        return None
    parts = [module for module in model if not (isinstance(module, nn.Dropout) and module.p == 0)]
    if not parts or type(parts[0]) is not nn.Flatten or parts[0].start_dim != 1 or parts[0].end_dim != -1:
        return None
    expected: tuple[type, ...] = (nn.Linear,)
    for module in parts[1:]:
        if type(module) not in expected:
            return None
        if isinstance(module, nn.Linear) and module.bias is None:
            return None
        if isinstance(module, nn.Dropout) and module.p >= 1 - 1 / LEVELS:
            return None
        after = {nn.Linear: (nn.Linear, nn.ReLU), nn.ReLU: (nn.Linear, nn.Dropout), nn.Dropout: (nn.Linear,)}
        expected = after[type(module)]
    if type(parts[-1]) is not nn.Linear:
        return None
    layers = _linear(model)
    widths = (layers[0].in_features, *(layer.out_features for layer in layers))
    return Shape(widths, tuple(_relus(model)), tuple(_rates(model)))


class DenseStepper:
    """Optimisation steps of plain dense networks (`dense_shape`) in fp32, all of them on batches of their own.

    The networks have the same inputs, outputs, depth and dropout; `generators` gives each its dropout masks. The
    weights are copied from the models at the start, and back into them by `write_back`. `graphs`: on CUDA, the step is
    recorded once and replayed; what `step` returns is then overwritten by the next step.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        settings: TrainSettings,
        steps: int,
        batch: int,
        generators: Sequence[torch.Generator],
        graphs: bool = False,
    ) -> None:
        self.step_number = 0
        self._graph = StepGraph(self._update) if graphs else None
        self._settings, self._steps = settings, steps
        self._linear = [_linear(model) for model in models]
        device = self._linear[0][0].weight.device
        widths = [[layer.out_features for layer in layers[:-1]] for layers in self._linear]
        largest = [max(layer) for layer in zip(*widths, strict=True)]
        sizes = [self._linear[0][0].in_features, *largest, self._linear[0][-1].out_features]
        self._allot(sizes, len(models), device)
        # Biases are not decayed; where nothing is, all lies in one tensor.
        cuts = [self._weights, len(self._values) - self._weights] if settings.weight_decay else [len(self._values)]
        self._parts = [nn.Parameter(part) for part in self._values.split(cuts)]
        for part, gradient in zip(self._parts, self._gradients.split(cuts), strict=True):
            part.grad = gradient
        self._optimizer = optimizer_for(self._parts[:1], self._parts[1:], settings)
        if graphs:
            # Rates in tensors, which a recorded step reads anew each time.
            for group in self._optimizer.param_groups:
                group["lr"] = torch.tensor(float(group["lr"]), device=device)
                group["capturable"] = True
        rates = _rates(models[0])
        self._relus = _relus(models[0])
        self._kept = [1 - rate for rate in rates]
        self._masks = Masks(widths, rates, batch, generators)
        self._right = torch.full((len(models), 1, batch), settings.label_smoothing - 1, device=device)

    @torch.no_grad()
    def _allot(self, sizes: Sequence[int], networks: int, device: torch.device) -> None:
        """The buffers, the layers in them, and the initial weights of the models."""
        shapes = [(networks, before, after) for before, after in pairwise(sizes)]
        shapes += [(networks, 1, after) for after in sizes[1:]]
        self._weights = _aligned(sum(math.prod(shape) for shape in shapes[: len(sizes) - 1]))
        total = self._weights + _aligned(networks * sum(sizes[1:]))
        self._values, self._gradients = torch.zeros(total, device=device), torch.zeros(total, device=device)
        values, gradients = (self._views(buffer, shapes) for buffer in (self._values, self._gradients))
        count = len(sizes) - 1
        self._layers = [
            _Layer(*layer)
            for layer in zip(values[:count], values[count:], gradients[:count], gradients[count:], strict=True)
        ]
        for network, position, module in self._modules():
            layer = self._layers[position]
            # Transposed: the products of the forward pass are then those that the CPU's libraries do fastest.
            layer.weight[network, : module.in_features, : module.out_features] = module.weight.t()
            layer.bias[network, 0, : module.out_features] = module.bias

    def _views(self, buffer: torch.Tensor, shapes: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
        """Tensors of these shapes in a buffer: all weights first, then all biases."""
        views, place = [], 0
        for number, shape in enumerate(shapes):
            place = self._weights if number == len(shapes) // 2 else place
            views.append(buffer[place : place + math.prod(shape)].view(shape))
            place += math.prod(shape)
        return views

    def _modules(self) -> list[tuple[int, int, nn.Linear]]:
        """Every linear layer of the models, with the number of its network and its position there."""
        return [(n, p, module) for n, layers in enumerate(self._linear) for p, module in enumerate(layers)]

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the weights into the models."""
        for network, position, module in self._modules():
            layer = self._layers[position]
            module.weight.copy_(layer.weight[network, : module.in_features, : module.out_features].t())
            module.bias.copy_(layer.bias[network, 0, : module.out_features])

    @torch.no_grad()
    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update each network on its batch: inputs (networks, batch, features), labels (networks, batch). Returns the
        mean loss of each batch (networks,)."""
        rate = learning_rate(self._settings, self.step_number, self._steps)
        for group in self._optimizer.param_groups:
            if self._graph is not None:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.step_number += 1
        masks = self._masks.following()
        return (self._graph or self._update)(inputs, labels, masks)

    @torch.no_grad()
    def _update(self, inputs: torch.Tensor, labels: torch.Tensor, masks: Sequence[torch.Tensor | None]) -> torch.Tensor:
        losses = self._backward(inputs, labels, masks)
        if self._settings.clip_norm is not None:
            self._clip(self._settings.clip_norm)
        self._optimizer.step()
        return losses

    @torch.no_grad()
    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """What each network gives for the same inputs (batch, features): (networks, batch, outputs). No dropout."""
        hidden = inputs.expand(len(self._linear), *inputs.shape)
        for layer, relu in zip(self._layers[:-1], self._relus, strict=True):
            hidden = torch.baddbmm(layer.bias, hidden, layer.weight)
            if relu:
                hidden.relu_()
        return torch.baddbmm(self._layers[-1].bias, hidden, self._layers[-1].weight)

    def _backward(
        self, inputs: torch.Tensor, labels: torch.Tensor, masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Fill the gradient buffer for one batch of each network; returns their mean losses (networks,). `masks`: the
        dropout factors of each hidden layer."""
        hidden = [inputs]
        for layer, relu, mask in zip(self._layers[:-1], self._relus, masks, strict=True):
            output = torch.baddbmm(layer.bias, hidden[-1], layer.weight)
            if relu:
                output.relu_()
            hidden.append(output.mul_(mask) if mask is not None else output)
        last = self._layers[-1]
        # Classes before examples: what runs over the classes is then done for many examples at a time.
        logits = torch.baddbmm(last.bias.transpose(1, 2), last.weight.transpose(1, 2), hidden[-1].transpose(1, 2))
        losses, error = self._cross_entropy(logits, labels.unsqueeze(1))
        error = error.transpose(1, 2)
        for position in range(len(self._layers) - 1, -1, -1):
            layer, before = self._layers[position], hidden[position]
            torch.bmm(before.transpose(1, 2), error, out=layer.weight_gradient)
            torch.sum(error, 1, keepdim=True, out=layer.bias_gradient)
            if position:
                error = torch.bmm(error, layer.weight.transpose(1, 2))
                if self._relus[position - 1]:
                    # A unit that is zero was cut by the ReLU or by dropout, and passes nothing on.
                    error = torch.ops.aten.threshold_backward(error, before, 0)
                if self._kept[position - 1] < 1:
                    error.div_(self._kept[position - 1])
        return losses

    def _cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean losses (networks,), and their gradient by the logits (networks, classes, batch), written over these;
        labels (networks, 1, batch)."""
        smoothing = self._settings.label_smoothing
        _, classes, batch = logits.shape
        logits.sub_(logits.amax(1, keepdim=True))
        expected = logits.gather(1, labels).mul_(1 - smoothing)
        if smoothing:
            expected.add_(logits.mean(1, keepdim=True), alpha=smoothing)
        shares = logits.exp_()
        total = shares.sum(1, keepdim=True)
        losses = total.log().sub_(expected).sum((1, 2)).div_(batch)
        error = shares.div_(total)
        if smoothing:
            error.sub_(smoothing / classes)
        return losses, error.scatter_add_(1, labels, self._right).div_(batch)

    def _clip(self, limit: float) -> None:
        """Scale the gradient of each network down to a norm of at most `limit`, as `clip_grad_norm_` does."""
        gradients = [g for layer in self._layers for g in (layer.weight_gradient, layer.bias_gradient)]
        norms = torch.stack([torch.linalg.vector_norm(g, dim=(1, 2)) for g in gradients])
        factors = (limit / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, 1, 1))


def _linear(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def _relus(model: nn.Module) -> list[bool]:
    """Whether there is a ReLU after each hidden layer."""
    relus: list[bool] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            relus.append(False)
        elif isinstance(module, nn.ReLU):
            relus[-1] = True
    return relus[:-1]


def _rates(model: nn.Module) -> list[float]:
    """The rate of the dropout after each hidden layer; 0 where there is none. Only a ReLU has one after it."""
    rates: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            rates.append(0.0)
        elif isinstance(module, nn.Dropout):
            rates[-1] = module.p
    return rates[:-1]


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
