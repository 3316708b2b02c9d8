"""One optimisation step of one network, by autograd."""

import contextlib

import torch

from nasrun.hardware.devices import Runtime
from nasrun.training.losses import CrossEntropy, Loss
from nasrun.training.micro_batches import parts_of
from nasrun.training.schedule import learning_rate, make_optimizer
from nasrun.training.settings import TrainSettings
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
        self._model, self._settings, self._steps = model, settings, steps
        self._loss = loss if loss is not None else CrossEntropy(settings.label_smoothing)
        self._teacher = teacher
        dtype = runtime.autocast_dtype(model)
        # Entering an autocast that is off costs a small dense network 2 % of its step.
        self._autocast = torch.autocast(runtime.device, dtype) if dtype is not None else contextlib.nullcontext()
        self.optimizer = make_optimizer(model, settings)
        self.scaler = torch.amp.GradScaler(runtime.device, enabled=dtype is torch.float16)
        self._parameters = list(model.parameters())

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the model on one batch; returns the batch's mean loss, still on the device."""
        rate = learning_rate(self._settings, self.step_number, self._steps)
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
            outputs = self._model(images).float()
        loss = self._loss(outputs, labels)
        if self._teacher is not None:
            loss = self._teacher.loss(loss, outputs, images, self._settings)
        if share is not None:
            loss = loss * share
        self.scaler.scale(loss).backward()
        return loss.detach()
