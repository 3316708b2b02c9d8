"""A generational genetic algorithm."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nasrun.core import Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Above, AtLeast, Between, Fraction, NotEmpty, Positive
from nasrun.strategies.aging_evolution import Member
from nasrun.strategies.inheritance import Inherit, Inheritance
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator


@dataclass(kw_only=True, frozen=True)
class Selection:
    """Which models are parents, and which survive: `tournament` draws `tournament` models and takes the best,
    `truncation` draws from the best `truncation` share; `elitism` models survive unchanged."""

    selection: Literal["tournament", "truncation"] = "tournament"
    tournament: Positive = 3
    truncation: Annotated[float, Above(0), Between(0, 1)] = 0.5
    elitism: Annotated[int, AtLeast(0)] = 1

    def check(self, population: int) -> None:
        """ValueError where a population is too small."""
        if self.selection == "tournament" and self.tournament > population:
            raise ValueError(f"tournament={self.tournament}: larger than population={population}")
        if self.elitism >= population:
            raise ValueError(
                f"elitism={self.elitism}: leaves no room for children; must be below population={population}"
            )


@dataclass(kw_only=True, frozen=True)
class Variation:
    """How children are made of their parents; `mutations`: names in use, None uses all of the space."""

    crossover_rate: Fraction = 0.5
    mutation_rate: Fraction = 0.5
    mutations: Annotated[list[str], NotEmpty()] | None = None


class Genetic(Strategy):
    """Generations of `population` models; the fittest are the parents of the next.

    Source: the genetic search over CNN genome strings of the course report "Neural Architecture Search" (sections III
    and IV), which names the mutations; selection, elitism and crossover are the textbook ones (Goldberg 1989).

    `selection`: `tournament` draws `tournament` models and takes the best; `truncation` draws from the best
    `truncation` share. `elitism` best models survive into the next generation unchanged and are not trained again. A
    child is a crossover of two parents with probability `crossover_rate`, else a copy of one; a crossover is then
    mutated with probability `mutation_rate`, a copy always. Failed models are parents of nothing.
    `start`: known models that the first generation begins with. `inherit`: which children begin with weights of their
    first parent (`Inheritance`).
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        population: Annotated[int, AtLeast(2)] = 20,
        generations: Positive | None = None,
        start: Start = "none",
        inherit: Inherit = "none",
        selection: Selection = Selection(),
        variation: Variation = Variation(),
    ) -> None:
        selection.check(population)
        self._space, self._objective, self._rng = space, objective, rng
        self._size, self._generations = population, generations
        self.initial = population
        self._first = StartingGenomes(space, start, population)
        self.begins_known = self._first.known
        self._inheritance = Inheritance(space, inherit)
        self.inherits = self.uses_checkpoints = self._inheritance.on
        self._selection, self._variation = selection, variation
        self._mutate = Mutator(space, variation.mutations)
        self._parents: list[Member] = []
        self._members: list[Member] = []
        self._generation = 0
        self._missing = population
        self._waiting = 0

    def ask(self, n: int) -> list[Proposal]:
        if self._missing == 0 and self._waiting == 0 and not self.done:
            self._next_generation()
        count = 0 if self.done else min(n, self._missing)
        self._missing -= count
        self._waiting += count
        return [self._child() if self._parents else self._first.proposal(self._rng) for _ in range(count)]

    def _next_generation(self) -> None:
        """The members told become parents, best first; where all failed, the next generation is random again."""
        self._parents = sorted(self._members, key=lambda member: -member.score)
        self._members = self._parents[: self._selection.elitism]
        self._missing = self._size - len(self._members)
        self._generation += 1

    def _child(self) -> Proposal:
        parent = self._select()
        genome, origin = parent.genome, ""
        if self._rng.random() < self._variation.crossover_rate:
            genome, origin = self._space.crossover(genome, self._select().genome, self._rng), Origin.CROSSOVER
        if not origin or self._rng.random() < self._variation.mutation_rate:
            genome, mutation = self._mutate(genome, self._rng)
            origin = f"{origin}+{mutation}" if origin else mutation
        return self._inheritance.given(Proposal(genome, parent=parent.trial, origin=origin), parent)

    def required_checkpoints(self) -> Collection[int]:
        return self._inheritance.needed((*self._parents, *self._members))

    def _select(self) -> Member:
        count = len(self._parents)
        if self._selection.selection == "truncation":
            best = max(1, round(self._selection.truncation * count))
            return self._parents[int(self._rng.integers(best))]
        return self._parents[int(self._rng.integers(count, size=self._selection.tournament).min())]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        if measurements[0].status == "infeasible":
            self._missing += 1
        score = self._objective.score(measurements)
        if score > -float("inf"):
            self._members.append(Member(score, trial.proposal.genome, trial.number))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._missing += 1

    @property
    def done(self) -> bool:
        finished = self._generation + (self._missing == 0 and self._waiting == 0)
        return self._generations is not None and finished >= self._generations
