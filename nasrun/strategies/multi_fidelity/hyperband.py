"""Successive halving and Hyperband."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from nasrun.core import Measurement, Objective, Origin, Proposal, SearchSpace, Trial
from nasrun.core.options import AtLeast, Positive
from nasrun.strategies.multi_fidelity.rungs import Member, Rungs
from nasrun.strategies.multi_fidelity.search import RungSearch
from nasrun.strategies.start import Start, StartingGenomes


class Bracket(NamedTuple):
    """One bracket of halving: `sizes` are the numbers of trials at the rung `first` and at those after it."""

    first: int
    sizes: tuple[int, ...]


class SuccessiveHalving(RungSearch):
    """Trains `configurations` architectures for a few epochs, continues the best 1/`eta` of them, and so on to the
    highest budget.

    Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
    section 3, with the factor `eta` of Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter
    Optimization". All trials of a rung are completed before any is promoted. Of n architectures n // eta**k reach rung
    k. Failed trials are never promoted, nor are those that took over the result of an earlier one (`deduplicate`).

    `brackets`: `single` is one bracket that begins at the lowest budget. `hyperband` runs brackets that begin at each
    rung in turn, the lowest first, with as many architectures as in the paper (algorithm 1), and repeats them while
    there are trials; `configurations` must be None. Every trial is one step of the ladder of `Rungs` (`min_budget`,
    `max_budget`, `eta`, `budgets`), and learning rates follow the schedule of a training run of the highest budget.
    `start`: known architectures to begin with. The result of the search is the best at the highest rung reached.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        min_budget: Positive = 1,
        max_budget: Positive = 9,
        eta: Annotated[int, AtLeast(2)] = 3,
        budgets: list[Positive] | None = None,
        configurations: Positive | None = 16,
        brackets: Literal["single", "hyperband"] = "single",
        start: Start = "none",
    ) -> None:
        super().__init__(space, objective, rng, Rungs(min_budget, max_budget, eta, budgets))
        self._plan = _brackets(self._ladder, eta, configurations, brackets)
        self._first = StartingGenomes(space, start, self._plan[0].sizes[0])
        if brackets == "single":
            self.length = sum(self._plan[0].sizes)
        self._coming = iter(self._plan) if brackets == "single" else cycle(self._plan)
        self._members: list[Member] = []
        self._queue: deque[Proposal] = deque()
        self._rows: list[dict[str, Any]] = []
        self._over = False
        self._rung = 0
        self._begin()

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and self._more:
            if self._queue:
                proposals.append(self._queue.popleft())
            else:
                self._begun += 1
                proposals.append(self._ladder.start(*self._first.draw(self._rng, Origin.START), self._rung))
        self._waiting += len(proposals)
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        super().tell(trial, measurements)
        self._end_rung()

    def reject(self, proposal: Proposal, reason: str) -> None:
        super().reject(proposal, reason)
        self._end_rung()

    def _add(self, member: Member, rung: int) -> None:
        self._members.append(member)

    def _end_rung(self) -> None:
        """Promote the best if the whole rung is completed."""
        if not self._waiting and not self._more:
            self._promote()

    @property
    def done(self) -> bool:
        return self._over

    def required_checkpoints(self) -> Collection[int]:
        found = [member.trial for member in self._members if not member.failed]
        found += [proposal.parent for proposal in self._queue if proposal.parent is not None]
        return found if self._ladder.best is None else [*found, self._ladder.best]

    def epochs(self, trials: int) -> float:
        total, left = 0, trials
        for bracket in self._plan if self.length is not None else cycle(self._plan):
            for rung, size in enumerate(bracket.sizes, bracket.first):
                begun = min(left, size)
                total += begun * (self.budgets[rung] if rung == bracket.first else self._ladder.steps[rung])
                left -= begun
            if not left:
                break
        return total

    def notes(self) -> Mapping[str, Any]:
        return {"rungs": self._rows}

    @property
    def _more(self) -> bool:
        """Whether the rung has proposals left to make."""
        return not self._over and (bool(self._queue) or (self._fresh and self._begun < self._bracket.sizes[0]))

    @property
    def _fresh(self) -> bool:
        """Whether the architectures of the rung are new ones."""
        return self._rung == self._bracket.first

    def _begin(self) -> None:
        """Begin the next bracket, if there is one."""
        bracket = next(self._coming, None)
        self._over = bracket is None
        if bracket is not None:
            self._bracket, self._rung, self._begun = bracket, bracket.first, 0

    def _promote(self) -> None:
        """End a completed rung: promote its best to the next, or begin a new bracket."""
        ranked = [member for member in sorted(self._members) if not member.failed]
        place = self._rung + 1 - self._bracket.first
        count = self._bracket.sizes[place] if place < len(self._bracket.sizes) else 0
        best = ranked[:count]
        budget, trials = self.budgets[self._rung], [member.trial for member in sorted(self._members)]
        self._rows.append({"budget": budget, "trials": trials, "promoted": [member.trial for member in best]})
        self._members = []
        if not best:
            self._begin()
            return
        self._rung += 1
        self._queue.extend(self._ladder.promotion(member, self._rung) for member in best)


def _brackets(ladder: Rungs, eta: int, configurations: int | None, kind: str) -> list[Bracket]:
    """The brackets in their order; ValueError, beginning with the key, if the options do not allow them."""
    rungs = ladder.top
    if kind == "hyperband":
        if configurations is not None:
            raise ValueError(f"configurations={configurations}: brackets=hyperband sets its own numbers; use null")
        numbers = [-(-(rungs + 1) * eta**rung // (rung + 1)) for rung in reversed(range(rungs + 1))]
        return [Bracket(first, _sizes(number, eta, rungs - first)) for first, number in enumerate(numbers)]
    if configurations is None:
        raise ValueError("configurations=null: brackets=single needs a number; null is only for brackets=hyperband")
    if configurations < eta**rungs:
        raise ValueError(
            f"configurations={configurations}: none would reach the highest of the budgets "
            f"{', '.join(map(str, ladder.budgets))}; must be >= {eta**rungs}"
        )
    return [Bracket(0, _sizes(configurations, eta, rungs))]


def _sizes(number: int, eta: int, promotions: int) -> tuple[int, ...]:
    return tuple(number // eta**rung for rung in range(promotions + 1))
