"""Mutation by name, for evolutionary strategies."""

from collections.abc import Mapping, Sequence

import numpy as np

from nasrun.core import Genome, Mutation, SearchSpace
from nasrun.core.options import nearest


class Mutator:
    """Applies one of a list of named mutations of a space, each as likely as the others unless it has a rate."""

    def __init__(
        self, space: SearchSpace, names: Sequence[str] | None, rates: Mapping[str, float] | None = None
    ) -> None:
        """`names`: the enabled mutations; None: all of the space. `rates`: mutations with their own probability,
        whether named or not; the other mutations share the remaining probability equally, and if there are none, the
        rates are scaled to sum to 1. ValueError, beginning with the key, if a mutation is unknown (the key of a rate is
        the mutation's name and `_rate`), or the rates allow no choice."""
        rates, self._null = rates or {}, space.null_mutations
        for name in names or ():
            if name not in space.mutations:
                raise ValueError(f"mutations={name}: no such mutation of this space; {nearest(name, space.mutations)}")
        for name, rate in rates.items():
            if name not in space.mutations:
                known = ", ".join(space.mutations)
                raise ValueError(
                    f"{name}_rate={rate}: this space has no mutation {name}; use null (its mutations: {known})"
                )
        enabled = space.mutations if names is None else names
        self._mutations = [(name, space.mutations[name]) for name in enabled if name not in rates]
        self._rated = [(name, space.mutations[name]) for name, rate in rates.items() if rate > 0]
        total = sum(rates.values())
        given = " ".join(f"{name}_rate={rate}" for name, rate in rates.items())
        if total > 1:
            raise ValueError(f"{given}: the sum of the rates must be <= 1")
        if not space.mutations:
            raise ValueError(f"mutations: {type(space).__name__} has none; choose a strategy that needs none")
        if not self._mutations and not self._rated:
            raise ValueError(f"{given}: no other mutation is enabled; set a rate above 0")
        scale = 1.0 if self._mutations or not self._rated else 1 / total
        self._rates = [rate * scale for rate in rates.values() if rate > 0]

    def __call__(self, genome: Genome, rng: np.random.Generator) -> tuple[Genome, str]:
        """A mutated genome and the name of the mutation.

        If a mutation cannot change this genome, the next one of the list is tried, those with a rate last; if none can,
        the genome itself is returned. In a space with null mutations the first one is used even if it changes nothing.
        """
        order = self._order(rng)
        for name, mutate in order:
            child = mutate(genome, rng)
            if self._null or child != genome:
                return child, name
        return genome, order[0][0]

    def _order(self, rng: np.random.Generator) -> list[tuple[str, Mutation]]:
        """The drawn mutation, then the ones to try after it."""
        drawn = self._draw_rated(rng) if self._rated else None
        start = int(rng.integers(len(self._mutations))) if self._mutations else 0
        order = [*self._mutations[start:], *self._mutations[:start]]
        if drawn is None:
            return [*order, *self._rated]
        rest = [rated for place, rated in enumerate(self._rated) if place != drawn]
        return [self._rated[drawn], *order, *rest]

    def _draw_rated(self, rng: np.random.Generator) -> int | None:
        """The index of a mutation with a rate, or None if one of the others is drawn."""
        draw = float(rng.random())
        for place, rate in enumerate(self._rates):
            if draw < rate:
                return place
            draw -= rate
        return None if self._mutations else len(self._rates) - 1
