"""`baseline=true`: trains a known network for as long as the winner, to compare the search with."""

import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from nasrun.config.build import Setup, evaluator_of, limits_of
from nasrun.config.search_space import space_of
from nasrun.config.sections import option_section
from nasrun.core import Evaluator, Genome, Job, Proposal, SearchSpace, Trial, seeding
from nasrun.core.options import first_line
from nasrun.runner.errors import RunError
from nasrun.storage.events import BaselinePlanned, BaselineTested
from nasrun.storage.journal import Journal
from nasrun.storage.records import Observer, RunRecords, TrialRecord

FOLDER = "baseline"
PIECES = 4
"""Number of parts of the training; each ends with an archive to resume from."""
SPACE = "staged_cnn"
"""The space whose known networks are used if the space of the search knows none."""


class KnownNetwork(NamedTuple):
    """`name` and `genome` of a network of `space`; `evaluator` trains networks of that space."""

    name: str
    genome: Genome
    space: SearchSpace
    evaluator: Evaluator


def known_networks(setup: Setup, facts: Mapping[str, Any]) -> list[KnownNetwork]:
    """The known networks within the limits of a run, each in the sizes that the limits allow, the best one and the
    largest size first.

    `facts`: those of the run, so that they are trained like the winner: same device, same settings.
    """
    task, space, evaluator = setup.dataset.task, setup.space, setup.evaluator
    if not space.known():
        # The starting weights of the search's networks fit no network of another space.
        own = {
            "search_space": option_section("search_space", SPACE),
            "evaluator": {**setup.config["evaluator"], "init": None},
        }
        content = {**setup.config, **own}
        space = space_of(content)
        evaluator = evaluator_of(content, space, setup.dataset, setup.hardware)
        evaluator.prepare(facts)
        evaluator.use_threads(None)
    fitted = limits_of(setup.config).steered(space, task, setup.objective, evaluator)
    return [
        KnownNetwork(name, genome, space, evaluator)
        for name in fitted.known()
        for genome in fitted.sizes(space.known()[name])
        if setup.constraints.automatic or setup.constraints.allow(setup.constraints.price(space, genome, task))
    ]


class Baseline:
    """Trains a known network as the baseline of a run's winner.

    The number of epochs follows from the time of an epoch of both networks, measured here and now, so that it takes as
    long as the winner's training. It is decided once and recorded in the event `baseline_plan`. The network is then
    trained in parts, each with an archive, and tested; the event `baseline` has the result. The same plan gives the
    same weights.
    """

    def __init__(self, setup: Setup, directory: Path, log: Journal, facts: Mapping[str, Any]) -> None:
        self._setup, self._directory, self._log, self._facts = setup, directory, log, facts

    def run(self, winner: TrialRecord, run: RunRecords, console: Observer) -> None:
        """Train and test, unless the journal already holds the result for this winner; records a failure.

        `run`: what the journal holds, including the winner's test.
        """
        if run.baseline is not None:
            return
        networks = known_networks(self._setup, self._facts)
        if not networks:
            console.message("baseline: no known network is within the limits; none is trained")
            return
        known, is_winner = self._chosen(networks, winner, run)
        network = self._described(known)
        if is_winner:
            console.message(f"baseline: the winner is the known network {known.name} itself; no other is trained")
            self._log.append(BaselineTested(network=network, result={"same": True}), fsync=True)
            return
        plan = run.baseline_plan
        if plan is None:
            self._clear()
            plan = self._plan(known, winner, run)
        words = f"{plan.epochs} epochs take as long as the winner's {plan.winner_epochs}"
        console.message(f"baseline: training the known network {known.name}; {words}")
        started = time.monotonic()
        try:
            result = self._train(known, plan, winner, search_data=_tests_the_search(run))
        except OSError:
            raise
        except Exception as error:
            console.message(f"baseline: the training of {known.name} failed: {first_line(error)}")
            result = {"metrics": {}, "error": first_line(error)}
        result |= {"seconds": time.monotonic() - started, "epochs": plan.epochs, "winner_epochs": plan.winner_epochs}
        self._log.append(BaselineTested(network=network, result=result), fsync=True)
        self._clear()

    def _chosen(
        self, networks: Sequence[KnownNetwork], winner: TrialRecord, run: RunRecords
    ) -> tuple[KnownNetwork, bool]:
        """The network to compare with, and whether it is the winner itself, in which case nothing else is trained.

        Within a time budget it is the network that the plan was made for: a larger one would not finish in that time,
        and any winner would look good beside it.
        """
        plan = run.header.plan or {}
        for genome in [winner.trial.proposal.genome, *([tuple(plan["reference"][0])] if "reference" in plan else [])]:
            for known in networks:
                if known.evaluator is self._setup.evaluator and known.space.key(known.genome) == known.space.key(
                    genome
                ):
                    return known, genome is winner.trial.proposal.genome
        return networks[0], False

    def _described(self, known: KnownNetwork) -> dict[str, Any]:
        cost = known.space.cost(known.genome, self._setup.dataset.task)
        return {"name": known.name, "genome": known.space.format(known.genome), **cost._asdict()}

    def _plan(self, known: KnownNetwork, winner: TrialRecord, run: RunRecords) -> BaselinePlanned:
        """Decide on the number of epochs, and record it."""
        assert run.final is not None
        setup, proposal, history = self._setup, winner.trial.proposal, run.final.result.get("history")
        epochs = int(history[-1]["epoch"]) if history else round(winner.mean("epochs") or 1)
        own = Trial(0, proposal._replace(budget=1, horizon=None))
        other = Trial(0, self._proposal(known, winner)._replace(budget=1))
        winners, its = setup.evaluator.estimate(own), known.evaluator.estimate(other)
        if not winners or not its:
            raise RunError("baseline=true: this evaluator cannot estimate the time of an epoch")
        plan = BaselinePlanned(
            network=self._described(known),
            epochs=max(1, round(epochs * winners / its)),
            winner_epochs=epochs,
            epoch_seconds=its,
            winner_epoch_seconds=winners,
        )
        self._log.append(plan, fsync=True)
        return plan

    def _proposal(self, known: KnownNetwork, winner: TrialRecord) -> Proposal:
        """The network, with the winner's settings that change the length of an epoch."""
        hparams = winner.trial.proposal.hparams
        return Proposal(known.genome, {name: hparams[name] for name in ("epoch_images",) if name in hparams})

    def _train(
        self, known: KnownNetwork, plan: BaselinePlanned, winner: TrialRecord, *, search_data: bool
    ) -> dict[str, Any]:
        """Train by the plan, from the last archive found, and test; returns `metrics`."""
        epochs = plan.epochs
        budgets = sorted({ceil(epochs * piece / PIECES) for piece in range(1, PIECES + 1)})
        begun = max((number for number in range(1, len(budgets) + 1) if self._path(number).is_file()), default=0)
        proposal = self._proposal(known, winner)._replace(horizon=epochs)
        seed = seeding.integer(self._setup.options.seed, seeding.Purpose.BASELINE)
        for number, budget in enumerate(budgets[begun:], begun + 1):
            source = str(self._path(number - 1)) if number > 1 else None
            goes_on = proposal._replace(budget=budget, warm_start="continue")
            job = Job(Trial(0, goes_on), 0, seed, source, str(self._path(number)), resumable=True)
            known.evaluator.train_on(job, search_data=search_data)
        weights = str(self._directory / FOLDER / "model.safetensors")
        whole = Trial(0, proposal._replace(budget=epochs))
        tested = known.evaluator.test(Job(whole, 0, seed, str(self._path(len(budgets))), weights))
        return {"metrics": tested["metrics"]}

    def _path(self, number: int) -> Path:
        return self._directory / FOLDER / f"{number}.zip"

    def _clear(self) -> None:
        """Delete the archives: the network's file has the weights of the last one."""
        for path in (self._directory / FOLDER).glob("*.zip"):
            path.unlink(missing_ok=True)


def _tests_the_search(run: RunRecords) -> bool:
    """Whether the winner's weights are those of the search, which was trained on the training part only."""
    return run.final is not None and not run.final.result.get("history")
