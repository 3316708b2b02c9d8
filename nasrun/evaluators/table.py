"""Evaluator `table`: accuracies looked up in a benchmark table, in microseconds; nothing is trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from nasrun.core import Evaluator, Genome, Job, Measurement, Proposal, SearchSpace
from nasrun.core.options import ConfigError, IsPath, Positive, error_line, show
from nasrun.core.words import counted
from nasrun.datasets import Dataset
from nasrun.tables import SHIPPED, ShippedTable, TableError, Trainings, choose, mean

NAMES = ("auto", *(kind.name for kind in SHIPPED))
"""Tables that are no files."""

TOLERANCE = 0.02
"""Isomorphic cells of NAS-Bench-101 share channels out differently, and differ by up to a hundredth in parameters."""


class NotInTableError(ValueError):
    """What a table does not hold; the text says what, in one line."""


class Table(Evaluator):
    """Reports what a benchmark table holds of an architecture on the run's data set.

    `table`: a shipped one, the path of a NAS-Bench-101 file or of a table of one's own (`nasrun.tables.own`), or
    `auto`: the shipped one of the search space. `epochs`: training length, None for the longest that the table has; a
    proposal's `budget` goes before it. `repeat`: where the table has several trainings of an architecture, their
    `mean`, or one that the job's seed draws (`draw`). `final_epochs`: training length at which the winner is tested;
    None for that of its trial. An architecture, a length or a training setting that the table lacks is `infeasible`.

    Metrics: `val_accuracy` (a fraction; of a table of one's own perhaps `val_loss`), `parameters`, `flops` and
    `epochs`, and what the table says of the trainings: `simulated_seconds` (training time), `energy_kwh`, `co2eq_g`. At
    the end, as means over the table's repeats: `test_accuracy`, and how far the winner is below the best of the table
    at that length: `val_regret`, `test_regret`.
    """

    final_step = "look-up in the table"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Any,
        *,
        table: Annotated[str, IsPath(NAMES)] = "auto",
        epochs: Positive | None = None,
        repeat: Literal["mean", "draw"] = "mean",
        repeats: Positive = 1,
        final_epochs: Positive | None = None,
    ) -> None:
        self._table = choose(table, space)
        if self._table.datasets and dataset.name not in self._table.datasets:
            known = " or ".join(f"dataset={name}" for name in self._table.datasets)
            raise ValueError(f"table={show(table)}: knows nothing of dataset={dataset.name}; choose {known}")
        for name, length in (("epochs", epochs), ("final_epochs", final_epochs)):
            if length is not None and self._table.epochs and length not in self._table.epochs:
                raise ValueError(f"{name}={length}: {self._lacks(length)}")
        self.repeats = repeats
        lengths = ("epochs",) if self._table.has_epochs else ()
        self.metrics = (self._table.metric, "parameters", "flops", *lengths, *self._table.spends)
        self._space, self._dataset, self._task = space, dataset.name, dataset.task
        self._epochs, self._final_epochs, self._draw = epochs, final_epochs, repeat == "draw"
        self._trainings: dict[int, Trainings] = {}

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the table; TableError where its file is damaged, or another than the one that the run began with."""
        table = self._table
        table.load()
        facts = {"table": {"name": table.name, "sha256": table.sha256}}
        if recorded is not None:
            then, facts = recorded.get("table", {}).get("sha256"), dict(recorded)
            if then != table.sha256:  # by its content: the file may lie elsewhere now
                raise TableError(
                    f"evaluator.table: {table.name} has changed since the run began: SHA-256 {table.sha256}, not {then}"
                )
        for name, length in (("epochs", self._epochs), ("final_epochs", self._final_epochs)):
            if length is not None and length not in table.epochs:
                raise ConfigError(f"evaluator.{name}={length}: {self._lacks(length)}")
        self._trainings = {epochs: table.trainings(self._dataset, epochs) for epochs in table.epochs}
        self._check_networks()
        if recorded is None:
            self._check_draw()
        return facts

    def messages(self) -> Sequence[str]:
        if "simulated_seconds" in self._table.spends:
            return ()
        return (f"table {self._table.name} holds no training times: seconds are those of look-ups",)

    def _check_draw(self) -> None:
        """ConfigError where one of several trainings is to be drawn, and the table holds one number of each."""
        if self._draw and all(np.diff(one.starts).max() <= 1 for one in self._trainings.values()):
            raise ConfigError(
                f"evaluator.repeat=draw: table {self._table.name} holds one number of each architecture, so that there "
                "is nothing to draw; leave it out"
            )

    def _check_networks(self) -> None:
        """ConfigError where the space builds other networks than those that the table is about."""
        for genome, theirs in self._table.examples(self._space, self._dataset):
            ours = self._space.cost(genome, self._task).parameters
            if abs(ours - theirs) > TOLERANCE * theirs:
                advice = "leave the size of the networks in search_space as it is by default"
                if not isinstance(self._table, ShippedTable):
                    advice = f"choose search_space and dataset={self._dataset} as they were for the table"
                raise ConfigError(
                    f"evaluator.table: {self._table.name} is about other networks than search_space builds: "
                    f"{self._space.format(genome)} has {theirs:,} parameters there, {ours:,} here; {advice}"
                )

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            yield self._measure(job)

    def _measure(self, job: Job) -> Measurement:
        number, repeat, proposal = job.trial.number, job.repeat, job.trial.proposal
        try:
            metrics = self._look_up(proposal, job.seed)
        except NotInTableError as error:
            return Measurement(number, repeat, "infeasible", error=str(error))
        except Exception as error:  # a job never raises, whatever a space makes of a genome
            text = error_line(error, 300)
            return Measurement(number, repeat, "failed", error=f"{type(error).__name__}: {text}".rstrip(": "))
        return Measurement(number, repeat, "ok", metrics)

    def _look_up(self, proposal: Proposal, seed: int) -> dict[str, float]:
        if proposal.hparams:
            raise NotInTableError(
                f"{', '.join(proposal.hparams)}: table {self._table.name} has one training setting only"
            )
        epochs = self._length(proposal)
        trainings, place = self._find(proposal.genome, epochs)
        if self._draw:
            first = place.start + seed % (place.stop - place.start)
            place = slice(first, first + 1)
        cost = self._space.cost(proposal.genome, self._task)
        metrics = {self._table.metric: mean(trainings.validation[place]), "parameters": cost.parameters}
        metrics |= {"flops": cost.flops, **({"epochs": epochs} if self._table.has_epochs else {})}
        for name, values in trainings.spent.items():
            metrics[name] = mean(values[place])
        return metrics

    def _find(self, genome: Genome, epochs: int) -> tuple[Trainings, slice]:
        """The trainings of a length, and where those of a genome stand; NotInTableError where there are none."""
        trainings = self._trainings.get(epochs)
        if trainings is None:
            raise NotInTableError(self._lacks(epochs))
        row = self._table.find(self._space, genome)
        if row is None:
            raise NotInTableError(f"table {self._table.name} does not hold this architecture")
        place = trainings.of(row)
        if place.start == place.stop:
            of_length = f" of {counted(epochs, 'epoch')}" if self._table.has_epochs else ""
            raise NotInTableError(f"table {self._table.name} holds no training{of_length} of this architecture")
        return trainings, place

    def _length(self, proposal: Proposal) -> int:
        """The training length that a proposal asks for, else the run's, else the longest."""
        if proposal.budget is not None:
            return proposal.budget
        return self._epochs if self._epochs is not None else max(self._trainings)

    def unsupported_budget_reason(self, budget: int) -> str | None:
        """Which lengths the table has, where it has not this one."""
        known = bool(self._table.epochs) or not self._table.has_epochs
        return self._lacks(budget) if known and budget not in self._table.epochs else None

    def _lacks(self, epochs: int) -> str:
        if not self._table.has_epochs:
            return f"table {self._table.name} does not say how long trainings were (it has no column epochs)"
        known = ", ".join(map(str, self._table.epochs))
        return f"table {self._table.name} has no trainings of {counted(epochs, 'epoch')}; it has those of {known}"

    def final(self, job: Job) -> Mapping[str, Any]:
        """The winner's test accuracy and regrets; empty where the table has none of it at `final_epochs`."""
        proposal = job.trial.proposal
        epochs = self._final_epochs or self._length(proposal)
        try:
            trainings, place = self._find(proposal.genome, epochs)
        except NotInTableError:
            return {}
        metrics = {}
        if trainings.test is not None and np.isfinite(trainings.test[place]).all():
            metrics[self._table.metric.replace("val_", "test_")] = mean(trainings.test[place])
            metrics["test_regret"] = trainings.regret(trainings.test, place)
        metrics["val_regret"] = trainings.regret(trainings.validation, place)
        at_length = f" at {counted(epochs, 'epoch')}" if self._table.has_epochs else ""
        looked_up = f"looked up in table {self._table.name}{at_length}"
        return {"metrics": metrics, "history": [], "seconds": 0.0, "trained_on": looked_up}
