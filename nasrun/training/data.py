"""Images on the device: held once as uint8, shuffled, augmented and normalised there. No DataLoader in the hot path."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from nasrun.datasets import Split, Splits
from nasrun.datasets.mapped import MappedImages, in_memory
from nasrun.training.augmentation import augmented, balanced_order, erase, mixed
from nasrun.training.losses import CrossEntropy, Loss, SquaredError, class_weights
from nasrun.training.settings import TrainSettings
from nasrun.training.teacher import Teacher

CHUNK = 2048
"""Images converted to floats at a time: few enough to stay in the cache, many enough to amortise the calls."""
CHUNK_BYTES = 12 * 2**20
"""Bytes of pixels at most in what is converted at a time: large images are fewer, down to one batch."""
EVALUATION_BATCH = 1000
"""Images measured at a time, unless memory is scarce or they are large."""
EVALUATION_PIXELS = 2**20
"""Pixels of one channel in them at most: as many as 1,024 images of 32 by 32 have."""
ON_GPU = 0.25
"""The share of a GPU's memory that images in a file may take; beyond it each batch is brought there alone."""


@dataclass(frozen=True)
class DeviceSplit:
    """`images` uint8 (N, C, H, W) and `labels`, both on the device. Or images that stay where they are: then `rows`,
    int64 (N,), says which of `images`, on the CPU, are those of the part; batches of them are brought to the device.

    Labels are int64 (N,), or for regression (N, outputs + 1, H, W): the targets in their own units and type, and their
    weights as last channel.
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> torch.Size:
        """(C, H, W) of an image."""
        return self.images.shape[1:]

    def images_at(self, index: torch.Tensor) -> torch.Tensor:
        """The images at places, int64 (n,), on the device, as a copy there."""
        if self.rows is None:
            # Nine times as fast as images[index] on the CPU, for the small rows of such images.
            return self.images.index_select(0, index)
        places = self.rows.index_select(0, index.to(self.rows.device))
        return self.images.index_select(0, places).to(self.labels.device)

    def at(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images at places and their labels, as copies."""
        return self.images_at(index), self.labels.index_select(0, index)

    def between(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images from one place to before another, and their labels."""
        if self.rows is None:
            return self.images[start:stop], self.labels[start:stop]
        return self.at(torch.arange(start, min(stop, len(self)), device=self.labels.device))

    def some(self, index: torch.Tensor) -> "DeviceSplit":
        """A part of this part."""
        if self.rows is None:
            return DeviceSplit(*self.at(index))
        return DeviceSplit(
            self.images, self.labels.index_select(0, index), self.rows.index_select(0, index.to(self.rows.device))
        )

    def chunk(self, batch: int) -> int:
        """Images that are converted to floats at a time: whole batches, of as many images each."""
        most = min(CHUNK, CHUNK_BYTES // self.shape.numel())
        return max(1, most // batch) * batch


class DeviceData:
    """A data set on a device. `scale` and `offset`, each (1, C, 1, 1), map bytes to standardised floats.

    `teacher`: a network whose answers are to be learned beside the labels; None unless somebody sets it.
    """

    def __init__(self, splits: Splits, device: str) -> None:
        self.splits, self._device = splits, device
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
            part: Split = getattr(self.splits, name)
            labels = torch.from_numpy(_labels(part)).to(self._device)
            if isinstance(part.images, MappedImages) and not self._fits(part.images):
                images, rows = torch.from_numpy(part.images.file.pixels), torch.from_numpy(part.images.rows)
                self._held[name] = DeviceSplit(images, labels, rows)
            else:
                images = torch.from_numpy(in_memory(part.images))
                self._held[name] = DeviceSplit(images.to(self._device), labels)
        return self._held[name]

    def _fits(self, images: MappedImages) -> bool:
        """Whether images in a file are held on the device as a whole: on a GPU that has room for them."""
        if torch.device(self._device).type != "cuda":
            return False
        _, memory = torch.cuda.mem_get_info(self._device)
        return images.file.pixels.nbytes < ON_GPU * memory

    def loss(self, settings: TrainSettings | None = None) -> Loss:
        """What networks are measured by: cross-entropy (of the settings counts whether outputs are logarithms of shares
        already), or the squared error of standardised values."""
        if not self.regression:
            return CrossEntropy(logarithms=settings is not None and settings.loss == "nll")
        splits = self.splits
        mean = torch.tensor(splits.target_mean, device=self._device).view(1, -1, 1, 1)
        std = torch.tensor(splits.target_std, device=self._device).view(1, -1, 1, 1)
        return SquaredError(1 / std, -mean / std, splits.background)

    def training_loss(self, settings: TrainSettings, split: DeviceSplit) -> Loss:
        """What networks are trained on: the same with label smoothing, and with weights of the classes of a part."""
        if self.regression:
            return self.loss()
        weights = class_weights(settings, split.labels, self.classes)
        return CrossEntropy(settings.label_smoothing, weights, settings.loss == "nll")

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
        """One epoch, in random order unless `sampling` says otherwise. Every batch is full: a remainder waits for
        another epoch's order.

        Where images are mixed, labels are shares of the classes, float (batch, classes).
        """
        size = min(settings.batch_size, len(split))
        if settings.sampling == "balanced":
            every = balanced_order(split.labels, order)
        else:
            shuffled = settings.sampling == "shuffled"
            every = torch.randperm(len(split), generator=order) if shuffled else torch.arange(len(split))
        chosen = every[: steps_per_epoch(split, settings) * size]
        chosen = chosen.to(split.labels.device, non_blocking=True)
        chunk = split.chunk(size)
        for start in range(0, len(chosen), chunk):
            index = chosen[start : start + chunk]
            images, labels = split.at(index)
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
            images, labels = split.between(start, start + size)
            yield self.normalise(images, memory_format), labels


def measured_at_a_time(split: DeviceSplit) -> int:
    """Images that a network answers at a time where nothing is learned: fewer of large ones, whose layers are large."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // split.shape[1:].numel()))


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
