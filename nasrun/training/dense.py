"""Training steps of a plain dense network on the CPU, with the backward pass written by hand.

A step of such a network is so short that building and walking an autograd graph, and an optimizer that visits every
tensor, take longer than its matrix products. Here parameters and gradients lie in one flat buffer each, products are
written straight into it, and the optimizer sees one tensor, or two. Measured in `docs/benchmarks.md`; the gradients
are those of autograd to within floating-point reordering (`tests/training/test_dense.py`).
"""

from typing import NamedTuple

import torch
from torch import nn

from nasrun.hardware.devices import Runtime
from nasrun.training.schedule import learning_rate, optimizer_for
from nasrun.training.settings import TrainSettings

MASK_STEPS = 64
"""Steps whose dropout masks are drawn together: one call of the generator instead of one per layer and step."""


class _Layer(NamedTuple):
    """One linear layer: views into the flat buffers, and the dropout on its output (0 for none)."""

    weight: torch.Tensor
    bias: torch.Tensor
    weight_gradient: torch.Tensor
    bias_gradient: torch.Tensor
    dropout: float


def is_plain_dense(model: nn.Module) -> bool:
    """True for `nn.Sequential` of Flatten, then Linear and ReLU in turn, each ReLU maybe with a Dropout after it."""
    if type(model) is not nn.Sequential:
        return False
    parts = [module for module in model if not (isinstance(module, nn.Dropout) and module.p == 0)]
    if not parts or type(parts[0]) is not nn.Flatten or parts[0].start_dim != 1 or parts[0].end_dim != -1:
        return False
    expected: tuple[type, ...] = (nn.Linear,)
    for module in parts[1:]:
        if type(module) not in expected:
            return False
        if isinstance(module, nn.Linear) and module.bias is None:
            return False
        after = {nn.Linear: (nn.ReLU,), nn.ReLU: (nn.Linear, nn.Dropout), nn.Dropout: (nn.Linear,)}
        expected = after[type(module)]
    return type(parts[-1]) is nn.Linear


class DenseStepper:
    """One optimisation step of a plain dense network (`is_plain_dense`) in fp32 on the CPU.

    The model's parameters become views of one buffer; the model itself can be measured and saved as ever. Dropout
    masks come from torch's global generator, in 16-bit steps of the rate.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, runtime: Runtime, steps: int) -> None:
        self.memory_format = runtime.memory_format(model)
        self.step_number = 0
        self._settings, self._steps = settings, steps
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        weights = sum(module.weight.numel() for module in linear)
        biases = sum(module.bias.numel() for module in linear)
        self._values = torch.empty(weights + biases)
        self._gradients = torch.zeros(weights + biases)
        self._layers = [
            _Layer(*pair, *more, dropout)
            for pair, more, dropout in zip(
                _views(self._values, linear), _views(self._gradients, linear), _dropouts(model), strict=True
            )
        ]
        for module, layer in zip(linear, self._layers, strict=True):
            layer.weight.copy_(module.weight.detach())
            layer.bias.copy_(module.bias.detach())
            module.weight.data, module.bias.data = layer.weight, layer.bias
        # Biases are not decayed; where nothing is, all lies in one tensor.
        sizes = [weights, biases] if settings.weight_decay else [weights + biases]
        self._parts = [nn.Parameter(part) for part in self._values.split(sizes)]
        for part, gradient in zip(self._parts, self._gradients.split(sizes), strict=True):
            part.grad = gradient
        self._optimizer = optimizer_for(self._parts[:1], self._parts[1:], settings)
        self._masks: list[list[torch.Tensor]] = []
        self._masks_for = (-1, 0)

    @torch.no_grad()
    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the model on a batch (batch, C, H, W); returns the batch's mean loss."""
        rate = learning_rate(self._settings, self.step_number, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._backward(images.flatten(1), labels)
        if self._settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parts, self._settings.clip_norm)
        self._optimizer.step()
        self.step_number += 1
        return loss

    def _backward(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Fill the gradient buffer for one batch (batch, features); returns the mean loss."""
        masks = self._next_masks(len(inputs))
        hidden = [inputs]
        for layer, mask in zip(self._layers[:-1], masks, strict=True):
            output = torch.addmm(layer.bias, hidden[-1], layer.weight.t()).relu_()
            hidden.append(output.mul_(mask) if mask is not None else output)
        last = self._layers[-1]
        log_shares = torch.addmm(last.bias, hidden[-1], last.weight.t()).log_softmax(1)
        loss, error = _cross_entropy(log_shares, labels, self._settings.label_smoothing)
        for position in range(len(self._layers) - 1, -1, -1):
            layer, before = self._layers[position], hidden[position]
            torch.mm(error.t(), before, out=layer.weight_gradient)
            torch.sum(error, 0, out=layer.bias_gradient)
            if position:
                # A unit that is zero was cut by the ReLU or by dropout, and passes nothing on.
                error = torch.ops.aten.threshold_backward(torch.mm(error, layer.weight), before, 0)
                dropout = self._layers[position - 1].dropout
                if dropout:
                    error.div_(1 - dropout)
        return loss

    def _next_masks(self, batch: int) -> list[torch.Tensor | None]:
        """Per hidden layer the factors of its outputs, 0 or 1 / (1 - rate), shape (batch, width); None for none."""
        if not any(layer.dropout for layer in self._layers):
            return [None] * (len(self._layers) - 1)
        block, place = divmod(self.step_number, MASK_STEPS)
        if self._masks_for != (block, batch):
            self._masks_for = (block, batch)
            drawn = [self._draw_masks(layer, batch) for layer in self._layers[:-1]]
            self._masks = [[mask[step] for mask in drawn if mask is not None] for step in range(MASK_STEPS)]
        left = iter(self._masks[place])
        return [next(left) if layer.dropout else None for layer in self._layers[:-1]]

    def _draw_masks(self, layer: _Layer, batch: int) -> torch.Tensor | None:
        """Factors for `MASK_STEPS` steps of a layer, shape (steps, batch, width)."""
        if not layer.dropout:
            return None
        count = MASK_STEPS * batch * len(layer.bias)
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
        kept = bits >= round(layer.dropout * 2**16) - 2**15
        return kept.view(MASK_STEPS, batch, -1).float().div_(1 - layer.dropout)


def _cross_entropy(
    log_shares: torch.Tensor, labels: torch.Tensor, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss over a batch, and its gradient by the logits, from the log-softmax (batch, classes)."""
    batch, classes = log_shares.shape
    target = torch.full_like(log_shares, smoothing / classes)
    target.scatter_(1, labels.unsqueeze(1), 1 - smoothing + smoothing / classes)
    loss = torch.dot(target.view(-1), log_shares.reshape(-1)).div_(-batch)
    return loss, log_shares.exp_().sub_(target).div_(batch)


def _views(buffer: torch.Tensor, linear: list[nn.Linear]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight and bias of each layer as views of a buffer that holds all weights first, then all biases."""
    weights = buffer.split([module.weight.numel() for module in linear] + [sum(len(m.bias) for m in linear)])
    biases = weights[-1].split([len(module.bias) for module in linear])
    return [(w.view_as(m.weight), b) for w, b, m in zip(weights[:-1], biases, linear, strict=True)]


def _dropouts(model: nn.Module) -> list[float]:
    """The rate of the dropout that follows each linear layer; 0 where none does."""
    rates: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            rates.append(0.0)
        elif isinstance(module, nn.Dropout):
            rates[-1] = module.p
    return rates
