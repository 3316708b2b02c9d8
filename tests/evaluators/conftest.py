"""Evaluator `train` in its smallest form, and jobs for it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.config.build import Setup
from nasrun.core import Job, Proposal, Trial, seeding
from nasrun.evaluators.train.evaluator import Train
from tests.support import setup_of

SMALL = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator=train",
    "evaluator.epochs=1",
    "evaluator.batch_size=32",
    "dataset.samples=200",
    "dataset.classes=4",
    "dataset.height=8",
    "dataset.width=8",
    "dataset.validation=0.3",
    "hardware=cpu",
    "hardware.precision=fp32",
    # One thread: two that wait for each other on a busy machine take many times as long.
    "hardware.threads=1",
    "search_space.max_depth=3",
    "search_space.filters=[4,8]",
    "search_space.kernels=[1,3]",
    "search_space.activations=[relu]",
    "search_space.dense=16",
)


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


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench() -> Bench:
    return Bench()
