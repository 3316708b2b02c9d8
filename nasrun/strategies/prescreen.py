"""Architectures are drawn in pools, of which the most promising one is proposed: before anything is trained."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np

from nasrun.core import Genome, Mutation, SearchSpace
from nasrun.spaces.wrapped import WrappedSpace

Best = Callable[[Sequence[Genome]], Genome]
"""The most promising of some genomes."""


class PrescreenedSpace(WrappedSpace):
    """A space as strategies see it that screen what they draw: each draw is the best of `pool` draws of the space.

    Source: Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (arXiv
    2101.08134), section 3.4: its warm-up is the choice among random draws, its move proposal that among mutations.

    With `moves` mutations and crossovers are the best of as many, too, of the same parents. What was given out once is
    given out again only where a pool holds nothing new, so that a strategy that mutates one parent twice gets two
    children. Neighbours, vectors and tokens are those of the space within.
    """

    def __init__(self, inner: SearchSpace, best: Best, *, pool: int, moves: bool) -> None:
        super().__init__(inner)
        self._best, self._pool = best, pool
        self._moves = moves
        self._given: set[Hashable] = set()
        if moves:
            self.mutations = {name: partial(self._mutate, mutation) for name, mutation in inner.mutations.items()}

    def sample(self, rng: np.random.Generator) -> Genome:
        """The best of `pool` draws of the space within."""
        return self._chosen([self.inner.sample(rng) for _ in range(self._pool)])

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        if not self._moves:
            return self.inner.crossover(first, second, rng)
        return self._chosen([self.inner.crossover(first, second, rng) for _ in range(self._pool)])

    def _mutate(self, mutation: Mutation, genome: Genome, rng: np.random.Generator) -> Genome:
        """The best of `pool` children that differ from their parent; the parent where none does."""
        children = [mutation(genome, rng) for _ in range(self._pool)]
        return self._chosen([child for child in children if child != genome] or [genome])

    def _chosen(self, genomes: Sequence[Genome]) -> Genome:
        """The best of those that were not given out yet, if there are any."""
        distinct: dict[Hashable, Genome] = {}
        for genome in genomes:
            distinct.setdefault(self.inner.key(genome), genome)
        new = [genome for key, genome in distinct.items() if key not in self._given]
        candidates = new or list(distinct.values())
        chosen = candidates[0] if len(candidates) == 1 else self._best(candidates)
        self._given.add(self.inner.key(chosen))
        return chosen
