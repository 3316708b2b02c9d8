"""Steering by limits: scales the widths of drawn, mutated and mixed genomes to use most of what the limits allow."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from nasrun.core import Genome, Mutation, SearchSpace, Task, Token
from nasrun.core.wrapped_space import WrappedSpace
from nasrun.strategies.wrappers import Constraints

FLOOR = 0.9
"""Minimum share of a limit at which a network is left unchanged."""

HALVINGS = 16
"""Steps of the search for the factor by which all widths are scaled: to a factor of 1 + 1e-4 or closer."""

ATTEMPTS = 20
"""Maximum number of draws that cannot be brought within the limits; the last one is used."""

Predict = Callable[[Genome], float | None]
"""Predicts the milliseconds that a genome's network takes for one image; None while this is unknown."""


class Steering:
    """Scales the widths of genomes so that their networks use most of what the limits allow, and no more.

    A genome within the limits that uses `FLOOR` or more of one of them is left unchanged. Otherwise all widths are
    multiplied by the largest factor allowed and rounded down to widths of the space. Then single widths are raised by
    one step, the last ones first, until `FLOOR` is reached or no step is allowed; a step that would make a width larger
    than the next is not allowed, which keeps the shape of the network. Fitting a fitted genome again does not change
    it. `grow=False` only makes networks smaller, for runs in which a limited cost is an objective.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        constraints: Constraints,
        *,
        latency: tuple[float, Predict] | None = None,
        grow: bool = True,
    ) -> None:
        """`latency`: the maximum milliseconds, and their predictor."""
        self._space, self._task, self._constraints = space, task, constraints
        self._latency = latency
        self._floor = FLOOR if grow else 0.0

    def times(self, share: float) -> "Steering":
        """The same steering with a share of the limits."""
        latency = None if self._latency is None else (self._latency[0] * share, self._latency[1])
        constraints = self._constraints.times(share)
        return Steering(self._space, self._task, constraints, latency=latency, grow=self._floor > 0)

    def flops(self, genome: Genome) -> int:
        """The FLOPs of a genome's network for one image of the task."""
        return self._space.cost(genome, self._task).flops

    def usage(self, genome: Genome) -> float:
        """The largest share of a limit that a network uses; above 1 if it is over one."""
        share = self._constraints.usage(self._constraints.price(self._space, genome, self._task))
        if self._latency is not None:
            limit, predict = self._latency
            predicted = predict(genome)
            share = max(share, predicted / limit if predicted is not None else 0.0)
        return share

    def fit(self, genome: Genome) -> Genome:
        """The genome, or the same network with other widths. Over the limits if no widths bring it within them."""
        usage = self.usage(genome)
        places = self._space.width_positions(genome)
        if self._floor <= usage <= 1 or not places:
            return genome
        legal = [self._legal(genome[:place]) for place in places]
        if usage <= 1 and self._wider(genome, places, legal) is None:
            return genome
        scaled = self._scaled(genome, places, legal)
        while self.usage(scaled) < self._floor and (wider := self._wider(scaled, places, legal)) is not None:
            scaled = wider
        return scaled

    def _legal(self, prefix: Genome) -> list[int]:
        """The widths that may follow a prefix, in ascending order."""
        return sorted(token for token in self._space.choices(prefix) if isinstance(token, int))

    def _scaled(self, genome: Genome, places: Sequence[int], legal: Sequence[Sequence[int]]) -> Genome:
        """All widths scaled by the largest factor allowed; the smallest widths if no factor is."""
        widths = [int(genome[place]) for place in places]

        def by(factor: float) -> Genome:
            found = []
            for width, known in zip(widths, legal, strict=True):
                # Rounding must not miss a width that the factor hits exactly.
                found.append(known[max(bisect_right(known, width * factor * (1 + 1e-9)) - 1, 0)])
            return _with_widths(genome, places, found)

        low = min(known[0] / width for width, known in zip(widths, legal, strict=True))
        high = max(known[-1] / width for width, known in zip(widths, legal, strict=True))
        if self.usage(by(high)) <= 1:
            return by(high)
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.usage(by(middle)) <= 1 else (low, middle)
        return by(low)

    def _wider(self, genome: Genome, places: Sequence[int], legal: Sequence[Sequence[int]]) -> Genome | None:
        """The genome with one width raised by a step, the last one that allows it; None if none does."""
        above: float = float("inf")
        for place, known in zip(reversed(places), reversed(legal), strict=True):
            width = int(genome[place])
            step = bisect_right(known, width)
            if step < len(known) and known[step] <= above:
                wider = _with_widths(genome, (place,), (known[step],))
                if self.usage(wider) <= 1:
                    return wider
            above = width
        return None


def _with_widths(genome: Genome, places: Sequence[int], widths: Sequence[int]) -> Genome:
    tokens: list[Token] = list(genome)
    for place, width in zip(places, widths, strict=True):
        tokens[place] = width
    return tuple(tokens)


class SteeredSpace(WrappedSpace):
    """The space that strategies see if there are limits: fits everything that it draws, mutates, mixes and decodes.

    Strings, vectors, keys, prices and networks are those of the inner space. So are `choices`: a strategy that writes
    genomes token by token passes them through `fit`.
    """

    def __init__(self, inner: SearchSpace, steering: Steering) -> None:
        super().__init__(inner)
        self.draws = ATTEMPTS
        self._steering = self._whole = steering
        self.mutations = {name: partial(self._mutate, mutation) for name, mutation in inner.mutations.items()}

    def _mutate(self, mutation: Mutation, genome: Genome, rng: np.random.Generator) -> Genome:
        """A child within the limits; the parent if no such child differs from it."""
        for _ in range(ATTEMPTS):
            child = mutation(genome, rng)
            if child == genome:
                break
            child = self.fit(child)
            if child != genome and self._steering.usage(child) <= 1:
                return child
        return genome

    def fit(self, genome: Genome) -> Genome:
        return self._steering.fit(genome)

    def usage(self, genome: Genome) -> float:
        return self._whole.usage(genome)

    def narrow(self, share: float) -> None:
        self._steering = self._whole.times(share)

    def sizes(self, genome: Genome) -> Sequence[Genome]:
        """The genome fitted to the limits, to half of them, a quarter and so on, as long as it is larger than unfitted;
        then unfitted, unless that is over the limits."""
        found, steering = [self.fit(genome)], self._steering
        own = genome if steering.usage(genome) <= 1 else found[0]
        while steering.flops(found[-1]) > steering.flops(own):
            steering = steering.times(0.5)
            found.append(steering.fit(genome))
        return list(dict.fromkeys([*found[:-1], own]))

    def sample(self, rng: np.random.Generator) -> Genome:
        """A draw of the inner space, fitted; drawn again if it cannot be brought within the limits."""
        for _ in range(ATTEMPTS):
            genome = self.fit(self.inner.sample(rng))
            if self._steering.usage(genome) <= 1:
                break
        return genome

    def known(self) -> Mapping[str, Genome]:
        """The known networks of the space, fitted; without those that cannot be brought within the limits."""
        fitted = {name: self.fit(genome) for name, genome in self.inner.known().items()}
        return {name: genome for name, genome in fitted.items() if self._steering.usage(genome) <= 1}

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        return self.fit(self.inner.crossover(first, second, rng))

    def simplest(self, rng: np.random.Generator) -> Genome:
        return self.fit(self.inner.simplest(rng))

    def grown(self, genome: Genome) -> list[Genome]:
        return self._fitted(self.inner.grown(genome), genome)

    def neighbours(self, genome: Genome) -> list[Genome]:
        return self._fitted(self.inner.neighbours(genome), genome)

    def _fitted(self, genomes: list[Genome], origin: Genome) -> list[Genome]:
        """The fitted genomes without duplicates, the origin, and those that cannot be brought within the limits."""
        found = dict.fromkeys(map(self.fit, genomes))
        found.pop(origin, None)
        return [other for other in found if self._steering.usage(other) <= 1]

    def decode(self, vector: np.ndarray) -> Genome:
        return self.fit(self.inner.decode(vector))
