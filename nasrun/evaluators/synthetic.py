"""Evaluator `synthetic`: a made-up landscape over any space, for tests and for timing the loop."""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np

from nasrun.core import Evaluator, Job, Measurement, SearchSpace
from nasrun.core.options import AtLeast, Fraction, Positive
from nasrun.datasets import Dataset


class Synthetic(Evaluator):
    """Accuracy falls with the squared distance of the encoded genome from a hidden optimum, plus noise by job seed.

    `landscape`: seed of the optimum. `noise`: standard deviation of the noise. `fail_rate`: share of the jobs that
    fail. `delay`: seconds that a job sleeps.
    """

    metrics = ("val_accuracy", "parameters", "flops")
    final_step = "no test"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Any,
        *,
        landscape: Annotated[int, AtLeast(0)] = 0,
        noise: Annotated[float, AtLeast(0)] = 0.01,
        fail_rate: Fraction = 0.0,
        delay: Annotated[float, AtLeast(0)] = 0.0,
        repeats: Positive = 1,
    ) -> None:
        self.repeats = repeats
        self._space, self._task = space, dataset.task
        self._landscape, self._noise, self._fail_rate, self._delay = landscape, noise, fail_rate, delay
        self._optimum: np.ndarray | None = None

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            yield self._measure(job)

    def _measure(self, job: Job) -> Measurement:
        if self._delay:
            time.sleep(self._delay)
        luck = _fraction(job.seed)
        if luck < self._fail_rate:
            return Measurement(job.trial.number, job.repeat, "failed", error="drawn to fail", seconds=self._delay)
        genome = job.trial.proposal.genome
        accuracy = 1 - self._distance(genome) + self._noise * _gauss(job.seed)
        cost = self._space.cost(genome, self._task)
        metrics = {"val_accuracy": accuracy, "parameters": cost.parameters, "flops": cost.flops}
        return Measurement(job.trial.number, job.repeat, "ok", metrics, None, self._delay)

    def _distance(self, genome: tuple[int | str, ...]) -> float:
        vector = self._space.encode(genome)
        if self._optimum is None:
            self._optimum = np.random.default_rng(self._landscape).random(len(vector))
        difference = vector - self._optimum
        return float(difference @ difference) / len(vector)


def _fraction(seed: int) -> float:
    """A number in [0, 1) from the low bits of a job's seed."""
    return (seed & 0xFFFFFFFF) / 2**32


def _gauss(seed: int) -> float:
    """Roughly standard normal, from the high bits of a job's seed: the sum of three 10-bit uniforms, rescaled."""
    bits = seed >> 33
    total = (bits & 1023) + (bits >> 10 & 1023) + (bits >> 20 & 1023)
    return (total / 1023 - 1.5) * 2
