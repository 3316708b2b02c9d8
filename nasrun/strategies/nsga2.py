"""NSGA-II: evolution towards the front of several objectives (`pip install 'nasrun[multi]'`)."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Annotated, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Proposal, SearchSpace, Trial
from nasrun.core.options import AtLeast, ConfigError, Positive
from nasrun.strategies.generations import Generations, Variation
from nasrun.strategies.start import Start

ATTEMPTS = 100
"""Number of children in a row, all proposed before, after which one of them is proposed again."""


class Member(NamedTuple):
    """A measured model; `scores`: one for each objective, higher is better."""

    scores: tuple[float, ...]
    genome: Genome
    trial: int
    key: Hashable


class Nsga2(Generations):
    """Generations of `population` models; the models that no other beats in all objectives survive.

    Source: Deb et al. 2002, "A fast and elitist non-dominated sorting genetic algorithm for multiobjective
    optimization: NSGA-II", sections III A and B; sorting and crowding distances are pymoo's. Parents and children
    together are sorted into fronts; the best `population` become the parents of the next generation, and if a front has
    too many, its least crowded ones. A parent is the better of two that are drawn: that of the better front, else the
    less crowded one.

    The space's variation replaces the paper's on real vectors: a child is a crossover of two parents with probability
    `crossover_rate`, else a copy of one; a crossover is then mutated with probability `mutation_rate`, a copy always.
    Nothing is proposed twice as long as 100 attempts find something new. A failed model is worse than any other and
    never becomes a parent. `start`: known models to begin the first generation with. `inherit`: which children start
    from the weights of their first parent (`Inheritance`). With one objective this is a plain elitist genetic
    algorithm.
    """

    multi_objective = True

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        population: Annotated[int, AtLeast(2)] = 20,
        generations: Positive | None = None,
        start: Start = "none",
        variation: Variation = Variation(crossover_rate=0.9),
    ) -> None:
        try:
            from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
            from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
        except ImportError:
            raise ConfigError("strategy=nsga2: needs pymoo: pip install 'nasrun[multi]'") from None
        super().__init__(space, objective, rng, population, generations, start, variation)
        self._sorting, self._crowding = NonDominatedSorting(), get_crowding_function("cd")
        self.parents: list[Member] = []
        self._children: list[Member] = []
        self._proposed: set[Hashable] = set()

    def _next_generation(self) -> int:
        # The best of parents and children become parents, best first; if all failed, the next generation is random.
        models, self._children = self.parents + self._children, []
        costs = -np.array([model.scores for model in models], dtype=float)
        self.parents = []
        for front in self._sorting.do(costs, n_stop_if_ranked=self._size) if models else ():
            crowding = self._crowding.do(costs[front])
            order = front[np.argsort(-crowding, kind="stable")]
            self.parents += [models[place] for place in order[: self._size - len(self.parents)].tolist()]
        return self._size

    def _propose(self) -> Proposal:
        """A proposal that was not made before, if one of some attempts finds it."""
        for _ in range(ATTEMPTS):
            proposal = self._child() if self.parents else self._first.proposal(self._rng)
            key = self._space.key(proposal.genome)
            if key not in self._proposed:
                break
        self._proposed.add(key)
        return proposal

    def _select(self) -> Member:
        """The better of two drawn parents, which are ordered by front and, within a front, by crowding."""
        return self.parents[int(self._rng.integers(len(self.parents), size=2).min())]

    def _add(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        scores, key = self._objective.scores(measurements), self._space.key(trial.proposal.genome)
        known = any(member.key == key for member in (*self.parents, *self._children))
        if not known and all(score > -float("inf") for score in scores):
            self._children.append(Member(scores, trial.proposal.genome, trial.number, key))

    def _may_be_parents(self) -> Iterable[Member]:
        return (*self.parents, *self._children)
