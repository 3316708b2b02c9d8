"""A run within a time budget: its plan, the changes of the plan, and the speeds that both are based on.

Everything that depends on a clock is decided here, and is in the journal before it is acted on: `speed` (how long an
epoch of an architecture takes), `plan` (the first, and each that replaces it). A resumed run reads these from the
journal and decides only what was not decided; the time between a kill and the resume does not count.
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
from nasrun.reports.summary import duration
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
"""Processor seconds of the tables and the plots at the end."""
LEAST_IMAGES = 2000
"""Minimum number of images that there must be time to train on."""
MARGIN, ENOUGH = 0.01, 1.25
"""Share of the budget that is left unplanned; factor on the smallest possible budget in the advice to the user, because
start times vary."""
TEST_SHARE = 0.4
"""Cost of testing an image, as a share of the cost of training on it."""
LEAST_CHANGE = 0.15
"""Minimum relative change in the number of architectures that fit, for the plan to be changed."""
ESTIMATED_FOR_MEASURING = 1.1
"""Factor by which `Evaluator.estimate` includes the validation part."""
LEAST_SEGMENT = 20.0
"""Minimum seconds of a segment for which other numbers of threads are timed, because that takes a second or two."""
LONG = 1000
"""A number of epochs so large that single epochs make no difference."""
REFERENCES = 3
"""Number of random architectures of which the one of median cost represents all."""


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
        """Seconds reserved for the steps after training: the test, the tables, the plots."""
        plots = PLOTS_SECONDS if self._setup.output.plots else 0.0
        return (REPORT_SECONDS + plots) * self.clock.delay + MARGIN * self.seconds + self._test_seconds

    @property
    def left(self) -> float:
        """Seconds left for training."""
        return self.seconds - self.clock.spent - self.reserve

    @property
    def trials(self) -> int:
        """Total number of trials, by the plan."""
        assert self._strategy.plan is not None
        return self._strategy.plan.trials

    def begin(self) -> None:
        """Start reading the clock, and measure speeds that are not recorded."""
        self._live = True
        assert self._strategy.plan is not None
        # The start of a resumed process does not count as a delay of its trials.
        self._since += self.clock.spent - self._recorded
        self._say(self.describe(self._strategy.plan))

    def first_plan(self) -> tuple[Plan, Genome, float]:
        """The plan, and what it is based on: an architecture of the usual cost, and the seconds of its pass over the
        training part. ConfigError if there is no time for any."""
        (genome, seconds, best), share = self._reference()
        least = seconds * LEAST_IMAGES / self._images
        if self.left < least:
            spent, end = self.clock.spent, self.reserve
            right = math.ceil(ENOUGH * max(self.seconds, spent + end + least))
            raise ConfigError(
                f"time={format_duration(self.seconds)}: too short: {spent:.0f} s were spent before training, which "
                f"takes at least {math.ceil(least)} s, and the end {end:.0f} s; use time={format_duration(right)}"
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
        """Seconds per epoch of a genome's network: recorded, or measured and then recorded."""
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
        """Expected seconds per epoch of the final training, which does not validate after each epoch."""
        alone = self._setup.evaluator.use_threads(None)  # workers are idle by now
        seconds = self.pass_seconds(genome) * self._part_of_epoch if alone else self.epoch_seconds(genome)
        return self._final_epoch_seconds(seconds)

    def segment_threads(self, genome: Genome, slower: float, seconds: float) -> tuple[int | None, float | None]:
        """Number of threads of a final training's segment of some seconds; and the seconds per epoch with them, if they
        were chosen anew. `slower`: factor by which the last segment took longer than expected."""
        if seconds < LEAST_SEGMENT or not self._threads.is_in_doubt(slower):
            return self._threads.now, None
        whole = self._threads.choose(genome)
        assert whole is not None
        return self._threads.now, self._final_epoch_seconds(whole * self._part_of_epoch)

    def _final_epoch_seconds(self, seconds: float) -> float:
        """Expected seconds per epoch of the final training, for a network whose epochs in the search take so many
        seconds."""
        plan, splits = self._strategy.plan, self._setup.dataset.load()
        assert plan is not None
        known = seconds / ESTIMATED_FOR_MEASURING
        if plan.epoch_images is not None or self._setup.evaluator.final_data == "the training part":
            return known
        return known * len(splits.whole_training) / len(splits.train)

    def replay(self, event: Event) -> None:
        """Apply an event of the journal."""
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
        """Count a trial that completed, now or in the journal: add the planned time of its training."""
        proposal = self._last = trial.proposal
        if proposal.reuse_of is None:
            epochs, work = proposal.budget or 0, self._setup.evaluator.work
            horizon = proposal.horizon or epochs
            new = work(epochs, horizon) - work(self._strategy.epochs_behind(proposal), horizon)
            # One epoch more or less is not a delay: what was proposed is what was planned.
            self._planned += new * self.epoch_seconds(proposal.genome) * self._share

    def adjust(self) -> None:
        """Change the plan after a trial if the remaining time no longer fits it."""
        taken = self.clock.spent - self._since
        slower = taken / self._planned if self._planned else 1.0
        changed = self._with_other_threads(slower) or self._changed(slower)
        if changed is not None:
            plan, reason = changed
            self._say(f"{reason}; {self.describe(self._record(plan, reason))}")

    def _with_other_threads(self, slower: float) -> tuple[Plan, str] | None:
        """The plan with the number of threads that is fastest now, and the reason; None if it does not change."""
        plan, before = self._strategy.plan, self._threads.now
        if plan is None or self._last is None or not self._threads.is_in_doubt(slower):
            return None
        self._threads.choose(self._last.genome)
        if self._threads.now == before:
            return None
        return plan._replace(threads=self._threads.now), "by how long a few steps take now"

    @property
    def _share(self) -> float:
        """Budget seconds per second of one training run, when several run at a time."""
        return self._setup.evaluator.repeats / self._workers

    def _changed(self, slower: float) -> tuple[Plan, str] | None:
        """The plan for the remaining time, and the reason for the change; None if the present plan is good enough.

        `slower`: factor by which the trials so far took longer than planned.
        """
        plan, strategy = self._strategy.plan, self._strategy
        assert plan is not None
        factor = max(slower, 0.5) * self._share
        # The winner's rungs are part of its training when the final training begins.
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
        """Record a plan in the journal, and follow it."""
        assert self._log is not None
        spent = self.clock.spent
        self._log.append(PlanChanged(plan=plan_to_json(plan), reason=reason, spent=spent))
        self._follow(plan, spent)
        return plan

    def _follow(self, plan: Plan, spent: float) -> None:
        """Follow a plan from now on, or from when so much was spent."""
        before = self._strategy.plan
        if before is None or before.threads != plan.threads:  # times with other threads are not comparable
            self._since, self._planned = spent, 0.0
        self._threads.follow(plan.threads)
        self._strategy.follow(plan)

    def outcome(self) -> dict[str, Any]:
        """For the record, at the end: the time spent, and how certain the choice among the last rung is."""
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
        """A plan in one line."""
        clock = " of the processor" if self.clock.kind == "cpu" else ""
        head = f"plan for {format_duration(self.seconds)}{clock}: "
        count = f"{plan.candidates} architectures" if plan.candidates > 1 else "one architecture"
        rungs = ", ".join(f"{many} for {duration(rung)}" for many, rung in zip(plan.survivors, plan.rungs, strict=True))
        if plan.alone is not None:
            genome = self._setup.space.format(plan.alone)
            return f"{head}no time for larger networks than {genome}, which is trained for {duration(plan.horizon)}"
        if plan.share < 1:
            head += f"no time for networks that use more than {plan.share:.0%} of what is allowed, "
        again = f", the best {plan.repeats} of them a second time" if plan.repeats else ""
        return f"{head}{count} ({rungs}{again}), the winner for {duration(plan.horizon)} in all"

    def _reference(self) -> tuple[Timing, float]:
        """An architecture that represents those of the search, and the share of the limits that they are fitted to.

        If the strategy begins with known networks, it is the best of them in a size that there is time for, or a faster
        one; otherwise that of median cost among a few drawn ones.
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
        """`pass_seconds`, with a message to the user, since it takes seconds."""
        seconds = self.pass_seconds(genome)
        self._say(f"timed {self._setup.space.format(genome)}: {seconds:.3g} s for {self._images:,} images")
        return seconds

    @property
    def _part_of_epoch(self) -> float:
        """An epoch of the plan, as a share of a pass over the training part."""
        plan, images = self._strategy.plan, self._images
        assert plan is not None
        return min(1.0, (plan.epoch_images or images) / images)

    @property
    def _cheaper(self) -> float:
        """Mean cost of an epoch of a long training run, relative to an epoch of the usual cost."""
        return self._setup.evaluator.work(LONG, LONG) / LONG

    @property
    def _images(self) -> int:
        """Number of images of the training part."""
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
    """Fields of the first event of a run with a time budget: its plan, and the time spent by then; else empty.

    They are fields of `RunStarted`. `say` shows the user what is being done.
    """
    budget = time_budget(setup, Clock(setup.hardware.clock, began), None, say)
    if budget is None:
        return {}
    plan, genome, seconds = budget.first_plan()
    return {"plan": {**plan_to_json(plan), "reference": [genome, seconds]}, "spent": budget.clock.spent}


def time_budget(
    setup: Setup, clock: Clock, log: Journal | None, say: Callable[[str], None] = lambda text: None
) -> TimeBudget | None:
    """The time budget of a run; None if it has none."""
    return TimeBudget(setup, setup.strategy, clock, log, say) if isinstance(setup.strategy, Timed) else None
