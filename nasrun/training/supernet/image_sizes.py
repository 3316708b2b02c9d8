"""Images of a part of the data in another size. Imports torch."""

import torch
from torch.nn import functional

from nasrun.training.data import CHUNK, DeviceSplit


def padded(split: DeviceSplit, size: int | None) -> DeviceSplit:
    """A part of the data with its images enlarged to at least `size` in height and width, by repeating the pixels of
    their border on both sides; the same where they are as large already."""
    if all(length >= (size or 0) for length in split.shape[1:]):
        return split
    images, labels = split.between(0, len(split))
    for dimension in (2, 3):
        length = images.shape[dimension]
        missing = max(0, (size or 0) - length)
        if missing:
            places = torch.arange(-(missing // 2), length + missing - missing // 2, device=images.device)
            images = images.index_select(dimension, places.clamp_(0, length - 1))
    return DeviceSplit(images, labels)


def shrunk(split: DeviceSplit, size: int | None) -> DeviceSplit:
    """A part of the data with its images brought down to at most `size` in height and width, by means over areas,
    rounded to bytes; the same where they are no larger already."""
    height, width = (min(length, size or length) for length in split.shape[1:])
    if (height, width) == split.shape[1:]:
        return split
    images = torch.empty((len(split), split.shape[0], height, width), dtype=torch.uint8, device=split.labels.device)
    for start in range(0, len(split), CHUNK):
        part, _ = split.between(start, start + CHUNK)
        images[start : start + CHUNK] = functional.adaptive_avg_pool2d(part.float(), (height, width)).round()
    return DeviceSplit(images, split.between(0, len(split))[1])
