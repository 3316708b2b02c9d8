"""Asynchronous successive halving."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import numpy as np

from nasrun.core import Genome, Objective, Proposal, SearchSpace
from nasrun.core.options import AtLeast, Positive
from nasrun.strategies.multi_fidelity.rungs import Member, Rung, Rungs
from nasrun.strategies.multi_fidelity.search import RungSearch
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator


class Asha(RungSearch):
    """Trains every architecture for a few epochs, and continues those among the best 1/`eta` of their rung.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2. Whenever a trial is
    asked for, the best promotable member of the highest rung is trained further from its checkpoint; if there is none,
    a new architecture is begun. Decisions use the results known so far and never wait for a rung. Failed trials count
    as the worst members of their rung and are never promoted; a trial that took over the result of an earlier one
    (`deduplicate`) is not a member.

    Every trial is one step of the ladder of `Rungs` (`min_budget`, `max_budget`, `eta`, `budgets`), and learning rates
    follow the schedule of a training run of the highest budget. `configurations`: maximum number of new architectures;
    None: no limit but that of the trials. `sampler`: new ones are drawn from the space (`random`), or are mutations of
    the best 1/`eta` of the highest rung that has `eta` members (`evolution`). `start`: known architectures to begin
    with. The result of the search is the best at the highest rung reached.
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
        configurations: Positive | None = None,
        sampler: Literal["random", "evolution"] = "random",
        start: Start = "none",
    ) -> None:
        super().__init__(space, objective, rng, Rungs(min_budget, max_budget, eta, budgets))
        self._eta, self._most = eta, configurations
        self._first = StartingGenomes(space, start, configurations)
        self._mutator = Mutator(space, None) if sampler == "evolution" else None
        self._rungs = [Rung(eta, configurations if rung == 0 else None) for rung in range(len(self.budgets))]

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and (proposal := self._next()) is not None:
            proposals.append(proposal)
        self._waiting += len(proposals)
        return proposals

    def _add(self, member: Member, rung: int) -> None:
        self._rungs[rung].add(member)

    @property
    def done(self) -> bool:
        return not self._waiting and self._begun == self._most and self._ready() is None

    def required_checkpoints(self) -> Collection[int]:
        found = set[int]().union(*(rung.needed for rung in self._rungs[:-1])) if not self.done else set()
        return found if self._ladder.best is None else found | {self._ladder.best}

    def epochs(self, trials: int) -> float:
        shares = [float(self._eta) ** -rung for rung in range(len(self.budgets))]
        step = sum(share * step for share, step in zip(shares, self._ladder.steps, strict=True)) / sum(shares)
        return trials * step

    def notes(self) -> Mapping[str, Any]:
        rows = [
            {"budget": budget, "trials": [member.trial for member in rung.members], "promoted": rung.promoted}
            for budget, rung in zip(self.budgets, self._rungs, strict=True)
        ]
        return {"rungs": rows}

    def _next(self) -> Proposal | None:
        """The next proposal; None if nothing can be promoted and no architecture may be begun."""
        rung = self._ready()
        if rung is not None:
            return self._ladder.promotion(self._rungs[rung].promote(), rung + 1)
        if self._begun == self._most:
            return None
        self._begun += 1
        return self._ladder.start(*self._new())

    def _ready(self) -> int | None:
        """The highest rung with a member to promote."""
        return next((rung for rung in reversed(range(self._ladder.top)) if self._rungs[rung].ready), None)

    def _new(self) -> tuple[Genome, str]:
        """A new architecture, and its origin."""
        if self._mutator is not None and not self._first.left:
            for rung in reversed(self._rungs):
                best = [member for member in rung.members[: len(rung.members) // self._eta] if not member.failed]
                if best:
                    return self._mutator(best[int(self._rng.integers(len(best)))].genome, self._rng)
        # Not named "sample": results after a few epochs do not measure the average random architecture.
        return self._first.draw(self._rng, "start")
