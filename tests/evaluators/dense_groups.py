"""Evaluator `train` on dense networks, their jobs, and how measurements of them are compared."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from nasrun.core import Job, Measurement
from nasrun.training.dense.replicas import Replicas
from tests.evaluators.conftest import ON_SMALL_IMAGES, Bench

DENSE = (
    *ON_SMALL_IMAGES,
    "evaluator.epochs=2",
    "evaluator.batch_size=16",
    "search_space=mlp",
    "search_space.dropout=0.2",
    "search_space.min_depth=1",
    "search_space.max_depth=3",
    "search_space.min_width=8",
    "search_space.max_width=64",
    "dataset.samples=400",
)


def bench_of(*overrides: str) -> Bench:
    return Bench(*overrides, base=DENSE)


def jobs_of(bench: Bench, *genomes: str, repeats: int = 3, **fields: Any) -> list[Job]:
    """The repeats of one trial per genome, in the order in which the search queues them."""
    return [
        bench.job(number, repeat, genome=bench.setup.space.parse(text), **fields)
        for number, text in enumerate(genomes)
        for repeat in range(repeats)
    ]


def names(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    return [(job.trial.number, job.repeat) for job in jobs]


def by_job(measurements: Sequence[Measurement]) -> dict[tuple[int, int], Measurement]:
    found = {(m.trial, m.repeat): m for m in measurements}
    assert len(found) == len(measurements)
    return found


def untimed(measurement: Measurement) -> Measurement:
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in measurement.history]
    return measurement._replace(seconds=0.0, history=history)


def check_same(found: Measurement, expected: Measurement) -> None:
    """Equal to the bit, times apart."""
    assert untimed(found) == untimed(expected)


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that every step of a group moves by a second."""
    clock, step = [0.0], Replicas.step

    def timed(self: Replicas, *arguments: Any) -> torch.Tensor:
        clock[0] += 1
        return step(self, *arguments)

    monkeypatch.setattr(Replicas, "step", timed)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])


def steps_of(bench: Bench) -> int:
    """Steps of the two epochs."""
    return 2 * (len(bench.train.prepared[1].split("train")) // 16)
