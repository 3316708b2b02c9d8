"""Gap filling: patches of a satellite image with cloud-shaped gaps, whose true values are to be predicted."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nasrun.core import Task
from nasrun.core.options import AtLeast, Between, FilePath, Fraction
from nasrun.core.seeding import Purpose, generator
from nasrun.core.words import counted
from nasrun.datasets import splitting
from nasrun.datasets.base import (
    GAP_STREAM,
    PATCH_STREAM,
    TEST_STREAM,
    Count,
    Dataset,
    DatasetError,
    Raw,
    Seed,
    Share,
    Split,
    channel_statistics,
    target_statistics,
)
from nasrun.datasets.clouds import cloud_gaps
from nasrun.datasets.mapped import in_memory
from nasrun.datasets.pictures import BLUE_MARBLE_SHAPE, blue_marble, picture_shape, read_picture

PARTS = 3
"""Training, validation and test need at least one region each."""

_RANGE = (0.1, 99.9)
"""Percentiles mapped to the bytes 0 and 255 of the input, for images of other types than bytes."""


@dataclass(kw_only=True, frozen=True)
class Cutting:
    """How patches are cut from an image. In pixels: `size`, side length of a patch; `stride`, distance between patches
    (None: `size`, no overlap); `region`, side length of a region.

    `patches`: maximum number, drawn at random, over all parts; None: all. `contrast`: minimum standard deviation of a
    patch relative to that of the image, averaged over the bands.
    """

    size: Annotated[int, Between(4, 1024)] = 32
    stride: Count | None = None
    region: Count = 128
    patches: Count | None = 4000
    contrast: Annotated[float, AtLeast(0)] = 0.1

    def __post_init__(self) -> None:
        if self.region < self.size:
            raise ValueError(f"region={self.region}: must be at least size={self.size}, the side of a patch")


@dataclass(kw_only=True, frozen=True)
class Gaps:
    """The gaps: `coverage` is the share of each patch that is a gap."""

    coverage: Annotated[float, Between(0.01, 0.9)] = 0.3
    gap_seed: Seed = 0


class GapFilling(Dataset):
    """Square patches of one large image. A network predicts the true values of all pixels of a patch.

    Input: the bands of the image, 0 in a gap, and the mask as an additional channel: 255 in a gap, 0 elsewhere, which
    distinguishes gaps from black pixels. Target: the true values of the bands, uint8 as in the image, or float32 for
    other types, which the input quantises to 256 levels. Weight: 1 in the gaps. The bands of the input are standardised
    by their known pixels, so that known pixels have the scale of the targets.

    The image is cut into square regions; every patch is inside one region, and every region belongs to one part. So
    training, validation and test have no pixels in common. Nearly uniform patches (open sea) and patches with unknown
    pixels are skipped.
    """

    name = "gap_filling"

    def __init__(
        self,
        *,
        path: FilePath | None = None,
        cutting: Cutting = Cutting(),
        gaps: Gaps = Gaps(),
        known_weight: Fraction = 0.0,
        test: Share = 0.2,
        validation: Share = 0.1,
        split_seed: Seed = 0,
        train_samples: Count | None = None,
    ) -> None:
        """`path`: a `.npy`, `.npz` or GeoTIFF file; None takes NASA's Blue Marble.

        `known_weight`: weight of a known pixel in the training loss, where a pixel in a gap has 1. `test`: share of the
        regions. `validation`: share of the other regions. `train_samples`: number of training patches to use.
        ValueError starts with the name of the option.
        """
        super().__init__(validation=validation, split_seed=split_seed, train_samples=train_samples)
        self.path, self.test, self.gaps = path, test, gaps
        self.size, self.region, self.patches = cutting.size, cutting.region, cutting.patches
        self.stride = cutting.stride if cutting.stride is not None else cutting.size
        self.contrast = cutting.contrast
        self.background = known_weight
        self._bands: int | None = None if path is not None else BLUE_MARBLE_SHAPE[0]

    @property
    def task(self) -> Task:
        """From bands and mask to bands; for a user's image read from its header."""
        if self._bands is None:
            assert self.path is not None
            self._bands = picture_shape(self.path)[0]
        return Task(self.name, self._bands + 1, self.size, self.size, outputs=self._bands, kind="regression")

    def read(self) -> Raw:
        picture = blue_marble() if self.path is None else read_picture(self.path)
        corners, regions = self._candidates(picture)
        _, tested = splitting.cut_groups(regions, self.test, self._stream(TEST_STREAM))
        is_test = np.isin(np.arange(len(corners)), tested)
        order = self._stream(PATCH_STREAM).permutation(len(corners))
        chosen = np.sort(order[: self.patches])
        whole = self._cut_out(picture, corners[chosen])
        training, test = (np.flatnonzero(is_test[chosen] == part) for part in (False, True))
        left = len(np.unique(regions[chosen][training]))
        if left < PARTS - 1 or not len(test):
            raise self._too_few(f"{len(chosen)} patches lie in {counted(left + bool(len(test)), 'region')}")
        return Raw(whole.take(training), whole.take(test), (), regions[chosen][training])

    def _candidates(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners (row, column) of the usable patches, int64 (N, 2), and their regions, int64 (N,)."""
        known = np.isfinite(picture).all(0)
        if not known.any():
            raise self._too_few("no pixel is known")
        rows = picture.transpose(1, 0, 2)[:, :, None] if known.all() else picture[:, known][None, :, None]
        mean, std = (np.array(numbers, dtype=np.float32)[:, None, None] for numbers in target_statistics(rows))
        corners, regions = [], []
        height, width = known.shape
        columns = -(-width // self.region)
        for row in range(0, height, self.region):
            for column in range(0, width, self.region):
                place = (slice(row, min(row + self.region, height)), slice(column, min(column + self.region, width)))
                if min(limits.stop - limits.start for limits in place) < self.size:
                    continue
                values = np.where(known[place], (picture[:, *place] - mean) / std, 0)
                average, square = (self._windows(numbers) / self.size**2 for numbers in (values, values * values))
                spread = np.sqrt(np.maximum(square - average * average, 0)).mean(0)
                found = np.argwhere((spread >= self.contrast) & (self._windows(~known[None, *place])[0] == 0))
                corners.append(found * self.stride + (row, column))
                regions.append(np.full(len(found), row // self.region * columns + column // self.region))
        places = np.concatenate(corners or [np.zeros((0, 2), dtype=np.int64)])
        if self.patches is not None and self.patches > len(places):
            raise DatasetError(
                f"dataset.patches={self.patches}: only {len(places):,} exist; use fewer (null: all), or lower "
                "dataset.contrast or dataset.stride"
            )
        numbers = np.concatenate(regions or [np.zeros(0, dtype=np.int64)]).astype(np.int64)
        if len(np.unique(numbers)) < PARTS:
            raise self._too_few(f"{len(places)} patches lie in {counted(len(np.unique(numbers)), 'region')}")
        return places, numbers

    def _windows(self, values: np.ndarray) -> np.ndarray:
        """Sums of values (bands, height, width) of a region over each of its patches."""
        sums = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
        sums[:, 1:, 1:] = values.cumsum(1, dtype=np.float64).cumsum(2)
        size, step = self.size, self.stride
        low, high = sums[:, :-size:step], sums[:, size::step]
        windows: np.ndarray = (
            high[..., size::step] - high[..., :-size:step] - low[..., size::step] + low[..., :-size:step]
        )
        return windows

    def _cut_out(self, picture: np.ndarray, corners: np.ndarray) -> Split:
        """The patches at some corners, each with its own gap."""
        shape = (len(corners), len(picture), self.size, self.size)
        targets = np.empty(shape, dtype=picture.dtype)
        images = np.zeros((shape[0], shape[1] + 1, *shape[2:]), dtype=np.uint8)
        levels = picture if picture.dtype == np.uint8 else _levels(picture)
        for number, (row, column) in enumerate(corners):
            place = (slice(None), slice(row, row + self.size), slice(column, column + self.size))
            targets[number], images[number, :-1] = picture[place], levels[place]
        rng = generator(self.gaps.gap_seed, Purpose.SPLIT, GAP_STREAM)
        gaps = cloud_gaps(len(corners), self.size, self.gaps.coverage, rng)[:, None]
        images[:, :-1] *= 1 - gaps
        images[:, -1:] = 255 * gaps
        return Split(images, np.zeros(len(corners), dtype=np.int64), targets, gaps)

    def _statistics(self, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
        assert train.weights is not None
        images = in_memory(train.images)
        known = images[:, :-1].transpose(1, 0, 2, 3)[:, train.weights[:, 0] == 0]
        bands, mask = channel_statistics(known[None, :, None]), channel_statistics(images[:, -1:])
        return bands[0] + mask[0], bands[1] + mask[1]

    def _too_few(self, found: str) -> DatasetError:
        return DatasetError(
            f"dataset.region={self.region}: {found}; training, validation and test need one each: make the regions "
            "smaller, take more patches, or lower dataset.contrast"
        )


def _levels(picture: np.ndarray) -> np.ndarray:
    """An image of any numeric type as bytes: each band scaled between two percentiles to 256 levels."""
    levels = np.zeros(picture.shape, dtype=np.uint8)
    for band, into in zip(picture, levels, strict=True):
        low, high = np.nanpercentile(band, _RANGE)
        scaled = np.nan_to_num((band - low) * (255 / max(high - low, np.finfo(np.float32).tiny)))
        into[:] = scaled.clip(0, 255).round()
    return levels
