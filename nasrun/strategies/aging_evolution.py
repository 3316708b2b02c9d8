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
    """One living model of the population."""

    score: float
    genome: Genome
    trial: int


class AgingEvolution(Strategy):
    """Evolution in which the oldest model dies, not the worst.

    Source: Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, algorithm 1.
    `population` random models first; then, until `cycles` models are in the history: `sample` candidates are drawn
    from the population with replacement, the best of them is mutated once, the child joins the population on the
    right and the oldest leaves on the left. A model that fails never joins. `start`: known models that are the first of
    the population. `inherit`: which children begin with weights of their parents (`Inheritance`).

    `add_node_rate`, `add_connection_rate`: the probabilities that a child is its parent with one more node, or one
    more connection (the mutations `add_node` and `add_connection` of the space); null for no probability of its own.
    Source: the slides on NAS with NAS-Bench-101 ("Evolutionary algorithm"), which give both rates from 0.01 to 0.20
    and say that a mutation adds a layer or connects two existing ones. Inferred, because the slides are silent: a
    child is mutated exactly once, so the rates exclude each other; the rest up to 1 is shared equally by the other
    mutations enabled, and where none is, the two are drawn in proportion to their rates. A mutation with a rate is
    enabled whether `mutations` names it or not; at rate 0 it is never used.
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
            raise ValueError(f"sample={sample}: larger than population={population}; at most the population is right")
        if cycles is not None and cycles < population:
            raise ValueError(f"cycles={cycles}: below population={population}; the history counts the population too")
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
