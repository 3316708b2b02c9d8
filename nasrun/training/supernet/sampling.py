"""Which architectures' weights are trained, where that is not left to the policy of a strategy."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated

import numpy as np

from nasrun.core import Genome, SearchSpace, Task, Token
from nasrun.core.options import AtLeast, nearest, show

Draw = Callable[[np.random.Generator], Genome]
"""One architecture."""

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


def weights_by_cost(space: SearchSpace, task: Task) -> Weights:
    """How often operations are drawn that are worth more training the more they compute: one half of the draws are
    even, the other half in proportion to the FLOPs that an operation adds to a network, over samples of the space.
    Empty where operations have no names."""
    rng = np.random.default_rng(0)
    genomes = [space.sample(rng) for _ in range(SAMPLES)]
    names = sorted({token for genome in genomes for token in genome if isinstance(token, str)})
    if not names:
        return {}
    counts = np.array([[*map(genome.count, names), 1] for genome in genomes], dtype=float)
    flops = np.array([space.cost(genome, task).flops for genome in genomes], dtype=float)
    added = np.linalg.lstsq(counts, flops)[0][:-1]
    added = np.maximum(added - added.min(), 0.0)
    shares = added / added.sum() if added.sum() > 0 else np.full(len(names), 1 / len(names))
    # Rounded, so that the last digits of another processor make no difference.
    return {name: round(float(share) / 2 + 0.5 / len(names), 4) for name, share in zip(names, shares, strict=True)}


class FairDraws:
    """Groups of architectures in which every choice of a position is there once, or as often as the others, where
    positions have different numbers of choices.

    Source: Chu, Zhang and Xu, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search",
    ICCV 2021 (arXiv 1907.01845), section 3.3: gradients of a group add up to one step. In spaces whose choices depend
    on those before, each set of choices is dealt out like that.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        rng = np.random.default_rng(0)
        samples = (space.sample(rng) for _ in range(SAMPLES))
        self.size = max(len(space.choices(genome[:place])) for genome in samples for place in range(len(genome)))
        """Architectures of a group."""

    def draw(self, rng: np.random.Generator) -> Sequence[Genome]:
        """A group."""
        decks: dict[tuple[int, tuple[Token, ...]], list[int]] = {}
        return [self._space.fit(self._dealt(decks, rng)) for _ in range(self.size)]

    def _dealt(self, decks: dict[tuple[int, tuple[Token, ...]], list[int]], rng: np.random.Generator) -> Genome:
        genome: Genome = ()
        while legal := self._space.choices(genome):
            deck = decks.setdefault((len(genome), legal), [])
            if not deck:
                deck += rng.permutation(len(legal)).tolist()
            genome = (*genome, legal[deck.pop()])
        return genome


class SandwichDraws:
    """Groups of the most expensive architecture, the cheapest one, and `between` others that are drawn.

    Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019 (arXiv
    1903.05134), section 3.2. By FLOPs, then parameters; found by going from neighbour to neighbour from each of a few
    samples of the space. Where weights have parts (`SearchSpace.smaller`), each group begins with one that is drawn,
    whose smallest part and random parts follow it: networks of other shapes have little in common with the largest of
    all, which may take a hundred times as long.
    """

    STARTS = 4

    def __init__(self, space: SearchSpace, task: Task, draw: Draw, between: int = 2) -> None:
        self._space, self._task, self._draw_one, self._between = space, task, draw, between

    @cached_property
    def ends(self) -> tuple[Genome, Genome]:
        """The most expensive architecture and the cheapest one."""
        rng = np.random.default_rng(0)
        starts = [self._space.sample(rng) for _ in range(self.STARTS)]
        largest, smallest = (
            max((self._climbed(start, sign) for start in starts), key=self._price(sign)) for sign in (1, -1)
        )
        return largest, smallest

    def draw(self, rng: np.random.Generator) -> Sequence[Genome]:
        """A group, the most expensive one first."""
        if not self._space.has_parts:
            return [*self.ends, *(self._draw_one(rng) for _ in range(self._between))]
        first = self._draw_one(rng)
        return [first, *(self._space.smaller(first, rng if place else None) for place in range(1 + self._between))]

    def _climbed(self, genome: Genome, sign: int) -> Genome:
        price = self._price(sign)
        while True:
            best = max(self._space.neighbours(genome), key=price, default=genome)
            if price(best) <= price(genome):
                return genome
            genome = best

    def _price(self, sign: int) -> Callable[[Genome], tuple[int, int]]:
        def price(genome: Genome) -> tuple[int, int]:
            cost = self._space.cost(genome, self._task)
            return sign * cost.flops, sign * cost.parameters

        return price
