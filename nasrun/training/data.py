"""Images on the device: held once as uint8, shuffled, augmented and normalised there. No DataLoader in the hot path."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from nasrun.datasets import Split, Splits
from nasrun.training.losses import CrossEntropy, Loss, SquaredError
from nasrun.training.settings import TrainSettings

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
    """A data set on a device. `scale` and `offset`, each (1, C, 1, 1), map bytes to standardised floats."""

    def __init__(self, splits: Splits, device: str) -> None:
        self._splits, self._device = splits, device
        mean = torch.tensor(splits.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(splits.std, device=device).view(1, -1, 1, 1)
        self.scale = 1 / (255 * std)
        self.offset = -mean / std
        self.regression = bool(splits.target_mean)
        self._held: dict[str, DeviceSplit] = {}

    def split(self, name: str) -> DeviceSplit:
        """`train`, `validation`, `test` or `whole_training`, moved to the device when it is first asked for."""
        if name not in self._held:
            part: Split = getattr(self._splits, name)
            images, labels = torch.from_numpy(part.images), torch.from_numpy(_labels(part))
            self._held[name] = DeviceSplit(images.to(self._device), labels.to(self._device))
        return self._held[name]

    def loss(self, label_smoothing: float = 0.0) -> Loss:
        """What networks are trained on and measured by: cross-entropy, or the squared error of standardised values."""
        if not self.regression:
            return CrossEntropy(label_smoothing)
        splits = self._splits
        mean = torch.tensor(splits.target_mean, device=self._device).view(1, -1, 1, 1)
        std = torch.tensor(splits.target_std, device=self._device).view(1, -1, 1, 1)
        return SquaredError(1 / std, -mean / std, splits.background)

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
        """One epoch in random order. Every batch is full: a remainder waits for another epoch's order."""
        size = min(settings.batch_size, len(split))
        chosen = torch.randperm(len(split), generator=order)[: len(split) // size * size]
        chosen = chosen.to(split.labels.device, non_blocking=True)
        chunk = max(1, CHUNK // size) * size
        for start in range(0, len(chosen), chunk):
            index = chosen[start : start + chunk]
            # Nine times as fast as images[index] on the CPU, for the small rows of such images.
            images, labels = split.images.index_select(0, index), split.labels.index_select(0, index)
            if settings.shift or settings.flip:
                images, labels = self._augmented(images, labels, settings, augment)
            floats = self.normalise(images, memory_format)
            yield from zip(floats.split(size), labels.split(size), strict=True)

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


def augmented(images: torch.Tensor, settings: TrainSettings, generator: torch.Generator) -> torch.Tensor:
    """Randomly shifted (zero border) and mirrored copies of images (N, C, H, W).

    The draws come from a CPU generator, so that they are the same on every device.
    """
    count, _, height, width = images.shape
    device = images.device
    if settings.shift:
        reach = settings.shift
        padded = torch.nn.functional.pad(images, (reach,) * 4)
        moves = torch.randint(0, 2 * reach + 1, (2, count), generator=generator).to(device, non_blocking=True)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=device), :, moves[0], moves[1]]
    if settings.flip:
        mirror = (torch.rand(count, generator=generator) < 0.5).to(device, non_blocking=True)
        images = torch.where(mirror.view(-1, 1, 1, 1), images.flip(3), images)
    return images


def _labels(part: Split) -> np.ndarray:
    """What a `DeviceSplit` holds as labels."""
    if part.targets is None:
        return part.labels
    targets = part.targets
    shape = (len(targets), 1, *targets.shape[2:])
    weights = part.weights if part.weights is not None else np.ones(shape, dtype=np.uint8)
    return np.concatenate((targets, weights.astype(targets.dtype)), axis=1)
