"""Measures the architectures that differentiable methods derive."""

from collections.abc import Sequence

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial


class Derived(Strategy):
    """Proposes after each epoch the architecture that the evaluator derived from its architecture weights.

    The result of the search is the last one, as published, not the best by the objective.
    """

    steerable = False
    draws_from_space = False
    follows_derived = True

    def __init__(self, space: SearchSpace, objective: Objective, rng: np.random.Generator) -> None:
        self._waiting: Genome | None = None
        self._last: int | None = None

    def ask(self, n: int) -> list[Proposal]:
        if self._waiting is None or not n:
            return []
        proposal = Proposal(self._waiting, origin=Origin.DERIVED)
        self._waiting = None
        return [proposal]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._last = trial.number if self._last is None else max(self._last, trial.number)

    def tell_derived(self, genome: Genome) -> None:
        self._waiting = genome

    def selected_trial(self) -> int | None:
        return self._last
