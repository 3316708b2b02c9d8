"""What a network is trained to lower and what is reported of it, by the kind of task.

A loss adds up what it needs over the batches of a part on the device, so that measuring waits for the device once.
"""

from typing import Protocol

import torch
from torch.nn import functional as F

from nasrun.training.outcomes import Metrics


class Loss(Protocol):
    """The loss of a task. `outputs` are the network's, in float32; `labels` are those of a `DeviceSplit`."""

    #: How many numbers `add` adds up.
    sums: int

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of a training batch, a scalar to go backward from."""

    def amount(self, labels: torch.Tensor) -> torch.Tensor | int:
        """What the mean loss of some labels counts beside that of others, when they are drawn together: above zero."""

    def add(self, sums: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Add what is to be measured of a batch to float64 (sums,), in place."""

    def metrics(self, sums: torch.Tensor, count: int) -> Metrics:
        """What was measured, by name, from the sums over `count` inputs."""


class CrossEntropy:
    """Classification: cross-entropy, with label smoothing in training alone.

    Labels int64 (batch,), outputs (batch, classes). Measures `accuracy` (share of right answers) and `loss`.
    """

    sums = 2

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)

    def amount(self, labels: torch.Tensor) -> int:
        return len(labels)

    def add(self, sums: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
        sums[1] += (outputs.argmax(1) == labels).sum()

    def metrics(self, sums: torch.Tensor, count: int) -> Metrics:
        loss, right = sums.tolist()
        return {"accuracy": right / count, "loss": loss / count}


class SquaredError:
    """Regression on pictures: mean squared error of standardised values.

    Standardised means: each channel of the targets has mean 0 and deviation 1 over the training part, so that whoever
    answers the mean everywhere has an error of 1. Labels (batch, channels + 1, height, width) are the targets in their
    own units, then their weights, 0 or 1; outputs (batch, channels, height, width) are standardised values.

    In training a pixel of weight 0 counts `background`. Measures `loss`, over the pixels of weight 1 (of gap filling:
    the gaps), and `loss_whole`, over all of them. `scale` and `offset`, each (1, channels, 1, 1), standardise.
    """

    sums = 4

    def __init__(self, scale: torch.Tensor, offset: torch.Tensor, background: float = 0.0) -> None:
        self._scale, self._offset, self._background = scale, offset, background

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        squares, _ = self._squares(outputs, labels)
        return (squares * self._weights(labels)).sum() / self.amount(labels)

    def amount(self, labels: torch.Tensor) -> torch.Tensor:
        return (self._weights(labels).sum() * (labels.shape[1] - 1)).clamp_min(1)

    def _weights(self, labels: torch.Tensor) -> torch.Tensor:
        """What each pixel counts in training, (batch, 1, height, width)."""
        weights = labels[:, -1:].float()
        return weights.lerp(weights.new_ones(()), self._background) if self._background else weights

    def add(self, sums: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        squares, weights = self._squares(outputs, labels)
        sums[0] += (squares * weights).sum(dtype=torch.float64)
        sums[1] += weights.sum(dtype=torch.float64) * squares.shape[1]
        sums[2] += squares.sum(dtype=torch.float64)
        sums[3] += squares.numel()

    def metrics(self, sums: torch.Tensor, count: int) -> Metrics:
        weighted, weight, squares, values = sums.tolist()
        return {"loss": weighted / weight, "loss_whole": squares / values}

    def _squares(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors (batch, channels, height, width), and weights (batch, 1, height, width)."""
        targets = torch.addcmul(self._offset, labels[:, :-1].float(), self._scale)
        if outputs.shape != targets.shape:
            given, wanted = (" x ".join(map(str, tensor.shape[1:])) for tensor in (outputs, targets))
            raise ValueError(f"the network's output is {given}, and must be {wanted} as the targets are")
        return (outputs - targets).square(), labels[:, -1:].float()
