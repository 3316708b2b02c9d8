"""What the tests of the public Python interface share."""

import numpy as np

import nasrun
from nasrun.core import Proposal

LOOKUP = ("evaluator=table", "search_space=nasbench201", "output.plots=false")


class Sampler(nasrun.Strategy):
    """Draws from the space."""

    def __init__(self, space: nasrun.SearchSpace, objective: nasrun.Objective, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._space.sample(self._rng)) for _ in range(n)]

    def tell(self, trial: nasrun.Trial, measurements: object) -> None:
        pass
