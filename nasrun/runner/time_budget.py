"""A run within a budget of time: the plan, what it is changed to on the way, and the speeds that it goes by.

Whatever depends on a clock is decided here, and is in the journal before it is acted on: `speed` (how long an epoch of
an architecture takes), `plan` (the first, and each that takes its place). A resumed run takes these from the journal
and decides anew only what was not decided; the time between a kill and the resume does not count.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nasrun.config.build import Setup, sample_rng
from nasrun.core import Genome, Proposal, Trial
from nasrun.core.choice import noise_of_pairs, noise_of_share, probability_of_best
from nasrun.core.durations import format_duration
from nasrun.core.options import ConfigError
from nasrun.runner.clock import Clock, Instant
from nasrun.runner.thread_choice import ThreadChoice
from nasrun.storage.event_base import Event
from nasrun.storage.events import PlanChanged, RunStarted, SegmentBegun, SpeedMeasured
from nasrun.storage.journal import Journal
from nasrun.strategies.timed.affordable import Timing, affordable, wanted_passes
from nasrun.strategies.timed.plan import Plan, make_plan, plan_from_json, plan_to_json, search_seconds
from nasrun.strategies.timed.strategy import Timed

REPORT_SECONDS = 0.7
PLOTS_SECONDS = 2.0
"""What the tables, and the pictures, take at the end: seconds of a processor."""
LEAST_IMAGES = 2000
"""Images that there must be time to train on."""
MARGIN, ENOUGH = 0.01, 1.25
"""Of the budget, what is left unplanned; how many times the least budget is advised, as starts differ."""
TEST_SHARE = 0.4
"""What an image costs to be tested, of what it costs to be trained on."""
LEAST_CHANGE = 0.15
"""A plan is changed where the architectures that fit in are more, or fewer, by such a share."""
ESTIMATED_FOR_MEASURING = 1.1
"""What `Evaluator.estimate` adds for the validation part."""
LEAST_SEGMENT = 20.0
"""Seconds of a segment for which other numbers of threads are timed: that takes a second or two."""
LONG = 1000
"""Epochs of a training in which single ones make no difference."""
REFERENCES = 3
"""Random architectures of which the one of middling price stands for all."""


class TimeBudget:
    """The budget of one run: `seconds` by `clock`; `say` tells the user a line."""

    def __init__(
        self, setup: Setup, strategy: Timed, clock: Clock, log: Journal | None, say: Callable[[str], None]
    ) -> None:
        assert setup.options.seconds is not None
        self.seconds, self.clock = setup.options.seconds, clock
        self._setup, self._strategy, self._log, self._say = setup, strategy, log, say
        self._workers = min(setup.hardware.workers, setup.hardware.trials_in_flight * setup.evaluator.repeats)
        self._speeds: dict[Any, float] = {}
        self._passes: dict[Any, float] = {}
        self._since = self._recorded = self._planned = 0.0
        self._last: Proposal | None = None
        self._live = False
        self._threads = ThreadChoice(setup.evaluator, self.pass_seconds, say)
        strategy.epoch_seconds, strategy.work = self.epoch_seconds, setup.evaluator.work

    @property
    def reserve(self) -> float:
        """Seconds that are kept for what comes after the training: the test, the tables, the pictures."""
        plots = PLOTS_SECONDS if self._setup.output.plots else 0.0
        return (REPORT_SECONDS + plots) * self.clock.delay + MARGIN * self.seconds + self._test_seconds

    @property
    def left(self) -> float:
        """Seconds that are left for training."""
        return self.seconds - self.clock.spent - self.reserve

    @property
    def trials(self) -> int:
        """Trials in all, by the plan."""
        assert self._strategy.plan is not None
        return self._strategy.plan.trials

    def begin(self) -> None:
        """From now on speeds are measured where they are not on record, and the clock is looked at."""
        self._live = True
        assert self._strategy.plan is not None
        # What the start of a resumed process took is no delay of its trials.
        self._since += self.clock.spent - self._recorded
        self._say(self.describe(self._strategy.plan))

    def first_plan(self) -> tuple[Plan, Genome, float]:
        """The plan, and what it follows from: an architecture of the usual price, seconds that a pass over the training
        part takes it. ConfigError where there is no time for any."""
        (genome, seconds, best), share = self._reference()
        least = seconds * LEAST_IMAGES / self._images
        if self.left < least:
            spent, end = self.clock.spent, self.reserve
            right = math.ceil(ENOUGH * max(self.seconds, spent + end + least))
            raise ConfigError(
                f"time={format_duration(self.seconds)}: {spent:.0f} s are spent before anything is trained, a training "
                f"takes {math.ceil(least)} s at least and the end {end:.0f} s; time={format_duration(right)} is right"
            )
        plan = make_plan(self.left, seconds * self._cheaper, self._images, 1 / self._share, None if best else genome)
        return plan._replace(share=share, threads=self._threads.now), genome, seconds

    def pass_seconds(self, genome: Genome) -> float:
        """Seconds that a pass over the training part takes a genome's network, by the clock of the budget."""
        trial = Trial(0, Proposal(genome, budget=1))
        seconds = self._setup.evaluator.estimate(trial, self.clock.read)
        assert seconds is not None, "a time budget is for evaluators that train"
        return seconds / self._setup.evaluator.work(1, 1)

    def epoch_seconds(self, genome: Genome) -> float:
        """Seconds that an epoch of a genome's network takes: on record, or measured and put there."""
        key = self._key(genome)
        if key not in self._speeds:
            if not self._live or self._log is None:
                raise LookupError(f"the speed of {self._setup.space.format(genome)} is not on record")
            whole = self._passes.get(key) or self.pass_seconds(genome)
            seconds = whole * self._part_of_epoch
            self._log.append(SpeedMeasured(genome=genome, epoch_seconds=seconds))
            self._speeds[key] = seconds
        return self._speeds[key]

    def final_epoch_seconds(self, genome: Genome) -> float:
        """What an epoch of the final training, which measures nothing meanwhile, is expected to take."""
        alone = self._setup.evaluator.use_threads(None)  # workers are at nothing by now
        seconds = self.pass_seconds(genome) * self._part_of_epoch if alone else self.epoch_seconds(genome)
        return self._final_epoch_seconds(seconds)

    def segment_threads(self, genome: Genome, slower: float, seconds: float) -> tuple[int | None, float | None]:
        """Threads of a segment of the final training that takes so many seconds; what an epoch takes with them, where
        they were chosen anew. `slower`: how many times as long as expected the last segment took."""
        if seconds < LEAST_SEGMENT or not self._threads.is_in_doubt(slower):
            return self._threads.now, None
        whole = self._threads.choose(genome)
        assert whole is not None
        return self._threads.now, self._final_epoch_seconds(whole * self._part_of_epoch)

    def _final_epoch_seconds(self, seconds: float) -> float:
        """The same of a network whose epochs in the search take so many seconds."""
        plan, splits = self._strategy.plan, self._setup.dataset.load()
        assert plan is not None
        known = seconds / ESTIMATED_FOR_MEASURING
        if plan.epoch_images is not None or self._setup.evaluator.final_data == "the training part":
            return known
        return known * len(splits.whole_training) / len(splits.train)

    def replay(self, event: Event) -> None:
        """Take in an event of the journal."""
        self._recorded = max(self._recorded, event.spent or 0.0)
        match event:
            case SpeedMeasured():
                self._speeds[self._key(event.genome)] = event.epoch_seconds
            case PlanChanged(plan=plan):
                self._follow(plan_from_json(plan), event.spent or 0.0)
            case SegmentBegun(threads=threads):
                self._threads.follow(threads)
            case RunStarted(plan=plan) if plan is not None:
                genome, seconds = plan["reference"]
                self._passes[self._key(tuple(genome))] = float(seconds)
                self._follow(plan_from_json(plan), event.spent or 0.0)

    def count(self, trial: Trial) -> None:
        """A trial is complete, now or in the journal: what its training was planned to take counts as planned."""
        proposal = self._last = trial.proposal
        if proposal.reuse_of is None:
            epochs, work = proposal.budget or 0, self._setup.evaluator.work
            horizon = proposal.horizon or epochs
            new = work(epochs, horizon) - work(self._strategy.epochs_behind(proposal), horizon)
            # One epoch more or less is no delay: what was proposed is what was planned.
            self._planned += new * self.epoch_seconds(proposal.genome) * self._share

    def adjust(self) -> None:
        """After a trial: where the time for the search no longer fits the plan, change it."""
        taken = self.clock.spent - self._since
        slower = taken / self._planned if self._planned else 1.0
        changed = self._with_other_threads(slower) or self._changed(slower)
        if changed is not None:
            plan, reason = changed
            self._say(f"{reason}; {self.describe(self._record(plan, reason))}")

    def _with_other_threads(self, slower: float) -> tuple[Plan, str] | None:
        """The plan with the threads that are fastest now, and why; None where they are those that it has."""
        plan, before = self._strategy.plan, self._threads.now
        if plan is None or self._last is None or not self._threads.is_in_doubt(slower):
            return None
        self._threads.choose(self._last.genome)
        if self._threads.now == before:
            return None
        return plan._replace(threads=self._threads.now), "by how long a few steps take now"

    @property
    def _share(self) -> float:
        """What a second of one training takes of the budget, where several are trained at a time."""
        return self._setup.evaluator.repeats / self._workers

    def _changed(self, slower: float) -> tuple[Plan, str] | None:
        """The plan for the time that is left, and why it is another; None where the one there is will do.

        `slower`: how many times as long as planned the trials took so far.
        """
        plan, strategy = self._strategy.plan, self._strategy
        assert plan is not None
        factor = max(slower, 0.5) * self._share
        # The winner has its rungs behind it when its final training begins.
        final = (plan.horizon - plan.rungs[-1]) * min(slower, 1.0)
        room = self.left - final
        if not strategy.choosing:
            later = search_seconds(plan, 0) * factor
            fitting = max(1, strategy.begun + max(0, int((room - later) / (plan.rungs[0] * factor))))
            if abs(fitting - plan.candidates) < max(1.0, LEAST_CHANGE * plan.candidates):
                return None
            survivors = (fitting, *(min(count, fitting) for count in plan.survivors[1:]))
            reason = f"architectures took {slower:.2g} times as long as planned"
            return plan._replace(candidates=fitting, survivors=survivors), reason
        rung = len(strategy.rungs)
        if rung < len(plan.rungs) and strategy.idle:
            cost = plan.survivors[rung] * (plan.rungs[rung] - plan.rungs[rung - 1]) * factor
            if cost > self.left - final * 0.8:
                shorter = plan._replace(rungs=plan.rungs[:rung], survivors=plan.survivors[:rung])
                return shorter, f"no time for the rungs after {rung}"
        return None

    def _record(self, plan: Plan, reason: str | None = None) -> Plan:
        """Put a plan into the journal, and go by it."""
        assert self._log is not None
        spent = self.clock.spent
        self._log.append(PlanChanged(plan=plan_to_json(plan), reason=reason, spent=spent))
        self._follow(plan, spent)
        return plan

    def _follow(self, plan: Plan, spent: float) -> None:
        """Go by a plan from now on, or from when so much was spent."""
        before = self._strategy.plan
        if before is None or before.threads != plan.threads:  # what trials take with other threads is another matter
            self._since, self._planned = spent, 0.0
        self._threads.follow(plan.threads)
        self._strategy.follow(plan)

    def outcome(self) -> dict[str, Any]:
        """For the record, at the end: what was spent, and how sure the choice among those of the last rung is."""
        spent = {"budget_seconds": self.seconds, "clock": self.clock.kind, "spent": self.clock.spent}
        ranked = self._strategy.ranked
        if len(ranked) < 2:
            return spent
        noise, source = noise_of_pairs(self._strategy.pairs), "repeats"
        if noise is None and self._setup.objective.metric == "val_accuracy":
            images = len(self._setup.dataset.load().validation)
            noise, source = noise_of_share(ranked[0].score, images), "validation images"
        if noise is None:
            return spent
        probability = probability_of_best([member.score for member in ranked], noise)
        choice = {"of": [member.trial for member in ranked], "probability": probability}
        return spent | {"choice": {**choice, "noise": noise, "noise_from": source}}

    def describe(self, plan: Plan) -> str:
        """A plan in a line."""
        clock = " of the processor" if self.clock.kind == "cpu" else ""
        head = f"plan for {format_duration(self.seconds)}{clock}: "
        count = f"{plan.candidates} architectures" if plan.candidates > 1 else "one architecture"
        rungs = ", ".join(f"{many} for {rung:.3g} s" for many, rung in zip(plan.survivors, plan.rungs, strict=True))
        if plan.alone is not None:
            genome = self._setup.space.format(plan.alone)
            return f"{head}no time for larger networks than {genome}, which is trained for {plan.horizon:.3g} s"
        if plan.share < 1:
            head += f"no time for networks that use more than {plan.share:.0%} of what is allowed, "
        repeats = f", {plan.repeats} of them twice" if plan.repeats else ""
        return f"{head}{count} ({rungs}{repeats}), the winner for {plan.horizon:.3g} s in all"

    def _reference(self) -> tuple[Timing, float]:
        """An architecture that stands for those of the search, and the share of the limits that they are fitted to.

        Where the strategy begins with known ones, it is the best of them, in a size that there is time for, or a
        quick one; else of a few drawn ones that of middling price.
        """
        setup = self._setup
        space, task = setup.steered, setup.dataset.task
        known = space.known()
        self._say(f"{format_duration(self.seconds)}: networks are timed for the plan")
        if known and self._strategy.begins_known:
            own = [setup.space.known()[name] for name in known]
            self._threads.choose(space.fit(own[0]))
            wanted, cheaper = wanted_passes(self._images), self._cheaper
            found = affordable(
                space, task, own, lambda seconds: self.left / seconds / cheaper, wanted, self._time_aloud
            )
            whole = found.genome == space.fit(own[0]) or not found.best
            return found, 1.0 if whole else space.usage(found.genome)
        if known:
            middling = next(iter(known.values()))
        else:
            rng = sample_rng(setup.options.seed)
            drawn = [self._strategy.draw(rng) or space.sample(rng) for _ in range(REFERENCES)]
            middling = sorted(drawn, key=lambda genome: space.cost(genome, task).flops)[REFERENCES // 2]
        self._threads.choose(middling)
        return Timing(middling, self._time_aloud(middling), True), 1.0

    def _time_aloud(self, genome: Genome) -> float:
        """`pass_seconds`, of which the user is told, since it takes seconds."""
        seconds = self.pass_seconds(genome)
        self._say(f"timed {self._setup.space.format(genome)}: {seconds:.3g} s for {self._images:,} images")
        return seconds

    @property
    def _part_of_epoch(self) -> float:
        """Of a pass over the training part, what an epoch of the plan is."""
        plan, images = self._strategy.plan, self._images
        assert plan is not None
        return min(1.0, (plan.epoch_images or images) / images)

    @property
    def _cheaper(self) -> float:
        """What an epoch of a long training costs in the mean, beside one of the usual price."""
        return self._setup.evaluator.work(LONG, LONG) / LONG

    @property
    def _images(self) -> int:
        """Images of the training part."""
        return len(self._setup.dataset.load().train)

    @property
    def _test_seconds(self) -> float:
        if not self._speeds:
            return 0.0
        per_image = float(np.mean(list(self._speeds.values()))) / (self._part_of_epoch * self._images)
        return TEST_SHARE * per_image * len(self._setup.dataset.load().test)

    def _key(self, genome: Genome) -> Any:
        return self._setup.space.key(genome)


def first_plan(setup: Setup, began: Instant, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """For the first event of a run with a budget of time: its plan, and what was spent by then; else nothing.

    They are fields of `RunStarted`. `say` tells the user what is being done meanwhile.
    """
    budget = time_budget(setup, Clock(setup.hardware.clock, began), None, say)
    if budget is None:
        return {}
    plan, genome, seconds = budget.first_plan()
    return {"plan": {**plan_to_json(plan), "reference": [genome, seconds]}, "spent": budget.clock.spent}


def time_budget(
    setup: Setup, clock: Clock, log: Journal | None, say: Callable[[str], None] = lambda text: None
) -> TimeBudget | None:
    """The budget of time of a run; None where it has none."""
    return TimeBudget(setup, setup.strategy, clock, log, say) if isinstance(setup.strategy, Timed) else None
