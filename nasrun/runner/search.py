"""The search loop: replay, ask, journal, submit, wait, journal, tell, stop.

What the loop does next depends only on the journal: it asks once at the start and once after every tell, for as many
proposals as are missing to `in_flight`, and tells in the order of the trials. So the search is a function of the seed
and of `in_flight`, never of timing, and a killed run resumes exactly where it was.
"""

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup
from nasrun.core import Executor, Job, Measurement, Objective, Proposal, Strategy, Trial, seeding
from nasrun.core.collection import no_collection
from nasrun.core.options import brief
from nasrun.core.words import counted
from nasrun.runner.shared_weights import SharedWeights
from nasrun.runner.time_budget import TimeBudget
from nasrun.storage.event_base import Event
from nasrun.storage.events import Asked, Measured, SharedTrained, Told
from nasrun.storage.journal import FSYNC_AFTER_SECONDS
from nasrun.storage.records import Observer, RunLog, TrialRecord


class ReplayError(Exception):
    """The journal cannot be replayed: the strategy no longer proposes what the journal holds."""


def _first_difference(then: Sequence[Proposal], now: Sequence[Proposal]) -> tuple[Any, Any]:
    """The genomes of the first two proposals that differ, or the proposals if their genomes are equal; None where one
    list is shorter."""
    for one, other in itertools.zip_longest(then, now):
        if one != other:
            both = one is not None and other is not None and one.genome == other.genome
            return (one, other) if both else tuple(None if p is None else p.genome for p in (one, other))  # type: ignore[return-value]
    raise ValueError("the proposals are equal")


def fail_non_finite(measurement: Measurement) -> Measurement:
    """The measurement, or a failure in its place if a metric is not a finite number: NaN is never a result."""
    for name, value in measurement.metrics.items():
        if not math.isfinite(value):
            return measurement._replace(status="failed", metrics={}, error=f"{name} is {value}", history=())
    return measurement


class Ending(NamedTuple):
    """Why a search ended; `complete` is False if it gave up."""

    reason: str
    complete: bool


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of a search: what is measured, and for how long.

    `repeats`: number of measurements of each trial. `in_flight`: number of trials measured at a time. `max_failures`:
    number of failed trials in a row after which the search gives up; None: never. `order`: trials are told in the order
    of the proposals, or as they complete. `patience`: number of trials in a row without an improvement on the best,
    after which the search ends; None: never.
    """

    objective: Objective
    seed: int
    trials: int
    repeats: int = 1
    in_flight: int = 1
    max_failures: int | None = None
    order: Literal["proposal", "completion"] = "proposal"
    patience: int | None = None

    @classmethod
    def of(cls, setup: Setup) -> "SearchOptions":
        """The options of a run."""
        return cls(
            objective=setup.objective,
            seed=setup.options.seed,
            trials=setup.options.trials,
            repeats=setup.evaluator.repeats,
            in_flight=setup.hardware.trials_in_flight,
            max_failures=setup.options.max_failures,
            order=setup.hardware.order,
            patience=setup.options.patience_trials,
        )


class Search:
    """One search: a strategy, an executor that measures its proposals, and the journal of both."""

    def __init__(
        self,
        strategy: Strategy,
        executor: Executor,
        journal: RunLog,
        observer: Observer,
        checkpoints: CheckpointStore,
        options: SearchOptions,
        *,
        shared: SharedWeights | None = None,
        budget: TimeBudget | None = None,
    ) -> None:
        self._strategy, self._executor, self._journal = strategy, executor, journal
        self._observer, self._checkpoints, self._options = observer, checkpoints, options
        self._shared, self._budget = shared, budget
        self._run = journal.run
        self._stale = 0
        self._count = 0
        self._reused: dict[int, int] = {}
        self._outstanding: deque[int] = deque()
        self._may_ask = True
        self._failures = 0
        self._best_score = -float("inf")
        self.best: TrialRecord | None = None

    @property
    def records(self) -> dict[int, TrialRecord]:
        """The completed trials, in the order in which they were told."""
        return self._run.trials

    def run(self) -> Ending:
        """Search until all trials are done, the strategy is done, or too many trials in a row failed.

        Shared weights are trained before the first trial, and whenever all trials of a round are completed.
        """
        if self._shared is not None:
            self._shared.load()
        # A kill right after the last tell may have left checkpoints to delete.
        self._checkpoints.keep_best(self.records, self._options.objective, self.needed())
        for number in self._outstanding:
            self._submit(self._run.asked[number])
        while True:
            if self._options.max_failures is not None and self._failures >= self._options.max_failures:
                return Ending(f"{counted(self._failures, 'trial')} in a row failed, the last: {self.last_error}", False)
            if self._may_ask:
                self._ask()
            if not self._outstanding:
                if self._shared is not None and self._round_over:
                    self._observer.message(self._shared.train(self._strategy))
                    continue
                return Ending(self._why_over(), True)
            self._tell(self._next_complete())

    def _ask(self) -> None:
        most = self._options.trials if self._shared is None else min(self._options.trials, self._shared.trials)
        wanted = min(self._options.in_flight - len(self._outstanding), most - self._count)
        if wanted <= 0 or self._strategy.done or self._gave_up:
            return
        proposals = self._strategy.ask(wanted)
        self._journal.append(Asked(n=wanted, first=self._count, proposals=proposals))
        self._may_ask = False
        for line in self._strategy.messages():
            self._observer.message(line)
        for record in self._admit(len(proposals)):
            self._submit(record)
            self._observer.on_trial_start(record.trial)

    @property
    def _round_over(self) -> bool:
        """Whether shared weights must be trained before the next proposals are asked for."""
        assert self._shared is not None
        over = self._strategy.done or self._gave_up
        return self._count == self._shared.trials < self._options.trials and not over

    @property
    def _gave_up(self) -> bool:
        """Whether the last `patience` trials were no better than the best before them."""
        return self._options.patience is not None and self._stale >= self._options.patience

    def _admit(self, count: int) -> list[TrialRecord]:
        """Record the next trials in line."""
        new = [self._run.asked[number] for number in range(self._count, self._count + count)]
        self._count += count
        for record in new:
            if record.trial.proposal.reuse_of is not None:
                self._reused[record.trial.number] = record.trial.proposal.reuse_of
            self._outstanding.append(record.trial.number)
        return new

    def _submit(self, record: TrialRecord) -> None:
        """Queue the repeats of a trial that are not measured yet."""
        if record.trial.proposal.reuse_of is not None:
            return
        done = {m.repeat for m in record.measurements}
        number, start = record.trial.number, self._with_originals(record.trial.proposal)
        jobs = [
            Job(
                record.trial,
                repeat,
                seeding.integer(self._options.seed, seeding.Purpose.JOB, number, repeat),
                self._checkpoints.source(start, repeat),
                self._checkpoints.target(number, repeat),
                tuple(str(self._checkpoints.path(partner, repeat)) for partner in start.partners),
                self._strategy.uses_checkpoints,
            )
            for repeat in range(self._options.repeats)
            if repeat not in done
        ]
        if jobs:
            self._executor.submit(jobs)

    def _with_originals(self, proposal: Proposal) -> Proposal:
        """The proposal whose parent and partners are the trials that have the checkpoints: originals, not
        duplicates."""
        if proposal.warm_start == "none" and not proposal.partners:
            return proposal
        parent = proposal.parent
        original = None if parent is None else self._original(parent)
        return proposal._replace(parent=original, partners=tuple(map(self._original, proposal.partners)))

    def _original(self, number: int) -> int:
        return self._reused.get(number, number)

    def needed(self) -> set[int]:
        """Trials whose checkpoints the strategy, or a trial in flight, may start from."""
        numbers = set(self._strategy.required_checkpoints())
        for number in self._outstanding:
            proposal = self._run.asked[number].trial.proposal
            if proposal.warm_start != "none":
                numbers.update(proposal.partners, () if proposal.parent is None else (proposal.parent,))
        if not numbers:
            return numbers
        # Sets, because there may be thousands, and this is called after every trial.
        reused = numbers & self._reused.keys()
        return (numbers - reused) | set(map(self._original, reused))

    def _next_complete(self) -> int:
        """The next trial to tell; waits until it is complete."""
        while True:
            for number in self._outstanding if self._options.order == "completion" else (self._outstanding[0],):
                if self._complete(number):
                    return number
            # One write: a group that was measured together is recorded as a whole or not at all, so that a resumed run
            # never trains the rest of it in another group.
            measurements = [fail_non_finite(measurement) for measurement in self._executor.wait()]
            self._journal.append(
                *(Measured(measurement=measurement) for measurement in measurements),
                fsync=any(m.seconds > FSYNC_AFTER_SECONDS for m in measurements),
            )

    def _complete(self, number: int) -> bool:
        record = self._run.asked[number]
        original = record.trial.proposal.reuse_of
        return len(record.measurements) == self._options.repeats if original is None else original in self.records

    def _tell(self, number: int) -> None:
        self._journal.append(Told(trial=number, spent=None if self._budget is None else self._budget.clock.spent))
        record = self._take_in(number)
        self._checkpoints.keep_best(self.records, self._options.objective, self.needed())
        self._observer.on_trial_complete(record, self.best)
        if self._budget is not None:
            self._budget.adjust()

    def _take_in(self, number: int) -> TrialRecord:
        """All state changes of a tell, the first time and in a replay."""
        record = self._run.trials[number]
        record.trial = self._run.asked[number].trial
        self._outstanding.remove(number)
        if self._budget is not None:
            self._budget.count(record.trial)
        self._strategy.tell(record.trial, record.measurements)
        self._may_ask = True
        score = self._options.objective.score(record.measurements)
        self._stale += 1
        if score > self._best_score:
            self.best, self._best_score, self._stale = record, score, 0
        if record.status == "ok":
            self._failures = 0
        elif record.status == "failed" and record.trial.proposal.reuse_of is None:
            self._failures += 1
        return record

    def replay(self, events: Sequence[Event]) -> None:
        """Bring the strategy to the end of the journal, where the records already are.

        ReplayError if the strategy proposes something else than what is recorded.
        """
        with no_collection():
            self._replay(events)
        self._strategy.messages()  # do not repeat messages from before the resume

    def _replay(self, events: Sequence[Event]) -> None:
        for position, event in enumerate(events):
            if self._budget is not None:
                self._budget.replay(event)
            match event:
                case Asked():
                    self._ask_again(event, f"event {position + 1} of the journal")
                case Told(trial=number):
                    self._take_in(number)
                case SharedTrained() if self._shared is not None:
                    self._shared.take(event, self._strategy)

    def _ask_again(self, event: Asked, where: str) -> None:
        if event.n > self._options.in_flight:  # the strategy would make all of them before they are compared
            raise ReplayError(f"{where} asks for {event.n} trials at once, which is more than are in flight")
        proposed = self._strategy.ask(event.n)
        if proposed != event.proposals:
            then, now = _first_difference(event.proposals, proposed)
            raise ReplayError(f"{where}: the strategy proposed {brief(then)} then, but {brief(now)} now")
        self._may_ask = False
        for record, proposal in zip(self._admit(len(proposed)), proposed, strict=True):
            record.trial = Trial(record.trial.number, proposal)  # its own object, as it was then

    @property
    def winner(self) -> TrialRecord | None:
        """The result of the search: the trial that the strategy chose, else the best by the objective."""
        chosen = self._strategy.selected_trial()
        record = self.records.get(chosen) if chosen is not None else None
        return record if record is not None and record.status == "ok" else self.best

    @property
    def asked(self) -> int:
        """Number of trials proposed so far."""
        return self._count

    @property
    def last_error(self) -> str:
        """The reason of the last failure."""
        return next((r.error for r in reversed(self.records.values()) if r.error), None) or "no reason given"

    def _why_over(self) -> str:
        if self._count >= self._options.trials:
            return f"{'all ' * (self._options.trials > 1)}{counted(self._options.trials, 'trial')} done"
        if self._gave_up:
            return f"no better one in {counted(self._options.patience or 0, 'trial')}"
        if self._budget is not None and self._strategy.done:
            return f"{counted(self._count, 'trial')}, as planned for the time"
        if self._strategy.done:
            return f"the strategy was done after {counted(self._count, 'trial')}"
        return f"the strategy proposed nothing more after {counted(self._count, 'trial')}"
