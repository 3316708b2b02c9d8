"""Random search: the baseline that every other strategy must beat at equal budget."""

from collections.abc import Sequence

import numpy as np

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Strategy, Trial


class Random(Strategy):
    """Independent draws from the space. `deduplicate=resample` avoids repeats, as for any strategy."""

    def __init__(self, space: SearchSpace, objective: Objective, rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._space.sample(self._rng)) for _ in range(n)]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Does nothing: proposals do not depend on results."""
