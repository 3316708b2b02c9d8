"""Results of operations that are left out for some images. Imports torch."""

from torch import Generator, Tensor, rand


def dropped(value: Tensor, rate: float, noise: Generator) -> Tensor:
    """A result (batch, channels, height, width): 0 for a share of the images, and the more for the others."""
    kept = rand(len(value), 1, 1, 1, generator=noise) >= rate
    return value * (kept.to(value.device, value.dtype) / (1 - rate))
