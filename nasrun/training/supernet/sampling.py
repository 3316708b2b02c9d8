"""Which architectures' weights are trained, where operations are to be drawn more or less often than others."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np

from nasrun.core import Genome, SearchSpace, Token
from nasrun.core.options import AtLeast, nearest, show

Weights = dict[str, Annotated[float, AtLeast(0)]]
"""How often operations are drawn, in proportion to each other, by their names in genomes."""

SAMPLES = 200
"""Genomes in which all operations of a space are expected to occur."""


class WeightedDraws:
    """Draws genomes token by token, each legal one as often as its weight says; one that has none counts as 1.

    Where no legal token has a weight above 0, all of them are as likely. What limits an architecture's price is not
    looked at. ValueError, beginning with the key, where no operation of the space has a name, or all weights are 0.
    """

    def __init__(self, space: SearchSpace, weights: Mapping[str, float]) -> None:
        self._space, self._weights = space, weights
        rng = np.random.default_rng(0)
        known = {token for _ in range(SAMPLES) for token in space.sample(rng) if isinstance(token, str)}
        for name in weights:
            if name not in known:
                raise ValueError(f"operation_weights.{name}: no operation of this space; {nearest(name, known)}")
        if not any(weights.values()):
            raise ValueError(f"operation_weights={show(dict(weights))}: one of them must be above 0")

    def draw(self, rng: np.random.Generator) -> Genome:
        """A genome."""
        genome: Genome = ()
        while legal := self._space.choices(genome):
            genome = (*genome, legal[self._place(legal, rng)])
        return genome

    def _place(self, legal: tuple[Token, ...], rng: np.random.Generator) -> int:
        sums = np.cumsum([self._weights.get(str(token), 1.0) for token in legal])
        if sums[-1] <= 0:
            return int(rng.integers(len(legal)))
        return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
