"""Plain dense networks that train together: one computation for all, and for each its own seed, order and dropout.

What a network is given to learn from, its batches and its dropout masks, follows from its own seed alone. On the CPU
its result is the same alone and in company, to the bit (`tests/training/test_company.py`); on CUDA, but for the order
in which a product's terms are added up.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from nasrun.core import seeding
from nasrun.training.augmentation import augmented
from nasrun.training.data import steps_per_epoch
from nasrun.training.dense.steps import DenseStepper
from nasrun.training.outcomes import Metrics
from nasrun.training.request import TrainingRequest

MEASURED_BATCH = 500
"""Images measured at a time, by all networks."""


class Replicas:
    """Networks of one depth, each with one of the `seeds`; see `DenseStepper`."""

    def __init__(self, models: Sequence[nn.Module], seeds: Sequence[int], request: TrainingRequest) -> None:
        self._data, self._settings = request.data, request.settings
        self._split, settings = request.data.split(request.part), request.settings
        self._batch = min(settings.batch_size, len(self._split))
        self._device = self._split.labels.device
        masks = [_generator(seed, seeding.Purpose.DROPOUT, self._device) for seed in seeds]
        self.stepper = DenseStepper(models, settings, request.schedule_steps, self._batch, masks)
        self._orders = [_generator(seed, seeding.Purpose.ORDER) for seed in seeds]
        self._augments = [_generator(seed, seeding.Purpose.AUGMENT) for seed in seeds]

    @property
    def step_number(self) -> int:
        """Steps done, those before a warm start included."""
        return self.stepper.step_number

    @step_number.setter
    def step_number(self, number: int) -> None:
        self.stepper.step_number = number

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch: inputs (networks, batch, features) and labels (networks, batch), each network in an order of its
        own. Every batch is full: a remainder waits for another epoch's order. The orders, and what augmentation draws,
        are those of `DeviceData.training_batches`. Inputs are good until the next: they lie in `stepper.inputs`."""
        count, size = steps_per_epoch(self._split, self._settings) * self._batch, self._batch
        orders = torch.stack([torch.randperm(len(self._split), generator=g)[:count] for g in self._orders])
        orders = orders.to(self._device, non_blocking=True)
        inputs = self.stepper.inputs
        floats = inputs.unflatten(2, self._split.shape)
        chunk = self._split.chunk(size)
        for start in range(0, count, chunk):
            index = orders[:, start : start + chunk]
            altered = self._altered(index) if self._settings.shift or self._settings.flip else None
            for first in range(0, index.shape[1], size):
                chosen = index[:, first : first + size]
                if altered is None:
                    images = self._split.images_at(chosen.reshape(-1)).view_as(floats)
                else:
                    images = altered[:, first : first + size]
                self._data.standardise(floats.copy_(images))
                yield inputs, self._split.labels.index_select(0, chosen.reshape(-1)).view_as(chosen)

    def _altered(self, index: torch.Tensor) -> torch.Tensor:
        """The images of each network's row of an index, augmented: uint8 (networks, images, C, H, W)."""
        return torch.stack(
            [
                augmented(self._split.images_at(row), self._settings, generator)
                for row, generator in zip(index, self._augments, strict=True)
            ]
        )

    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update each network on its batch; returns their mean losses (networks,), still on the device."""
        return self.stepper.step(inputs, labels)

    def measure(self, part: str) -> list[Metrics]:
        """Mean cross-entropy (`loss`) and share of right answers (`accuracy`) of each network on a part of the data."""
        split = self._data.split(part)
        losses = torch.zeros(len(self._orders), dtype=torch.float64, device=self._device)
        right = torch.zeros_like(losses)
        for images, labels in self._data.batches(split, MEASURED_BATCH, torch.contiguous_format):
            outputs = self.stepper.outputs(images.flatten(1))
            if self.stepper.padded:
                each = F.cross_entropy(outputs.flatten(0, 1), labels.repeat(len(outputs)), reduction="none")
                losses += each.view(len(outputs), -1).sum(1, dtype=torch.float64)
            else:
                one_by_one = [F.cross_entropy(one, labels, reduction="none") for one in outputs]
                losses += torch.stack([each.sum(dtype=torch.float64) for each in one_by_one])
            right += (outputs.argmax(2) == labels).sum(1)
        pairs = zip(right.tolist(), losses.tolist(), strict=True)
        return [{"accuracy": hits / len(split), "loss": loss / len(split)} for hits, loss in pairs]

    def write_back(self) -> None:
        """Copy the weights into the models."""
        self.stepper.write_back()


def _generator(seed: int, purpose: seeding.Purpose, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seeding.integer(seed, purpose))
