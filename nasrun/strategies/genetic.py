"""A generational genetic algorithm."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Trial
from nasrun.core.options import Above, AtLeast, Between, Positive
from nasrun.strategies.aging_evolution import Member
from nasrun.strategies.generations import Generations, Variation
from nasrun.strategies.start import Start


@dataclass(kw_only=True, frozen=True)
class Selection:
    """The selection of parents and survivors: `tournament` draws `tournament` models and takes the best, `truncation`
    draws from the best `truncation` share; `elitism` models survive unchanged."""

    selection: Literal["tournament", "truncation"] = "tournament"
    tournament: Positive = 3
    truncation: Annotated[float, Above(0), Between(0, 1)] = 0.5
    elitism: Annotated[int, AtLeast(0)] = 1

    def check(self, population: int) -> None:
        """ValueError if a population is too small."""
        if self.selection == "tournament" and self.tournament > population:
            raise ValueError(f"tournament={self.tournament}: must be <= population={population}")
        if self.elitism >= population:
            raise ValueError(f"elitism={self.elitism}: leaves no room for children; must be < population={population}")


class Genetic(Generations):
    """A genetic algorithm with generations of `population` models; the fittest are the parents of the next generation.

    Source: the genetic search over CNN genome strings of the course report "Neural Architecture Search" (sections III
    and IV), which names the mutations; selection, elitism and crossover are the textbook ones (Goldberg 1989).

    `selection`: `tournament` draws `tournament` models and takes the best; `truncation` draws from the best
    `truncation` share. The best `elitism` models survive into the next generation unchanged and are not trained again.
    A child is a crossover of two parents with probability `crossover_rate`, else a copy of one; a crossover is then
    mutated with probability `mutation_rate`, a copy always. Failed models never become parents. `start`: known models
    to begin the first generation with. `inherit`: which children start from the weights of their first parent
    (`Inheritance`).
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
        selection: Selection = Selection(),
        variation: Variation = Variation(),
    ) -> None:
        selection.check(population)
        super().__init__(space, objective, rng, population, generations, start, variation)
        self._selection = selection
        self._parents: list[Member] = []
        self._members: list[Member] = []

    def _next_generation(self) -> int:
        # The completed models become parents, best first; if all failed, the next generation is random again.
        self._parents = sorted(self._members, key=lambda member: -member.score)
        self._members = self._parents[: self._selection.elitism]
        return self._size - len(self._members)

    def _propose(self) -> Proposal:
        return self._child() if self._parents else self._first.proposal(self._rng)

    def _select(self) -> Member:
        count = len(self._parents)
        if self._selection.selection == "truncation":
            best = max(1, round(self._selection.truncation * count))
            return self._parents[int(self._rng.integers(best))]
        return self._parents[int(self._rng.integers(count, size=self._selection.tournament).min())]

    def _add(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        score = self._objective.score(measurements)
        if score > -float("inf"):
            self._members.append(Member(score, trial.proposal.genome, trial.number))

    def _may_be_parents(self) -> Iterable[Member]:
        return (*self._parents, *self._members)
