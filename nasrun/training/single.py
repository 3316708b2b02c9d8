"""One network in training, by autograd: its batches, the optimizer step, and what it measures."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nasrun.core import seeding
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData, measured_at_a_time
from nasrun.training.growing import Growth, shrunk
from nasrun.training.losses import CrossEntropy, Loss
from nasrun.training.micro_batches import parts_of
from nasrun.training.mirrored import MirrorAverage
from nasrun.training.request import TrainingRequest
from nasrun.training.schedule import learning_rate, make_optimizer
from nasrun.training.settings import TrainSettings
from nasrun.training.state import read_training, restore_training
from nasrun.training.teacher import Teacher


class Stepper:
    """One optimisation step: forward, loss, backward, update, at the learning rate of the step.

    `loss`: by default cross-entropy; `teacher`: a network to learn from besides.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: TrainSettings,
        runtime: Runtime,
        steps: int,
        loss: Loss | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.memory_format = runtime.memory_format(model)
        self.step_number = 0
        self.network, self._settings, self._steps = model, settings, steps
        self._growth = Growth(settings.first_size, steps)
        self._loss = loss if loss is not None else CrossEntropy(settings.label_smoothing)
        self._teacher = teacher
        dtype = runtime.autocast_dtype(model)
        # Entering an autocast that is off costs a small dense network 2 % of its step.
        self._autocast = torch.autocast(runtime.device, dtype) if dtype is not None else contextlib.nullcontext()
        self.optimizer = make_optimizer(model, settings)
        self.scaler = torch.amp.GradScaler(runtime.device, enabled=dtype is torch.float16)
        self._parameters = list(model.parameters())

    @property
    def size(self) -> float:
        """The share of their own sides that images had in the last step."""
        return self._growth.size(max(0, self.step_number - 1))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the model on one batch; returns the batch's mean loss, still on the device."""
        images = shrunk(images, self._growth.size(self.step_number))
        rate = learning_rate(self._settings, self._growth.position(self.step_number), self._steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for parameter in self._parameters:
            parameter.grad = None
        if self._settings.micro_batch is None:
            loss = self._backward(images, labels)
        else:
            parts = parts_of(images, labels, self._settings.micro_batch, self._loss)
            loss = torch.stack([self._backward(*part) for part in parts]).sum()
        if self._settings.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step_number += 1
        return loss

    def _backward(
        self, images: torch.Tensor, labels: torch.Tensor, share: torch.Tensor | float | None = None
    ) -> torch.Tensor:
        """Add the gradient of the mean loss, or of a share of it, to the parameters'; returns that loss."""
        with self._autocast:
            outputs = self.network(images).float()
        loss = self._loss(outputs, labels)
        if self._teacher is not None:
            loss = self._teacher.loss(loss, outputs, images, self._settings)
        if share is not None:
            loss = loss * share
        self.scaler.scale(loss).backward()
        return loss.detach()


class Single:
    """One network in training, by autograd.

    With `ema` the model that is given holds the mean weights, which are measured; a copy of it is what is trained.
    """

    def __init__(self, model: torch.nn.Module, seed: int, request: TrainingRequest) -> None:
        data, settings = request.data, request.settings
        self._model, self._data, self._settings, self._runtime = model, data, settings, request.runtime
        self._split, self._seed = data.split(request.part), seed
        self._trained, self._average = model, cast(AveragedModel | None, None)
        if settings.ema:
            self._trained = copy.deepcopy(model)
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
            self._average.module = model
        loss = data.training_loss(settings, self._split)
        self._stepper = Stepper(self._trained, settings, self._runtime, request.schedule_steps, loss, data.teacher)
        self._order, self._augment = _generator(seed, seeding.Purpose.ORDER), _generator(seed, seeding.Purpose.AUGMENT)
        # The network's own dropout draws from the global generator.
        torch.manual_seed(seeding.integer(seed, seeding.Purpose.DROPOUT))
        if request.state is not None:
            self._restore(request.state)

    @property
    def step_number(self) -> int:
        """Steps done, those before a warm start included."""
        return self._stepper.step_number

    @step_number.setter
    def step_number(self, number: int) -> None:
        self._stepper.step_number = number

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (batch, C, H, W) and labels of one epoch; the network is set to training."""
        self._trained.train()
        return self._data.training_batches(
            self._split, self._settings, self._stepper.memory_format, self._order, self._augment
        )

    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the network on one batch."""
        loss = self._stepper.step(inputs, labels)
        if self._average is not None:
            self._average.update_parameters(self._trained)
        return loss

    def measure(self, part: str) -> Sequence[Mapping[str, float]]:
        """What `measure` tells of the network, as a list of one, on images as large as those of the last step: what
        larger ones tell of a network that has not seen any says little of it."""
        return [measure(self._model, self._data, part, self._runtime, self._settings, size=self._stepper.size)]

    def write_back(self) -> None:
        """Nothing to do: the model holds the weights."""

    def state(self) -> dict[str, torch.Tensor]:
        """What the training remembers beside the weights; see `read_training`."""
        return read_training(self._trained, self._stepper, self._streams, self._seed, self._average is not None)

    def _restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what another training with an optimizer of the same kind remembered."""
        restore_training(state, self._trained, self._stepper, self._streams, self._seed)
        if self._average is not None:
            self._average.n_averaged += 1  # the weights that the model has are a mean already

    @property
    def _streams(self) -> dict[str, torch.Generator]:
        return {"order": self._order, "augment": self._augment}


def measure(
    model: torch.nn.Module,
    data: DeviceData,
    part: str,
    runtime: Runtime,
    settings: TrainSettings | None = None,
    on_outputs: Callable[[torch.Tensor], None] = lambda outputs: None,
    size: float = 1.0,
) -> Mapping[str, float]:
    """What the loss of the task measures over one part of the data: `accuracy` and `loss`, or for regression `loss` and
    `loss_whole` (`nasrun.training.losses`). Of the settings count `micro_batch`, images at a time where memory is
    scarce, `test_flip` and `extra_metrics`. `on_outputs` is told the outputs of each batch, in the order of the part,
    in float32. `size`: images are at that share of their sides."""
    settings = settings or TrainSettings()
    split, loss = data.split(part), data.loss(settings)
    memory_format, dtype = runtime.memory_format(model), runtime.autocast_dtype(model)
    meter = loss.meter(runtime.device, settings.extra_metrics)
    network = MirrorAverage(model, data.regression) if settings.test_flip else model
    network.eval()
    with torch.inference_mode():
        for images, labels in data.batches(split, settings.micro_batch or measured_at_a_time(split), memory_format):
            with torch.autocast(runtime.device, dtype, enabled=dtype is not None):
                outputs = network(shrunk(images, size))
            meter.add(outputs.float(), labels)
            on_outputs(outputs.float())
    return meter.metrics(len(split))


def _generator(seed: int, purpose: seeding.Purpose) -> torch.Generator:
    return torch.Generator().manual_seed(seeding.integer(seed, purpose))
