"""The distribution that `staged_cnn` draws from: mostly networks of shapes that are known to work."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from nasrun.core import Genome
from nasrun.spaces.staged_cnn.genome import EXPANDING, Network, Stage, genome_of
from nasrun.spaces.staged_cnn.limits import Limits

T = TypeVar("T")

STAGES = {2: 0.25, 3: 0.45, 4: 0.2, 5: 0.1}
HALVINGS = {1: 0.05, 2: 0.45, 3: 0.4, 4: 0.1}
REPEATS = {1: 0.6, 2: 0.28, 3: 0.09, 4: 0.03}
KERNELS = {3: 0.85, 5: 0.13, 7: 0.02}
BLOCKS = {"bb": 0.4, "er": 0.2, "ir": 0.18, "cn": 0.12, "ds": 0.1}
"""Probability of each value; values that the space lacks are left out, and the rest is scaled to sum to 1."""

MAIN = 0.75
"""Probability that a stage has the network's main kind of block."""

STEM_STRIDE = 0.3
"""Weight of the stem among the possible positions of a stride of 2; that of a stage is 1. First layers at full
resolution cost most of the time, but stems that halve lose detail of small images."""

SQUEEZE = 0.3


class Prior:
    """Draws networks whose resolution falls with depth and whose widths grow.

    A network has 2 to 5 stages, mostly 3; 1 to 4 strides of 2, at different positions among the stem and the stages; a
    main kind of block, which three stages in four have; widths that begin with 8 to 32 and grow by up to 2.2 with a
    stride of 2, by up to 1.5 without.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def sample(self, rng: np.random.Generator) -> Genome:
        """One network, drawn with a few dozen random numbers."""
        limits = self._limits
        count = _draw(STAGES, range(1, limits.max_stages + 1), rng)
        strides = self._strides(count, rng)
        main = _draw(BLOCKS, limits.blocks, rng)
        width = stem_width = 8 * 4 ** rng.random()
        stages = []
        for place in range(count):
            block = main if rng.random() < MAIN else _draw(BLOCKS, limits.blocks, rng)
            stride = strides[1 + place]
            width *= (2.2 if stride == 2 else 1.5) ** rng.random()
            repeats = _draw(REPEATS, range(1, limits.max_repeats + 1), rng)
            stages.append(self._stage(block, repeats, stride, limits.width_near(width), rng))
        activation = limits.activations[int(rng.random() * len(limits.activations))]
        kernel = _draw(KERNELS, limits.kernels_of("bb"), rng)
        return genome_of(Network(activation, kernel, strides[0], limits.width_near(stem_width), tuple(stages)))

    def _strides(self, count: int, rng: np.random.Generator) -> list[int]:
        """The strides of the stem, then of each stage."""
        wanted = min(_draw(HALVINGS, range(1, 5), rng), count + 1)
        # Weighted sampling without replacement (Efraimidis and Spirakis 2006): the largest of u^(1/weight).
        keys = [rng.random() ** (1 / (STEM_STRIDE if place == 0 else 1.0)) for place in range(count + 1)]
        chosen = sorted(range(count + 1), key=keys.__getitem__)[count + 1 - wanted :]
        return [2 if place in chosen else 1 for place in range(count + 1)]

    def _stage(self, block: str, repeats: int, stride: int, width: int, rng: np.random.Generator) -> Stage:
        limits = self._limits
        kernel = _draw(KERNELS, limits.kernels_of(block), rng)
        expansions = limits.expansions_of(block)
        expansion = expansions[int(rng.random() * len(expansions))] if block in EXPANDING else 1
        squeeze = int(rng.random() < SQUEEZE) if len(limits.squeeze_of(block)) > 1 else 0
        return Stage(block, repeats, kernel, stride, expansion, width, squeeze)


def _draw(weights: Mapping[T, float], legal: Sequence[T], rng: np.random.Generator) -> T:
    """One of the legal values with a weight, drawn with these weights; the first legal one if none has a weight."""
    known = [value for value in legal if value in weights]
    if not known:
        return legal[0]
    left = rng.random() * sum(weights[value] for value in known)
    for value in known:
        left -= weights[value]
        if left < 0:
            return value
    return known[-1]
