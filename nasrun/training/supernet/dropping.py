"""Results of operations that are left out for some images. Imports torch."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import Generator, Tensor, rand

from nasrun.core import Genome, Token
from nasrun.spaces.mixture import Mixture


def dropped(value: Tensor, rate: float, noise: Generator) -> Tensor:
    """A result (batch, channels, height, width): 0 for a share of the images, and the more for the others."""
    kept = rand(len(value), 1, 1, 1, generator=noise) >= rate
    return value * (kept.to(value.device, value.dtype) / (1 - rate))


def with_dropped_paths(
    draws: Callable[[np.random.Generator], Sequence[Genome]], skip: Token | None, rate: float, noise: Generator
) -> Callable[[np.random.Generator], Sequence[Mixture]]:
    """The same architectures, but that results of operations are `dropped` at a rate; those of `skip`, the token of
    skip connections, stay (Larsson et al., "FractalNet", ICLR 2017, arXiv 1605.07648, section 3.2)."""

    def drop(token: Token, value: Tensor) -> Tensor:
        return value if token == skip else dropped(value, rate, noise)

    return lambda rng: [replace(Mixture.of(genome), drop=drop) for genome in draws(rng)]
