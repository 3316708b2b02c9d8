"""The common part of evolution in generations: when a generation is over, and how children are made."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nasrun.core import Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Fraction, NotEmpty
from nasrun.strategies.inheritance import Bred, Inherit, Inheritance
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator


@dataclass(kw_only=True, frozen=True)
class Variation:
    """How children are made: a crossover of two parents with probability `crossover_rate`, else a copy of one; a
    crossover is then mutated with probability `mutation_rate`, a copy always. `mutations`: names to use; None: all of
    the space. `inherit`: which children start from the weights of their first parent (`Inheritance`)."""

    crossover_rate: Fraction = 0.5
    mutation_rate: Fraction = 0.5
    mutations: Annotated[list[str], NotEmpty()] | None = None
    inherit: Inherit = "none"


class Generations(Strategy):
    """Up to `generations` generations of `population` models (None: until the trials are used up).

    `start`: known models to begin the first generation with; its others are random. When all of a generation are
    completed, a subclass makes them parents (`_next_generation`) and proposes models of the next.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        population: int,
        generations: int | None,
        start: Start,
        variation: Variation,
    ) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._size, self._generations, self._variation = population, generations, variation
        self.initial = population
        self._first = StartingGenomes(space, start, population)
        self.begins_known = self._first.known
        self._inheritance = Inheritance(space, variation.inherit)
        self.inherits = self.uses_checkpoints = self._inheritance.on
        self._mutate = Mutator(space, variation.mutations)
        self._generation = 0
        self._missing = population
        self._waiting = 0

    @abstractmethod
    def _next_generation(self) -> int:
        """Make the completed models parents; returns the number of models to propose in the next generation."""

    @abstractmethod
    def _propose(self) -> Proposal:
        """One model of the generation."""

    @abstractmethod
    def _select(self) -> Bred:
        """Select one parent."""

    @abstractmethod
    def _add(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Add a completed trial."""

    @abstractmethod
    def _may_be_parents(self) -> Iterable[Bred]:
        """The models that may still become parents, in this generation or the next."""

    def ask(self, n: int) -> list[Proposal]:
        if self._missing == 0 and self._waiting == 0 and not self.done:
            self._missing = self._next_generation()
            self._generation += 1
        count = 0 if self.done else min(n, self._missing)
        self._missing -= count
        self._waiting += count
        return [self._propose() for _ in range(count)]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        if measurements[0].status == "infeasible":
            self._missing += 1
        self._add(trial, measurements)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._missing += 1

    @property
    def done(self) -> bool:
        finished = self._generation + (self._missing == 0 and self._waiting == 0)
        return self._generations is not None and finished >= self._generations

    def required_checkpoints(self) -> Collection[int]:
        return self._inheritance.needed(self._may_be_parents())

    def _child(self) -> Proposal:
        """A child of selected parents."""
        parent = self._select()
        genome, origin = parent.genome, ""
        if self._rng.random() < self._variation.crossover_rate:
            genome, origin = self._space.crossover(genome, self._select().genome, self._rng), Origin.CROSSOVER
        if not origin or self._rng.random() < self._variation.mutation_rate:
            genome, mutation = self._mutate(genome, self._rng)
            origin = f"{origin}+{mutation}" if origin else mutation
        return self._inheritance.given(Proposal(genome, parent=parent.trial, origin=origin), parent)
