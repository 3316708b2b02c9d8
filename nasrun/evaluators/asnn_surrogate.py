"""Evaluator `asnn_surrogate`: accuracies of dense networks by a model of the ASNN paper's printed tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nasrun.core import Evaluator, Genome, Job, Measurement, SearchSpace
from nasrun.core.options import Positive
from nasrun.datasets import Dataset
from nasrun.tables.asnn_surrogate import AsnnSurrogate

DEPTHS = (2, 3)
IMAGES = 10_000
"""Test images of MNIST, of which an accuracy is a share."""


class AsnnSimulation(Evaluator):
    """Draws what a training run would measure, without training: normal around the mean of a model of the paper's
    tables (`nasrun.tables.asnn_surrogate`), with the deviation that its repeats have there, by the job's seed.

    So whole searches repeat in seconds, and the winner's `test_accuracy` is the model's mean itself, which the search
    does not see: a winner that was lucky counts as what it is. It is a model: what is far from the printed widths
    (16 to 256, and ten suggestions of up to 732) rests on its trend.
    """

    metrics = ("val_accuracy", "parameters", "flops")
    final_step = "look-up in the model"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Any,
        *,
        repeats: Positive = 10,
    ) -> None:
        if space.free_widths not in DEPTHS:
            raise ValueError(
                "_target_: the tables are of search_space=mlp with two or with three hidden layers, and one activation"
            )
        self.repeats = repeats
        self._space, self._task, self._depth = space, dataset.task, space.free_widths
        self._model: AsnnSurrogate | None = None

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            yield self._measure(job)

    def _measure(self, job: Job) -> Measurement:
        genome = job.trial.proposal.genome
        mean, deviation = self._expected(genome)
        drawn = np.random.default_rng(job.seed).normal(mean, deviation)
        accuracy = round(min(max(drawn, 0.0), 1.0) * IMAGES) / IMAGES
        cost = self._space.cost(genome, self._task)
        metrics = {"val_accuracy": accuracy, "parameters": cost.parameters, "flops": cost.flops}
        return Measurement(job.trial.number, job.repeat, "ok", metrics)

    def _expected(self, genome: Genome) -> tuple[float, float]:
        if self._model is None:
            self._model = AsnnSurrogate(self._depth)
        widths = self._space.widths_of(genome)
        return self._model.mean(widths), self._model.deviation(widths)

    def messages(self) -> Sequence[str]:
        return ("nothing is trained: accuracies are drawn from a model of the paper's printed tables",)

    def final(self, job: Job) -> Mapping[str, Any]:
        mean, _ = self._expected(job.trial.proposal.genome)
        about = {"history": [], "seconds": 0.0, "trained_on": "nothing: the mean of a model"}
        return {"metrics": {"test_accuracy": mean}, **about}
