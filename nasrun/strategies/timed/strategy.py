"""A search within a time budget: trains many architectures briefly and continues the best, by a plan that may
change."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, StrategyWrapper, Trial
from nasrun.strategies.timed.plan import Plan

FAILED = -float("inf")
MOST_DUPLICATES = 4
"""Maximum proposals per architecture to begin, after which a strategy that repeats itself counts as done."""


class Member(NamedTuple):
    """An architecture at a rung: its last trial, its epochs so far, the score there (higher is better)."""

    trial: int
    genome: Genome
    hparams: Mapping[str, Any]
    epochs: int
    score: float


class Timed(StrategyWrapper):
    """Wraps a strategy whose proposals have no budgets, and sets their budgets by a `Plan`.

    Successive halving (Jamieson and Talwalkar 2016, section 3): the inner strategy proposes as many architectures as
    the plan has room for, and receives their results at the lowest rung; then the best are continued from their
    checkpoints, rung by rung. A rung gives each architecture the same time, not the same epochs: a faster one is
    trained for more of them (`epoch_seconds`), with a schedule over as many as the final training has time for. So
    networks are compared at equal cost, and the chosen one keeps all that it learned.

    A failed architecture is replaced by another. `patience`: the lowest rung ends early after so many architectures in
    a row without an improvement.
    """

    def __init__(self, inner: Strategy, space: SearchSpace, objective: Objective, patience: int | None = None) -> None:
        super().__init__(inner)
        self.uses_checkpoints, self.length, self.budgets = True, None, ()
        self._space, self._objective, self._patience = space, objective, patience
        self.plan: Plan | None = None
        self.epoch_seconds: Callable[[Genome], float] = _unknown
        """Seconds per epoch of a genome's network; the runner measures it, or reads it from the journal."""
        self.work: Callable[[int, int], float] = _even
        """The cost of the first epochs of a training run (`Evaluator.work`)."""
        self.rungs: list[list[Member]] = [[]]
        self.pairs: list[tuple[float, float]] = []
        """Scores of architectures that were trained twice at the lowest rung."""
        self._queue: deque[Proposal] = deque()
        self._behind: dict[int, int] = {}
        self.begun = 0
        """Number of architectures that were begun."""
        self._failed = self._proposed = self._waiting = self._stale = 0
        self._repeating: dict[Genome, Member] | None = None
        self._exhausted = False

    def follow(self, plan: Plan) -> None:
        """Follow a plan from now on; rungs that have begun do not change."""
        self.plan = plan
        self._space.narrow(plan.share)

    def ask(self, n: int) -> list[Proposal]:
        assert self.plan is not None, "set a plan before the first proposal"
        proposals: list[Proposal] = []
        while len(proposals) < n:
            if self._queue:
                proposals.append(self._queue.popleft())
                self._waiting += 1
            elif self._beginning:
                new = self._begin(n - len(proposals))
                proposals += new
                if not new:
                    break
            elif self._waiting or not self._climb():
                break
        return proposals

    @property
    def _beginning(self) -> bool:
        """Whether more architectures should be begun."""
        assert self.plan is not None
        return (
            len(self.rungs) == 1
            and self._repeating is None
            and not self._exhausted
            and self.begun - self._failed < self.plan.candidates
            and self._proposed < MOST_DUPLICATES * self.plan.candidates
            and not self.inner.done
            and (self._patience is None or self._stale < self._patience)
        )

    def _begin(self, n: int) -> list[Proposal]:
        """Up to `n` new architectures, with the budget of the lowest rung."""
        assert self.plan is not None
        found = []
        for proposal in self.inner.ask(min(n, self.plan.candidates - self.begun + self._failed)):
            self._proposed += 1
            self.begun += proposal.reuse_of is None
            if proposal.origin == Origin.KNOWN and self.begins_known:
                # Fitted again: the plan may have narrowed the limits after the strategy drew these.
                genome = self._space.fit(proposal.genome) if self.plan.alone is None else self.plan.alone
                proposal = proposal._replace(genome=genome)
            found.append(self._at(proposal, 0, 0))
        self._waiting += len(found)
        self._exhausted = not found and not self._waiting
        return found

    def _at(self, proposal: Proposal, rung: int, done: int) -> Proposal:
        """The proposal with the epochs of a rung, `done` of which are already trained."""
        plan = self.plan
        assert plan is not None
        seconds = self.epoch_seconds(proposal.genome)
        horizon = max(1, epochs_within(plan.horizon / seconds + 0.5, lambda epochs: self.work(epochs, epochs)))
        until = plan.rungs[min(rung, len(plan.rungs) - 1)] / seconds
        budget = max(done + 1, epochs_within(until + 0.5, lambda epochs: self.work(epochs, horizon)))
        horizon = max(budget, horizon)
        images = {} if plan.epoch_images is None else {"epoch_images": plan.epoch_images}
        return proposal._replace(budget=budget, horizon=horizon, hparams={**proposal.hparams, **images})

    def _climb(self) -> bool:
        """If the lowest rung is over, queue the repeats; if any rung is over, queue the next. False if there is
        none."""
        assert self.plan is not None
        ranked = self.ranked
        if len(self.rungs) == 1 and self._repeating is None:
            # Only if there is still a choice to make between them.
            chosen = ranked[: self.plan.repeats] if len(ranked) > 1 else []
            self._repeating = {member.genome: member for member in chosen}
            for member in chosen:
                again = Proposal(member.genome, member.hparams, origin=Origin.REPEAT)
                self._queue.append(self._at(again, 0, 0)._replace(budget=member.epochs))
            if chosen:
                return True
        if len(self.rungs) >= len(self.plan.rungs) or len(ranked) < 2:
            return False
        rung = len(self.rungs)
        for member in ranked[: self.plan.survivors[rung]]:
            proposal = Proposal(
                member.genome, member.hparams, parent=member.trial, warm_start="continue", origin=Origin.PROMOTE
            )
            self._queue.append(self._at(proposal, rung, member.epochs))
        self.rungs.append([])
        return True

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        proposal, score = trial.proposal, self._objective.score(measurements)
        self._waiting -= 1
        rung = len(self.rungs) - 1 if proposal.warm_start == "continue" else 0
        if proposal.origin == Origin.REPEAT:
            self._repeated(proposal, score)
            return
        if rung == 0:
            self._failed += score == FAILED
            best = max((member.score for member in self.rungs[0]), default=FAILED)
            self._stale = 0 if score > best else self._stale + 1
            self.inner.tell(trial, measurements)
        if proposal.reuse_of is None and score > FAILED:
            epochs = self._behind[trial.number] = proposal.budget or 0
            self.rungs[rung].append(Member(trial.number, proposal.genome, proposal.hparams, epochs, score))

    def _repeated(self, proposal: Proposal, score: float) -> None:
        """Record the second training of an architecture, which is then ranked by the mean of both."""
        assert self._repeating is not None
        member = self._repeating[proposal.genome]
        if score > FAILED:
            self.pairs.append((member.score, score))
            place = self.rungs[0].index(member)
            self.rungs[0][place] = member._replace(score=(member.score + score) / 2)

    @property
    def ranked(self) -> list[Member]:
        """The members of the highest rung with members, best first, the first of equal ones first. Failed ones are left
        out."""
        rung: list[Member] = next((rung for rung in reversed(self.rungs) if rung), [])
        return sorted(rung, key=lambda member: (-member.score, member.trial))

    @property
    def done(self) -> bool:
        if self.plan is None or self._waiting or self._queue or self._beginning:
            return False
        if len(self.rungs) == 1 and self._repeating is None and self.plan.repeats and len(self.ranked) > 1:
            return False
        return len(self.rungs) >= len(self.plan.rungs) or len(self.ranked) < 2

    @property
    def choosing(self) -> bool:
        """Whether the lowest rung is over, so that no more architectures are begun."""
        return self.plan is not None and not self._beginning and not (len(self.rungs) == 1 and self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing is being trained or queued."""
        return not self._waiting and not self._queue

    def epochs_behind(self, proposal: Proposal) -> int:
        """Epochs of the checkpoint that a proposal continues from."""
        goes_on = proposal.warm_start == "continue" and proposal.parent is not None
        return self._behind.get(proposal.parent or 0, 0) if goes_on else 0

    def required_checkpoints(self) -> Collection[int]:
        most = max(2, *self.plan.survivors) if self.plan is not None else 2
        waiting = (proposal.parent for proposal in self._queue if proposal.parent is not None)
        return {*(member.trial for member in self.ranked[:most]), *waiting}

    def selected_trial(self) -> int | None:
        ranked = self.ranked
        return ranked[0].trial if ranked else None

    def epochs(self, trials: int) -> float | None:
        return None

    def notes(self) -> Mapping[str, Any]:
        rows = [[{"trial": m.trial, "epochs": m.epochs, "score": m.score} for m in rung] for rung in self.rungs]
        return {**self.inner.notes(), "rungs": rows}


def epochs_within(limit: float, work: Callable[[int], float]) -> int:
    """The largest number of epochs whose `work`, which grows with them, does not exceed a limit."""
    low, high = 0, 1
    while work(high) <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if work(middle) <= limit else (low, middle)
    return low


def _even(epochs: int, horizon: int) -> float:
    return float(epochs)


def _unknown(genome: Genome) -> float:
    raise LookupError("the speed of an architecture is not on record")
