"""What a training run gives, why it may give nothing, and when it stops early."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

Metrics = dict[str, float]


class TrainingError(Exception):
    """A training run that gave no result; the text is the reason, for the tables. `history`: the epochs before it."""

    def __init__(self, reason: str, history: Sequence[Metrics] = ()) -> None:
        super().__init__(reason)
        self.history = history


@dataclass
class Training:
    """What a training run gave: the last metrics (with early stopping the best), and those of every epoch; where it was
    asked for, what the training remembers at the end, by name (`nasrun.training.state`)."""

    metrics: Metrics
    history: list[Metrics] = field(default_factory=list)
    state: dict[str, torch.Tensor] | None = None


class Best:
    """Early stopping: the epoch with the highest validation accuracy (regression: the lowest validation loss), and when
    to give up waiting for a better."""

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._metrics: Metrics = {}
        self._weights: dict[str, torch.Tensor] = {}

    def stop(self, model: torch.nn.Module, metrics: Metrics) -> bool:
        """Take note of an epoch and of the weights that the model has after it; True where it should be the last."""
        if self._patience is None or "val_loss" not in metrics:
            return False
        if not self._metrics or _merit(metrics) > _merit(self._metrics):
            self._metrics = metrics
            self._weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return metrics["epoch"] - self._metrics["epoch"] >= self._patience

    def take(self, model: torch.nn.Module, last: Metrics) -> Metrics:
        """The metrics that count, with the weights they belong to put back into the model."""
        if not self._weights:
            return last
        model.load_state_dict(self._weights)
        return self._metrics


def _merit(metrics: Metrics) -> float:
    """What early stopping goes by: the higher, the better."""
    return metrics["val_accuracy"] if "val_accuracy" in metrics else -metrics["val_loss"]
