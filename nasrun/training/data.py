"""Images on the device: held once as uint8, shuffled, augmented and normalised there. No DataLoader in the hot path."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from nasrun.datasets import Split, Splits
from nasrun.training.augmentation import augmented, balanced_order, erase, mixed
from nasrun.training.losses import CrossEntropy, Loss, SquaredError, class_weights
from nasrun.training.settings import TrainSettings
from nasrun.training.teacher import Teacher

CHUNK = 2048
"""Images converted to floats at a time: few enough to stay in the cache, many enough to amortise the calls."""


@dataclass(frozen=True)
class DeviceSplit:
    """`images` uint8 (N, C, H, W) and `labels`, both on the device.

    Labels are int64 (N,), or for regression (N, outputs + 1, H, W): the targets in their own units and type, and their
    weights as last channel.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class DeviceData:
    """A data set on a device. `scale` and `offset`, each (1, C, 1, 1), map bytes to standardised floats.

    `teacher`: a network whose answers are to be learned beside the labels; None unless somebody sets it.
    """

    def __init__(self, splits: Splits, device: str) -> None:
        self._splits, self._device = splits, device
        mean = torch.tensor(splits.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(splits.std, device=device).view(1, -1, 1, 1)
        self.scale = 1 / (255 * std)
        self.offset = -mean / std
        self.regression = bool(splits.target_mean)
        self.classes = len(splits.classes)
        self.teacher: Teacher | None = None
        self._held: dict[str, DeviceSplit] = {}

    def split(self, name: str) -> DeviceSplit:
        """`train`, `validation`, `test` or `whole_training`, moved to the device when it is first asked for."""
        if name not in self._held:
            part: Split = getattr(self._splits, name)
            images, labels = torch.from_numpy(part.images), torch.from_numpy(_labels(part))
            self._held[name] = DeviceSplit(images.to(self._device), labels.to(self._device))
        return self._held[name]

    def loss(self) -> Loss:
        """What networks are measured by: cross-entropy, or the squared error of standardised values."""
        if not self.regression:
            return CrossEntropy()
        splits = self._splits
        mean = torch.tensor(splits.target_mean, device=self._device).view(1, -1, 1, 1)
        std = torch.tensor(splits.target_std, device=self._device).view(1, -1, 1, 1)
        return SquaredError(1 / std, -mean / std, splits.background)

    def training_loss(self, settings: TrainSettings, split: DeviceSplit) -> Loss:
        """What networks are trained on: the same with label smoothing, and with weights of the classes of a part."""
        if self.regression:
            return self.loss()
        return CrossEntropy(settings.label_smoothing, class_weights(settings, split.labels, self.classes))

    def normalise(self, images: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
        """uint8 (N, C, H, W) to standardised floats in a memory format."""
        return self.standardise(images.to(torch.float32, memory_format=memory_format))

    def standardise(self, values: torch.Tensor) -> torch.Tensor:
        """Values of bytes as floats (..., C, H, W), standardised in place."""
        return values.mul_(self.scale).add_(self.offset)

    def training_batches(
        self,
        split: DeviceSplit,
        settings: TrainSettings,
        memory_format: torch.memory_format,
        order: torch.Generator,
        augment: torch.Generator,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch in random order. Every batch is full: a remainder waits for another epoch's order.

        Where images are mixed, labels are shares of the classes, float (batch, classes).
        """
        size = min(settings.batch_size, len(split))
        balanced = settings.sampling == "balanced"
        every = balanced_order(split.labels, order) if balanced else torch.randperm(len(split), generator=order)
        chosen = every[: steps_per_epoch(split, settings) * size]
        chosen = chosen.to(split.labels.device, non_blocking=True)
        chunk = max(1, CHUNK // size) * size
        for start in range(0, len(chosen), chunk):
            index = chosen[start : start + chunk]
            # Nine times as fast as images[index] on the CPU, for the small rows of such images.
            images, labels = split.images.index_select(0, index), split.labels.index_select(0, index)
            if settings.shift or settings.flip:
                images, labels = self._augmented(images, labels, settings, augment)
            floats = self.normalise(images, memory_format)
            if settings.cutout or settings.random_erasing:
                erase(floats, settings, augment)
            batches = zip(floats.split(size), labels.split(size), strict=True)
            if settings.mixup or settings.cutmix:
                yield from (mixed(*batch, self.classes, settings, augment) for batch in batches)
            else:
                yield from batches

    def _augmented(
        self, images: torch.Tensor, labels: torch.Tensor, settings: TrainSettings, augment: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Moved and mirrored images; pictures of targets, with their weights, go along with theirs."""
        if not self.regression:
            return augmented(images, settings, augment), labels
        # Together in one tensor, so that they are moved alike; floats hold bytes exactly.
        channels = images.shape[1]
        moved = augmented(torch.cat((images, labels), 1), settings, augment)
        return moved[:, :channels].to(images.dtype), moved[:, channels:]

    def batches(
        self, split: DeviceSplit, size: int, memory_format: torch.memory_format
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All of a split in its own order, for measuring."""
        for start in range(0, len(split), size):
            images, labels = split.images[start : start + size], split.labels[start : start + size]
            yield self.normalise(images, memory_format), labels


def steps_per_epoch(split: DeviceSplit, settings: TrainSettings) -> int:
    """Full batches in one epoch of a split; a split, or an epoch, below the batch size is one batch."""
    images = min(len(split), settings.epoch_images or len(split))
    return max(1, images // min(settings.batch_size, len(split)))


def _labels(part: Split) -> np.ndarray:
    """What a `DeviceSplit` holds as labels."""
    if part.targets is None:
        return part.labels
    targets = part.targets
    shape = (len(targets), 1, *targets.shape[2:])
    weights = part.weights if part.weights is not None else np.ones(shape, dtype=np.uint8)
    return np.concatenate((targets, weights.astype(targets.dtype)), axis=1)
