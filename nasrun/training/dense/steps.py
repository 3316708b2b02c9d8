"""Training steps of plain dense networks with the backward pass written by hand, for one network or many at once.

A step of such a network is so short that building and walking an autograd graph, and an optimizer that visits every
tensor, take longer than its matrix products. Here the parameters of all networks lie in one flat buffer and their
gradients in another, products are written straight into the buffer, what is done with each number alone is done for all
networks at once, and the optimizer sees one tensor, or two. Measured in `docs/benchmarks.md`; the gradients are those
of autograd to within floating-point reordering (`tests/training/test_dense.py`).

On the CPU what a network becomes does not depend on the others, to the bit (`nasrun.training.dense.layers`). On CUDA
networks of different widths are padded with units whose weights are zero. They need no masks: such a unit is 0, and
what it would pass on is 0 too, so that its weights stay zero under each of the optimizers.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import torch
from torch import nn

from nasrun.training.dense.layers import (
    Layer,
    PaddedLayer,
    SeparateLayer,
    Units,
    aligned,
    given,
    spaced,
    units,
)
from nasrun.training.dense.masks import LEVELS, Masks
from nasrun.training.schedule import learning_rate, optimizer_for
from nasrun.training.settings import TrainSettings


class Shape(NamedTuple):
    """A plain dense network: `widths` of input, hidden layers and output; of each hidden layer whether it has a ReLU,
    and the rate of its dropout."""

    widths: tuple[int, ...]
    relus: tuple[bool, ...]
    rates: tuple[float, ...]


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
    weights are copied from the models at the start, and back into them by `write_back`. `padded`: the products of all
    networks are one; None: on CUDA alone (`nasrun.training.dense.layers`).
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        settings: TrainSettings,
        steps: int,
        batch: int,
        generators: Sequence[torch.Generator],
        padded: bool | None = None,
    ) -> None:
        self.step_number = 0
        self._settings, self._steps = settings, steps
        self._linear = [_linear(model) for model in models]
        self._device = self._linear[0][0].weight.device
        self.padded = self._device.type == "cuda" if padded is None else padded
        # Per layer, the input first, the width in each of the networks.
        self._widths = [[layers[0].in_features for layers in self._linear]]
        self._widths += [[layer.out_features for layer in layers] for layers in zip(*self._linear, strict=True)]
        self._allot(batch)
        self._optimizer = self._make_optimizer()
        rates = _rates(models[0])
        self._relus = _relus(models[0])
        self._kept = [1 - rate for rate in rates]
        self.masks = Masks(self._widths[1:-1], rates, batch, generators, self.padded)
        self._right = torch.full((len(models), 1, batch), settings.label_smoothing - 1, device=self._device)

    @torch.no_grad()
    def _allot(self, batch: int) -> None:
        """The buffers, the layers in them, and the initial weights of the models."""
        networks, device = len(self._linear), self._device
        pairs = [(max(before), max(after)) for before, after in pairwise(self._widths)]
        sizes = [aligned(before * after) for before, after in pairs] + [aligned(after) for _, after in pairs]
        self._weights = networks * sum(sizes[: len(pairs)])
        self.values, self.gradients = (torch.zeros(networks * sum(sizes), device=device) for _ in range(2))
        values, gradients = (
            [part.view(networks, -1) for part in buffer.split([networks * size for size in sizes])]
            for buffer in (self.values, self.gradients)
        )
        count, kind = len(pairs), PaddedLayer if self.padded else SeparateLayer
        buffers = zip(values[:count], values[count:], gradients[:count], gradients[count:], strict=True)
        self.layers: list[Layer] = [
            kind(before, after, four) for (before, after), four in zip(pairwise(self._widths), buffers, strict=True)
        ]
        self._hidden, self._errors = (
            [units(widths, batch, device, self.padded) for widths in self._widths[1:-1]] for _ in range(2)
        )
        self._inputs = given(spaced(networks, batch, self._widths[0][0], device=device), self.padded)
        classes = self._widths[-1][0]
        logits = spaced(networks, classes, batch, device=device)
        self._logits, self._last_errors = given(logits, self.padded), given(logits.transpose(1, 2), self.padded)
        self._totals, self._logarithms = (spaced(networks, 1, batch, device=device) for _ in range(2))
        for weight, bias, module in self._modules():
            weight.copy_(module.weight)
            bias.copy_(module.bias)

    @property
    def inputs(self) -> torch.Tensor:
        """Where steps look for their inputs (networks, batch, features); what is given in other places is copied."""
        return self._inputs.flat

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """An optimizer over all weights as one tensor; biases are not decayed, and another one where weights are."""
        decay = self._settings.weight_decay
        cuts = [self._weights, len(self.values) - self._weights] if decay else [len(self.values)]
        parts = [nn.Parameter(part) for part in self.values.split(cuts)]
        for part, gradient in zip(parts, self.gradients.split(cuts), strict=True):
            part.grad = gradient
        return optimizer_for(parts[:1], parts[1:], self._settings)

    def _modules(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, nn.Linear]]:
        """Weight, bias and module of every linear layer of every network."""
        for layer, modules in zip(self.layers, zip(*self._linear, strict=True), strict=True):
            yield from zip(layer.weights, layer.biases, modules, strict=True)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the weights into the models."""
        for weight, bias, module in self._modules():
            module.weight.copy_(weight)
            module.bias.copy_(bias[0])

    @torch.no_grad()
    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update each network on its batch: inputs (networks, batch, features), labels (networks, batch). Returns the
        mean loss of each batch (networks,)."""
        rate = learning_rate(self._settings, self.step_number, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.step_number += 1
        losses = self.backward(inputs, labels, self.masks.following())
        if self._settings.clip_norm is not None:
            self._clip(self._settings.clip_norm)
        self._optimizer.step()
        return losses

    @torch.no_grad()
    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """What each network gives for the same inputs (batch, features): (networks, batch, outputs). No dropout."""
        hidden = given(inputs.expand(len(self._linear), *inputs.shape), self.padded)
        for layer, widths, relu in zip(self.layers, self._widths[1:], [*self._relus, False], strict=True):
            found = units(widths, len(inputs), self._device, self.padded)
            layer.forward(hidden, found)
            if relu:
                found.flat.relu_()
            hidden = found
        assert hidden.whole is not None
        return hidden.whole

    def backward(
        self, inputs: torch.Tensor, labels: torch.Tensor, masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Fill the gradient buffer for one batch of each network; returns their mean losses (networks,). `masks`: the
        dropout factors of each hidden layer."""
        if inputs is not self.inputs:
            self.inputs.copy_(inputs)
        hidden = [self._inputs]
        for layer, found, relu, mask in zip(self.layers[:-1], self._hidden, self._relus, masks, strict=True):
            layer.forward(hidden[-1], found)
            if relu:
                found.flat.relu_()
            if mask is not None:
                found.flat.mul_(mask)
            hidden.append(found)
        # Classes before examples: what runs over the classes is then done for many examples at a time.
        self.layers[-1].logits(hidden[-1], self._logits)
        losses, errors = self._cross_entropy(labels.unsqueeze(1)), self._last_errors
        for position in range(len(self.layers) - 1, -1, -1):
            self.layers[position].gradients(hidden[position], errors)
            if position:
                errors = self._errors_before(position, hidden[position], errors)
        return losses

    def _errors_before(self, position: int, hidden: Units, errors: Units) -> Units:
        """The gradients by the outputs of the layer before that of a position; `hidden`: those outputs."""
        before = self._errors[position - 1]
        self.layers[position].back(errors, before)
        if self._relus[position - 1]:
            # A unit that is zero was cut by the ReLU or by dropout, and passes nothing on.
            torch.ops.aten.threshold_backward(before.flat, hidden.flat, 0, grad_input=before.flat)
        if self._kept[position - 1] < 1:
            before.flat.div_(self._kept[position - 1])
        return before

    def _cross_entropy(self, labels: torch.Tensor) -> torch.Tensor:
        """Mean losses (networks,) of the logits (networks, classes, batch), over which their gradient is written;
        labels (networks, 1, batch).

        Functions of a library (exp, log) and sums run over each network's numbers apart from the others', as the
        buffers are `spaced`; all else is exact.
        """
        smoothing, logits = self._settings.label_smoothing, self._logits.flat
        _, classes, batch = logits.shape
        logits.sub_(logits.amax(1, keepdim=True))
        expected = logits.gather(1, labels).mul_(1 - smoothing)
        if smoothing:
            expected.add_(logits.mean(1, keepdim=True).mul_(smoothing))
        shares = logits.exp_()
        total = torch.sum(shares, 1, keepdim=True, out=self._totals)
        losses = torch.log(total, out=self._logarithms).sub_(expected).sum((1, 2)).div_(batch)
        error = shares.div_(total)
        if smoothing:
            error.sub_(smoothing / classes)
        error.scatter_add_(1, labels, self._right).div_(batch)
        return losses

    def _clip(self, limit: float) -> None:
        """Scale the gradient of each network down to a norm of at most `limit`, as `clip_grad_norm_` does."""
        for parts in zip(*(layer.groups for layer in self.layers), strict=True):
            gradients = list(chain.from_iterable(parts))
            norms = torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients])
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
