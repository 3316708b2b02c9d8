"""Aging (regularized) evolution."""

from collections import deque
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Annotated, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Fraction, NotEmpty, Positive
from nasrun.strategies.inheritance import Inherit, Inheritance
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator


class Member(NamedTuple):
    """A living model of the population."""

    score: float
    genome: Genome
    trial: int


class AgingEvolution(Strategy):
    """Evolution that removes the oldest model of the population, not the worst.

    Source: Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, algorithm 1. The
    search begins with `population` random models. Then, until the history holds `cycles` models, `sample` candidates
    are drawn from the population with replacement and the best of them is mutated once; the child joins the population
    and the oldest model leaves it. A failed model never joins. `start`: known models to begin with. `inherit`: which
    children start from their parents' weights (`Inheritance`).

    `add_node_rate`, `add_connection_rate`: probabilities of adding one node or one connection to the parent (the
    mutations `add_node` and `add_connection` of the space); null: no separate probability. Source: the slides on NAS
    with NAS-Bench-101 ("Evolutionary algorithm"), which give both rates from 0.01 to 0.20 and say that a mutation adds
    a layer or connects two existing ones. Inferred, because the slides do not say: a child is mutated exactly once, so
    the two rates exclude each other. The other enabled mutations share the remaining probability equally; if there are
    none, the two are drawn in proportion to their rates. A mutation with a rate is enabled whether or not `mutations`
    names it; at rate 0 it is never used.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        population: Positive = 100,
        sample: Positive = 25,
        cycles: Positive | None = None,
        mutations: Annotated[list[str], NotEmpty()] | None = None,
        add_node_rate: Fraction | None = None,
        add_connection_rate: Fraction | None = None,
        start: Start = "none",
        inherit: Inherit = "none",
    ) -> None:
        if sample > population:
            raise ValueError(f"sample={sample}: must be <= population={population}")
        if cycles is not None and cycles < population:
            raise ValueError(f"cycles={cycles}: must be >= population={population}, which the history includes")
        self._space, self._objective, self._rng = space, objective, rng
        self._size, self._sample, self._cycles = population, sample, cycles
        self.initial = population
        self._first = StartingGenomes(space, start, population)
        self.begins_known = self._first.known
        self._inheritance = Inheritance(space, inherit)
        self.inherits = self.uses_checkpoints = self._inheritance.on
        rates = {"add_node": add_node_rate, "add_connection": add_connection_rate}
        self._mutate = Mutator(space, mutations, {name: rate for name, rate in rates.items() if rate is not None})
        self._population: deque[Member] = deque()
        self._grown = False
        self._waiting = 0
        self._history = 0

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and not self._full:
            if self._grown:
                proposals.append(self._child())
            elif len(self._population) + self._waiting < self._size:
                proposals.append(self._first.proposal(self._rng))
            else:
                break
            self._waiting += 1
        return proposals

    def _child(self) -> Proposal:
        drawn = self._rng.integers(len(self._population), size=self._sample).tolist()
        parent = max((self._population[i] for i in drawn), key=attrgetter("score"))
        genome, mutation = self._mutate(parent.genome, self._rng)
        return self._inheritance.given(Proposal(genome, parent=parent.trial, origin=mutation), parent)

    def required_checkpoints(self) -> Collection[int]:
        return self._inheritance.needed(self._population)

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        if measurements[0].status != "infeasible":
            self._history += 1
        score = self._objective.score(measurements)
        if score == -float("inf"):
            return
        self._population.append(Member(score, trial.proposal.genome, trial.number))
        self._grown = self._grown or len(self._population) == self._size
        if len(self._population) > self._size:
            self._population.popleft()

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1

    @property
    def _full(self) -> bool:
        return self._cycles is not None and self._history + self._waiting >= self._cycles

    @property
    def done(self) -> bool:
        return self._cycles is not None and self._history >= self._cycles
