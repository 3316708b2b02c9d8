"""Training one network, top to bottom. Nothing in the step loop waits for the device; metrics come once per epoch."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from nasrun import seeding
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData, DeviceSplit
from nasrun.training.dense import DenseStepper, is_plain_dense
from nasrun.training.schedule import learning_rate, make_optimizer
from nasrun.training.settings import TrainSettings

EVALUATION_BATCH = 1000

Metrics = dict[str, float]


class TrainingError(Exception):
    """A training that gave no result; the text is the reason, for the tables. `history`: the epochs before it."""

    def __init__(self, reason: str, history: Sequence[Metrics] = ()) -> None:
        super().__init__(reason)
        self.history = history


@dataclass
class Training:
    """What a training gave: the last metrics (with early stopping the best), and those of every epoch."""

    metrics: Metrics
    history: list[Metrics] = field(default_factory=list)


@dataclass(frozen=True)
class Limits:
    """When to stop early: `seconds` of wall time (None: never)."""

    seconds: float | None = None


def train(
    model: torch.nn.Module,
    data: DeviceData,
    settings: TrainSettings,
    runtime: Runtime,
    seed: int,
    *,
    part: str = "train",
    validation: str | None = "validation",
    first_epoch: int = 0,
    limits: Limits = Limits(),
    on_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None,
) -> Training:
    """Train a network on one part of the data and measure it on another after each epoch.

    The data order, the augmentation and dropout follow from `seed` alone. Epochs count from `first_epoch`, so that a
    warm-started network goes on in its schedule. Raises TrainingError where a loss is not finite, the time is up, or
    no epoch is left to train.
    """
    if first_epoch >= settings.epochs:
        raise TrainingError(f"nothing left to train: {first_epoch} epochs of {settings.epochs} are done already")
    started = time.monotonic()
    split = data.split(part)
    runtime.place(model)
    stepper = make_stepper(model, settings, runtime, steps=settings.epochs * steps_per_epoch(split, settings))
    order, augment = _generator(seed, seeding.Purpose.ORDER), _generator(seed, seeding.Purpose.AUGMENT)
    torch.manual_seed(seeding.integer(seed, seeding.Purpose.DROPOUT))
    training, best = Training({}), _Best(settings.patience)
    stepper.step_number = first_epoch * steps_per_epoch(split, settings)
    for epoch in range(first_epoch, settings.epochs):
        epoch_started = time.monotonic()
        model.train()
        loss_sum = torch.zeros((), device=runtime.device)
        for images, labels in data.training_batches(split, settings, stepper.memory_format, order, augment):
            loss_sum += stepper.step(images, labels)
            if limits.seconds is not None and time.monotonic() - started > limits.seconds:
                reason = f"time limit of {limits.seconds:g} s reached in epoch {epoch + 1}"
                raise TrainingError(reason, training.history)
        metrics = {"epoch": epoch + 1, "train_loss": loss_sum.item() / steps_per_epoch(split, settings)}
        _check_finite("the loss", metrics["train_loss"], epoch, training)
        if validation is not None:
            metrics |= {f"val_{name}": value for name, value in measure(model, data, validation, runtime).items()}
            # The weights of the last step, or running statistics, may overflow where the losses before did not.
            _check_finite("the validation loss", metrics["val_loss"], epoch, training)
        metrics["seconds"] = time.monotonic() - epoch_started
        training.history.append(metrics)
        on_epoch(epoch + 1, metrics)
        if best.stop(model, metrics):
            break
    training.metrics = best.take(model, training.history[-1])
    return training


def _check_finite(name: str, value: float, epoch: int, training: Training) -> None:
    if not math.isfinite(value):
        raise TrainingError(f"{name} became {value} in epoch {epoch + 1}", training.history)


def make_stepper(
    model: torch.nn.Module, settings: TrainSettings, runtime: Runtime, steps: int
) -> "Stepper | DenseStepper":
    """The quickest way to train a network: by hand for plain dense ones on the CPU, else by autograd."""
    if runtime.device == "cpu" and is_plain_dense(model):
        return DenseStepper(model, settings, runtime, steps)
    return Stepper(model, settings, runtime, steps)


class Stepper:
    """One optimisation step: forward, loss, backward, update, at the learning rate of the step."""

    def __init__(self, model: torch.nn.Module, settings: TrainSettings, runtime: Runtime, steps: int) -> None:
        self.memory_format = runtime.memory_format(model)
        self.step_number = 0
        self._model, self._settings, self._steps = model, settings, steps
        dtype = runtime.autocast_dtype(model)
        # Entering an autocast that is off costs a small dense network 2 % of its step.
        self._autocast = torch.autocast(runtime.device, dtype) if dtype is not None else contextlib.nullcontext()
        self._optimizer = make_optimizer(model, settings)
        self._scaler = torch.amp.GradScaler(runtime.device, enabled=dtype is torch.float16)
        self._parameters = list(model.parameters())

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the model on one batch; returns the batch's mean loss, still on the device."""
        rate = learning_rate(self._settings, self.step_number, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._autocast:
            outputs = self._model(images)
        loss = F.cross_entropy(outputs.float(), labels, label_smoothing=self._settings.label_smoothing)
        for parameter in self._parameters:
            parameter.grad = None
        self._scaler.scale(loss).backward()
        if self._settings.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step_number += 1
        return loss.detach()


def steps_per_epoch(split: DeviceSplit, settings: TrainSettings) -> int:
    """Full batches in one pass over a split; a split below the batch size is one batch."""
    return max(1, len(split) // settings.batch_size)


def measure(model: torch.nn.Module, data: DeviceData, part: str, runtime: Runtime) -> Mapping[str, float]:
    """Mean cross-entropy (`loss`) and share of right answers (`accuracy`) over one part of the data."""
    split = data.split(part)
    memory_format, dtype = runtime.memory_format(model), runtime.autocast_dtype(model)
    sums = torch.zeros(2, dtype=torch.float64, device=runtime.device)
    model.eval()
    with torch.inference_mode():
        for images, labels in data.batches(split, EVALUATION_BATCH, memory_format):
            with torch.autocast(runtime.device, dtype, enabled=dtype is not None):
                outputs = model(images)
            outputs = outputs.float()
            sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
            sums[1] += (outputs.argmax(1) == labels).sum()
    loss, right = sums.tolist()
    return {"accuracy": right / len(split), "loss": loss / len(split)}


class _Best:
    """Early stopping: the epoch with the highest validation accuracy, and when to give up waiting for a better."""

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._metrics: Metrics = {}
        self._weights: dict[str, torch.Tensor] = {}

    def stop(self, model: torch.nn.Module, metrics: Metrics) -> bool:
        if self._patience is None or "val_accuracy" not in metrics:
            return False
        if not self._metrics or metrics["val_accuracy"] > self._metrics["val_accuracy"]:
            self._metrics = metrics
            self._weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return metrics["epoch"] - self._metrics["epoch"] >= self._patience

    def take(self, model: torch.nn.Module, last: Metrics) -> Metrics:
        """The metrics that count, with the weights they belong to put back into the model."""
        if not self._weights:
            return last
        model.load_state_dict(self._weights)
        return self._metrics


def _generator(seed: int, purpose: seeding.Purpose) -> torch.Generator:
    return torch.Generator().manual_seed(seeding.integer(seed, purpose))
