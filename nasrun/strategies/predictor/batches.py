"""The common part of model-based searches: random architectures first, then batches that the model proposes."""

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Proposal, SearchSpace, Strategy, Trial
from nasrun.strategies.start import StartingGenomes


class Known(NamedTuple):
    """A completed architecture: its score (-inf: failed), its trial, and the model's input for it."""

    score: float
    genome: Genome
    trial: int | None
    entries: Any


class ModelSearch(Strategy):
    """Proposes `initial` architectures first; then a subclass proposes batches from all results (`_batch`).

    `read`: turns a genome into the model's input. Infeasible and rejected architectures do not count as initial ones.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        first: StartingGenomes,
        initial: int,
        read: Callable[[Genome], Any],
    ) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._first, self.initial, self._read = first, initial, read
        self._begun = 0
        self._seen: set[Hashable] = set()
        self._known: list[Known] = []
        self._queue: deque[Proposal] = deque()

    @abstractmethod
    def _batch(self) -> list[Proposal]:
        """The next proposals, best first; never empty."""

    def ask(self, n: int) -> list[Proposal]:
        proposals = []
        for _ in range(n):
            # With many in flight, all of the initial ones may be proposed before any of them is completed.
            if self._begun >= self.initial and any(known.score > -math.inf for known in self._known):
                if not self._queue:
                    self._queue.extend(self._batch())
                proposals.append(self._queue.popleft())
            else:
                proposals.append(self._first.proposal(self._rng))
            self._seen.add(self._space.key(proposals[-1].genome))
            self._begun += 1
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        genome = trial.proposal.genome
        if measurements[0].status == "infeasible":
            self._begun -= 1
        self._known.append(Known(self._objective.score(measurements), genome, trial.number, self._read(genome)))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._begun -= 1
        self._known.append(Known(-math.inf, proposal.genome, None, self._read(proposal.genome)))
