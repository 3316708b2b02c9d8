"""What a network is trained to lower and what is reported of it, by the kind of task.

A loss adds up what it needs over the batches of a part on the device, so that measuring waits for the device once.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch.nn import functional as F

from nasrun.training.metrics import Answers
from nasrun.training.outcomes import Metrics
from nasrun.training.settings import ExtraMetric, TrainSettings


class Meter(Protocol):
    """What is measured of a part of the data, gathered batch by batch on the device."""

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take note of a batch."""

    def metrics(self, count: int) -> Metrics:
        """What was measured, by name, over `count` inputs in all."""


class Loss(Protocol):
    """The loss of a task. `outputs` are the network's, in float32; `labels` are those of a `DeviceSplit`, or in
    training what augmentation makes of them."""

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of a training batch, a scalar to go backward from."""

    def amount(self, labels: torch.Tensor) -> torch.Tensor | int:
        """What the mean loss of some labels counts beside that of others, when they are drawn together: above zero."""

    def meter(self, device: str | torch.device, extra: Sequence[ExtraMetric] = ()) -> Meter:
        """What measures by this loss; `extra`: what else is wanted of a classifier."""


class CrossEntropy:
    """Classification: cross-entropy, in training with label smoothing and with weights of the classes.

    Labels int64 (batch,), in training also shares of the classes, float (batch, classes); outputs (batch, classes).
    `weights`: float (classes,), how much the images of each class count for the mean loss, or None for alike. Measures
    `accuracy` (share of right answers) and `loss`, without smoothing and weights. `logarithms`: outputs are taken for
    logarithms of shares as they are; then there is no smoothing.
    """

    def __init__(
        self, label_smoothing: float = 0.0, weights: torch.Tensor | None = None, logarithms: bool = False
    ) -> None:
        self.label_smoothing, self.weights, self.logarithms = label_smoothing, weights, logarithms

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.logarithms:
            total = F.nll_loss(outputs, labels, self.weights, reduction="sum")
            return total / len(labels)
        if self.weights is None:
            return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)
        # By the number of images, not by their weights: the step of a batch of rare classes is to be a larger one.
        total = F.cross_entropy(outputs, labels, self.weights, label_smoothing=self.label_smoothing, reduction="sum")
        return total / len(labels)

    def amount(self, labels: torch.Tensor) -> int:
        return len(labels)

    def meter(self, device: str | torch.device, extra: Sequence[ExtraMetric] = ()) -> Meter:
        return _ClassMeter(device, extra, F.nll_loss if self.logarithms else F.cross_entropy)


class _ClassMeter:
    def __init__(
        self, device: str | torch.device, extra: Sequence[ExtraMetric], loss: Callable[..., torch.Tensor]
    ) -> None:
        self._loss = loss
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)
        self._answers = Answers(extra)

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        self._sums[0] += self._loss(outputs, labels, reduction="sum")
        self._sums[1] += (outputs.argmax(1) == labels).sum()
        self._answers.add(outputs, labels)

    def metrics(self, count: int) -> Metrics:
        loss, right = self._sums.tolist()
        return {"accuracy": right / count, "loss": loss / count, **self._answers.metrics()}


def class_weights(settings: TrainSettings, labels: torch.Tensor, classes: int) -> torch.Tensor | None:
    """How much the images of each class count, float32 (classes,): the mean over all images (`labels`) is 1.

    None where all count alike.
    """
    if settings.class_weights == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).double()
    if settings.class_weights == "balanced":
        weights = torch.where(counts > 0, 1 / counts, 0.0)
    else:
        weights = torch.tensor(settings.class_weights, dtype=torch.float64, device=labels.device)
    return (weights * counts.sum() / (weights * counts).sum()).float()


class SquaredError:
    """Regression on pictures: mean squared error of standardised values.

    Standardised means: each channel of the targets has mean 0 and deviation 1 over the training part, so that whoever
    answers the mean everywhere has an error of 1. Labels (batch, channels + 1, height, width) are the targets in their
    own units, then their weights, 0 or 1; outputs (batch, channels, height, width) are standardised values.

    In training a pixel of weight 0 counts `background`. Measures `loss`, over the pixels of weight 1 (of gap filling:
    the gaps), and `loss_whole`, over all of them. `scale` and `offset`, each (1, channels, 1, 1), standardise.
    """

    def __init__(self, scale: torch.Tensor, offset: torch.Tensor, background: float = 0.0) -> None:
        self._scale, self._offset, self._background = scale, offset, background

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        squares, _ = self.squares(outputs, labels)
        return (squares * self._weights(labels)).sum() / self.amount(labels)

    def amount(self, labels: torch.Tensor) -> torch.Tensor:
        return (self._weights(labels).sum() * (labels.shape[1] - 1)).clamp_min(1)

    def _weights(self, labels: torch.Tensor) -> torch.Tensor:
        """What each pixel counts in training, (batch, 1, height, width)."""
        weights = labels[:, -1:].float()
        return weights.lerp(weights.new_ones(()), self._background) if self._background else weights

    def meter(self, device: str | torch.device, extra: Sequence[ExtraMetric] = ()) -> Meter:
        return _PictureMeter(self, device)

    def squares(self, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors (batch, channels, height, width), and weights (batch, 1, height, width)."""
        targets = torch.addcmul(self._offset, labels[:, :-1].float(), self._scale)
        if outputs.shape != targets.shape:
            given, wanted = (" x ".join(map(str, tensor.shape[1:])) for tensor in (outputs, targets))
            raise ValueError(f"the network's output is {given}, and must be {wanted} as the targets are")
        return (outputs - targets).square(), labels[:, -1:].float()


class _PictureMeter:
    def __init__(self, loss: SquaredError, device: str | torch.device) -> None:
        self._loss = loss
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        squares, weights = self._loss.squares(outputs, labels)
        self._sums[0] += (squares * weights).sum(dtype=torch.float64)
        self._sums[1] += weights.sum(dtype=torch.float64) * squares.shape[1]
        self._sums[2] += squares.sum(dtype=torch.float64)
        self._sums[3] += squares.numel()

    def metrics(self, count: int) -> Metrics:
        weighted, weight, squares, values = self._sums.tolist()
        return {"loss": weighted / weight, "loss_whole": squares / values}
