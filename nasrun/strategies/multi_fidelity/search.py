"""The common part of strategies that continue the best trials of a rung."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Strategy, Trial
from nasrun.strategies.multi_fidelity.rungs import Member, Rungs


class RungSearch(Strategy):
    """Trials are steps of the ladder of `Rungs`; the result of the search is the best at the highest rung reached.

    A trial that took over the result of an earlier one (`deduplicate`) is not a member of a rung. Another architecture
    replaces a duplicate or a rejected proposal.
    """

    uses_checkpoints = True

    def __init__(self, space: SearchSpace, objective: Objective, rng: np.random.Generator, ladder: Rungs) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._ladder, self.budgets = ladder, ladder.budgets
        self._told: set[int] = set()
        self._begun = self._waiting = 0

    @abstractmethod
    def _add(self, member: Member, rung: int) -> None:
        """Add a member to a rung."""

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        proposal = trial.proposal
        if trial.number in self._told:
            self._begun -= 1  # a duplicate that was dropped: another one replaces it
        elif proposal.reuse_of is None:
            self._told.add(trial.number)
            member = self._ladder.member(trial.number, proposal, self._objective.score(measurements))
            self._add(member, self._ladder.rung(proposal))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._begun -= 1  # another one replaces it

    def selected_trial(self) -> int | None:
        return self._ladder.best
