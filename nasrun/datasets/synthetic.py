"""Artificial images that a small network can learn, for tests and experiments."""

from typing import Annotated

import numpy as np

from nasrun.core import Task
from nasrun.core.options import AtLeast
from nasrun.core.seeding import Purpose, generator
from nasrun.datasets.base import SYNTHETIC_STREAM, Count, Dataset, Raw, Seed, Share, Split

_CELLS = 4
"""Number of patches per side of a class pattern, which is recognisable at any image size."""


class Synthetic(Dataset):
    """Each class is a random pattern of coarse patches; an image is the pattern of its class with noise on every pixel.

    There are `samples` training images and a fifth as many test images (at least one per class), with classes in turn.
    """

    name = "synthetic"
    mirrored = False

    def __init__(
        self,
        *,
        samples: Annotated[int, AtLeast(4)] = 1000,
        classes: Annotated[int, AtLeast(2)] = 10,
        height: Count = 16,
        width: Count = 16,
        channels: Count = 1,
        noise: Annotated[float, AtLeast(0)] = 0.2,
        data_seed: Seed = 0,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`samples`: training images, at least two per class. `height`, `width`: in pixels. `noise`: standard
        deviation of the noise, in units of the range of a pixel. `data_seed`: seed of patterns and noise.

        The other options are those of `Dataset`. ValueError starts with the name of the option.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        if samples < 2 * classes:
            raise ValueError(f"samples={samples}: must be at least {2 * classes}, two for each of the classes")
        self.samples = samples
        self.classes = classes
        self.shape = (channels, height, width)
        self.noise = noise
        self.data_seed = data_seed

    @property
    def task(self) -> Task:
        """The task from the options."""
        return Task(self.name, *self.shape, outputs=self.classes)

    def read(self) -> Raw:
        rng = generator(self.data_seed, Purpose.SPLIT, SYNTHETIC_STREAM)
        channels, height, width = self.shape
        patches = rng.uniform(0.2, 0.8, (self.classes, channels, _CELLS, _CELLS))
        rows = np.arange(height) * _CELLS // height
        columns = np.arange(width) * _CELLS // width
        patterns = patches[:, :, rows][:, :, :, columns]

        def draw(count: int) -> Split:
            labels = np.arange(count, dtype=np.int64) % self.classes
            pixels = patterns[labels] + rng.normal(0, self.noise, (count, *self.shape))
            return Split((pixels.clip(0, 1) * 255).round().astype(np.uint8), labels)

        training = draw(self.samples)
        return Raw(training, draw(max(self.classes, self.samples // 5)), tuple(map(str, range(self.classes))))
