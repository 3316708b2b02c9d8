"""Spaces as strategies see them that use scores of untrained networks: pools of which the most promising architecture
is proposed, and scores to predict from."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np

from nasrun.core import Genome, Mutation, SearchSpace
from nasrun.core.wrapped_space import WrappedSpace

Best = Callable[[Sequence[Genome]], Genome]
"""Returns the most promising of some genomes."""

Scores = Callable[[Genome], tuple[float, ...]]
"""Returns the scores of the untrained network of a genome."""


class ScoredSpace(WrappedSpace):
    """The space that a strategy sees which predicts from scores of untrained networks (`Strategy.reads_scores`)."""

    def __init__(self, inner: SearchSpace, scores: Scores) -> None:
        super().__init__(inner)
        self._scores = scores

    def scores(self, genome: Genome) -> tuple[float, ...]:
        """The scores of the untrained network of a genome."""
        return self._scores(genome)


class PrescreenedSpace(WrappedSpace):
    """The space that a pre-screening strategy sees: each draw is the best of `pool` draws of the inner space.

    Source: Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (arXiv
    2101.08134), section 3.4: its warm-up chooses among random draws, its move proposal among mutations.

    With `moves`, each mutation and crossover is also the best of `pool` from the same parents. A genome is returned a
    second time only if a pool holds nothing new, so that a strategy that mutates one parent twice gets two children.
    Neighbours, vectors and tokens are those of the inner space.
    """

    def __init__(self, inner: SearchSpace, best: Best, *, pool: int, moves: bool) -> None:
        super().__init__(inner)
        self._best, self._pool = best, pool
        self._moves = moves
        self._given: set[Hashable] = set()
        if moves:
            self.mutations = {name: partial(self._mutate, mutation) for name, mutation in inner.mutations.items()}

    def sample(self, rng: np.random.Generator) -> Genome:
        """The best of `pool` draws of the inner space."""
        return self._chosen([self.inner.sample(rng) for _ in range(self._pool)])

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        if not self._moves:
            return self.inner.crossover(first, second, rng)
        return self._chosen([self.inner.crossover(first, second, rng) for _ in range(self._pool)])

    def _mutate(self, mutation: Mutation, genome: Genome, rng: np.random.Generator) -> Genome:
        """The best of `pool` children that differ from their parent; the parent if none does."""
        children = [mutation(genome, rng) for _ in range(self._pool)]
        return self._chosen([child for child in children if child != genome] or [genome])

    def _chosen(self, genomes: Sequence[Genome]) -> Genome:
        """The best of the genomes that were not returned yet; of all, if there are none."""
        distinct: dict[Hashable, Genome] = {}
        for genome in genomes:
            distinct.setdefault(self.inner.key(genome), genome)
        new = [genome for key, genome in distinct.items() if key not in self._given]
        candidates = new or list(distinct.values())
        chosen = candidates[0] if len(candidates) == 1 else self._best(candidates)
        self._given.add(self.inner.key(chosen))
        return chosen
