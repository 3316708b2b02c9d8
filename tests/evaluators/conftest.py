"""Evaluator `train` in its smallest form, and jobs for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.checkpoints.store import load_weights
from nasrun.config.build import Setup
from nasrun.core import Job, Proposal, Trial, seeding
from nasrun.evaluators.train.evaluator import Train
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData
from nasrun.training.single import measure
from tests.support import setup_of

ON_SMALL_IMAGES = (
    "evaluator=train",
    "dataset.classes=4",
    "dataset.height=8",
    "dataset.width=8",
    "dataset.validation=0.3",
    "hardware=cpu",
    "hardware.precision=fp32",
    # One thread: two that wait for each other on a busy machine take many times as long.
    "hardware.threads=1",
)
SMALL = (
    *ON_SMALL_IMAGES,
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator.epochs=1",
    "evaluator.batch_size=32",
    "dataset.samples=200",
    "search_space.max_depth=3",
    "search_space.filters=[4,8]",
    "search_space.kernels=[1,3]",
    "search_space.activations=[relu]",
    "search_space.dense=16",
)
RUNTIME = Runtime("cpu", "fp32", "as configured", 1, True)


class Bench:
    """A prepared evaluator with its setup."""

    def __init__(self, *overrides: str, base: Sequence[str] = SMALL) -> None:
        self.setup: Setup = setup_of(*base, *overrides)
        assert isinstance(self.setup.evaluator, Train)
        self.train: Train = self.setup.evaluator
        self.facts = self.train.prepare()

    def genome(self, seed: int = 0) -> Any:
        return self.setup.space.sample(np.random.default_rng(seed))

    def job(self, number: int = 0, repeat: int = 0, seed: int = 5, **fields: Any) -> Job:
        """A job of a trial; `load_from` and `save_to` go to the job, all else to the proposal."""
        paths = {name: str(fields.pop(name)) for name in ("load_from", "save_to") if name in fields}
        proposal = Proposal(fields.pop("genome", self.genome()), **fields)
        own = seeding.integer(seed, seeding.Purpose.JOB, number, repeat)
        return Job(Trial(number, proposal), repeat, own, **paths)

    def measure(self, *jobs: Job) -> Sequence[Any]:
        return list(self.train.evaluate(jobs))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def measured(bench: Bench, path: Path, part: str, genome: Any = None) -> dict[str, float]:
    """Accuracy and loss of a checkpoint, by a network built afresh."""
    model = bench.setup.space.build(genome or bench.genome(), bench.setup.dataset.task)
    model.load_state_dict(load_weights(path))
    RUNTIME.place(model)
    return dict(measure(model, DeviceData(bench.setup.dataset.load(), "cpu"), part, RUNTIME))
