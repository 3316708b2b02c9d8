"""Augmentation on the device, of many images at a time: moved, mirrored, partly erased, mixed with each other.

All draws come from a CPU generator, so that they are the same on every device.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from nasrun.training.settings import TrainSettings

ERASED_AREA = (0.02, 1 / 3)
ERASED_ASPECT = 1 / 0.3
"""Of random erasing: the share of the image that goes, and the largest ratio of the sides (Zhong et al. 2017)."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs, and what is to be said of them."""


def augmented(images: torch.Tensor, settings: TrainSettings, generator: torch.Generator) -> torch.Tensor:
    """Randomly shifted (zero border) and mirrored copies of images (N, C, H, W)."""
    count, _, height, width = images.shape
    device = images.device
    if settings.shift:
        reach = settings.shift
        padded = F.pad(images, (reach,) * 4)
        moves = torch.randint(0, 2 * reach + 1, (2, count), generator=generator).to(device, non_blocking=True)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=device), :, moves[0], moves[1]]
    if settings.flip:
        mirror = (torch.rand(count, generator=generator) < 0.5).to(device, non_blocking=True)
        images = torch.where(mirror.view(-1, 1, 1, 1), images.flip(3), images)
    return images


def erase(inputs: torch.Tensor, settings: TrainSettings, generator: torch.Generator) -> None:
    """Erase parts of standardised images, float (N, C, H, W), in place.

    `cutout` sets a square of each image to 0, the mean of the training images; its centre is anywhere in the image, so
    that part of it may lie outside (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017). `random_erasing` puts a rectangle of one random colour into that share of the images (Zhong et al.,
    "Random Erasing Data Augmentation", 2017; of one colour as in timm).
    """
    count, channels, height, width = inputs.shape
    device, size = inputs.device, torch.tensor([height, width], device=inputs.device).view(2, 1)
    if settings.cutout:
        centres = torch.rand(2, count, generator=generator).to(device, non_blocking=True)
        sides = torch.full_like(centres, settings.cutout, dtype=torch.long)
        inputs.masked_fill_(_rectangles((centres * size).long() - sides // 2, sides, height, width), 0.0)
    if settings.random_erasing:
        draws = torch.rand(5, count, generator=generator).to(device, non_blocking=True)
        colours = torch.randn(count, channels, 1, 1, generator=generator).to(device, non_blocking=True)
        low, high = ERASED_AREA
        pixels = height * width * (low + (high - low) * draws[0])
        ratios = ((2 * draws[1] - 1) * math.log(ERASED_ASPECT)).exp()
        sides = torch.stack((pixels * ratios, pixels / ratios)).sqrt().round().long().clamp_(min=1)
        sides = sides.minimum(size)
        mask = _rectangles((draws[2:4] * (size - sides + 1)).long(), sides, height, width)
        torch.where(mask & (draws[4] < settings.random_erasing).view(-1, 1, 1, 1), colours, inputs, out=inputs)


def mixed(
    inputs: torch.Tensor, labels: torch.Tensor, classes: int, settings: TrainSettings, generator: torch.Generator
) -> Batch:
    """A batch whose images are mixed in pairs, with labels as shares of the classes, float (batch, classes).

    Each image is mixed with the one before it in the batch, whose order is random, and keeps a share of its own that
    is drawn from Beta(alpha, alpha). `mixup` adds up pixels (Zhang et al., "mixup: Beyond Empirical Risk Minimization",
    2018), `cutmix` puts in a rectangle (Yun et al., "CutMix", 2019). Where both are on, each batch has one of them.
    """
    count, _, height, width = inputs.shape
    adds = bool(settings.mixup)
    if settings.mixup and settings.cutmix:
        adds = bool(torch.rand((), generator=generator) < 0.5)
    own = _beta(settings.mixup if adds else settings.cutmix, count, generator).to(inputs.device, non_blocking=True)
    partners = torch.cat((inputs[-1:], inputs[:-1]))
    if adds:
        inputs = torch.lerp(partners, inputs, own.view(-1, 1, 1, 1))
    else:
        centres = torch.rand(2, count, generator=generator).to(inputs.device, non_blocking=True)
        size = torch.tensor([height, width], device=inputs.device).view(2, 1)
        sides = ((1 - own).sqrt() * size).round().long()
        mask = _rectangles((centres * size).long() - sides // 2, sides, height, width)
        inputs = torch.where(mask, partners, inputs)
        own = 1 - mask.float().mean((1, 2, 3))  # of the rectangle counts what lies in the image
    shares = F.one_hot(labels, classes).to(own.dtype)
    return inputs, torch.lerp(shares.roll(1, 0), shares, own.view(-1, 1))


def _beta(alpha: float, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` draws from Beta(alpha, alpha), float32: torch has no such draw that takes a generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))


def _rectangles(starts: torch.Tensor, sides: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Masks of rectangles, bool (N, 1, height, width), from first row and column and from rows and columns, each int
    (2, N). What lies outside of the image is left out."""
    inside: list[torch.Tensor] = []
    for start, side, length in zip(starts, sides, (height, width), strict=True):
        pixels, first = torch.arange(length, device=starts.device), start.view(-1, 1)
        inside.append((pixels >= first) & (pixels < first + side.view(-1, 1)))
    return inside[0].view(-1, 1, height, 1) & inside[1].view(-1, 1, 1, width)


def balanced_order(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """As many indices as there are labels, int64 (N,) on the CPU: in random order, of every class equally many.

    No image of a class comes again before all of the class have come.
    """
    labels = labels.cpu()
    members = [torch.nonzero(labels == label).view(-1) for label in labels.unique()]
    share = -(-len(labels) // len(members))
    drawn = []
    for images in members:
        rounds = -(-share // len(images))
        drawn.append(
            torch.cat([images[torch.randperm(len(images), generator=generator)] for _ in range(rounds)])[:share]
        )
    every = torch.cat(drawn)
    return every[torch.randperm(len(every), generator=generator)][: len(labels)]
