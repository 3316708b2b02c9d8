"""What strategies that train on the best of a rung have in common, whenever they choose them."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Strategy, Trial
from nasrun.strategies.multi_fidelity.rungs import Member, Rungs


class RungSearch(Strategy):
    """Trials are steps of the ladder of `Rungs`; what the search comes to is the best at the highest rung reached.

    A trial that took over the result of an earlier one (`deduplicate`) is a member of no rung. In the place of a
    duplicate, or of what was turned down, another architecture is begun.
    """

    uses_checkpoints = True

    def __init__(self, space: SearchSpace, objective: Objective, rng: np.random.Generator, ladder: Rungs) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._ladder, self.budgets = ladder, ladder.budgets
        self._told: set[int] = set()
        self._begun = self._waiting = 0

    @abstractmethod
    def _add(self, member: Member, rung: int) -> None:
        """Take in what was measured at a rung."""

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        proposal = trial.proposal
        if trial.number in self._told:
            self._begun -= 1  # a duplicate that was turned down: another one takes its place
        elif proposal.reuse_of is None:
            self._told.add(trial.number)
            member = self._ladder.member(trial.number, proposal, self._objective.score(measurements))
            self._add(member, self._ladder.rung(proposal))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._begun -= 1  # another one takes its place

    def selected_trial(self) -> int | None:
        return self._ladder.best
