"""The distribution of jobs does not change any bit of the results, with any matrix library: forced, so that it shows on
any processor."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from nasrun.checkpoints.store import load_weights
from nasrun.config.build import rebuild
from nasrun.core import Evaluator, Job, Measurement
from nasrun.datasets import Dataset
from nasrun.hardware.inline import InlineExecutor
from nasrun.hardware.processes.executor import ProcessExecutor
from nasrun.hardware.worker_messages import Recipe
from tests.evaluators.conftest import Bench
from tests.evaluators.dense_groups import DENSE, jobs_of, untimed
from tests.training.test_company import LIBRARIES, products_by

REPEATS = 5


def make_by(library: str, config: DictConfig) -> tuple[Evaluator, Dataset]:
    """What workers are made of, in a process whose products are those of a library from now on."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if library == "onednn" else "none"  # type: ignore[attr-defined]
    return rebuild(config)


def results(measurements: Sequence[Measurement], folder: Path) -> dict[tuple[int, int], Any]:
    """By trial and repeat: the measurement without its times, and the bits of the weights that were saved."""
    found = {}
    for one in measurements:
        weights = load_weights(folder / f"{one.trial}-{one.repeat}.zip")
        bits = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
        found[one.trial, one.repeat] = untimed(one), bits
    return found


def all_of(executor: InlineExecutor | ProcessExecutor, jobs: Sequence[Job], size: int) -> list[Measurement]:
    """The measurements of jobs, so many of which are submitted at a time."""
    for first in range(0, len(jobs), size):
        executor.submit(jobs[first : first + size])
    found: list[Measurement] = []
    while len(found) < len(jobs):
        found += executor.wait()
    return found


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("library", LIBRARIES)
def test_workers_and_groups_make_no_difference(library: str, workers: int, tmp_path: Path) -> None:
    def jobs_for(bench: Bench, name: str) -> tuple[list[Job], Path]:
        folder = tmp_path / name
        folder.mkdir()
        jobs = jobs_of(bench, "24-13", "13-31", repeats=REPEATS)
        return [job._replace(save_to=str(folder / f"{job.trial.number}-{job.repeat}.zip")) for job in jobs], folder

    alone = Bench("evaluator.replicas=off", base=DENSE)
    jobs, folder = jobs_for(alone, "alone")
    with products_by(library):
        expected = results(all_of(InlineExecutor(alone.train), jobs, 1), folder)
    assert len(expected) == 2 * REPEATS
    bench = Bench(f"evaluator.repeats={REPEATS}", f"hardware.workers={workers}", base=DENSE)
    executor = ProcessExecutor(bench.train, Recipe(partial(make_by, library, bench.setup.config), bench.facts), workers)
    try:
        for size in (1, 2, REPEATS):
            jobs, folder = jobs_for(bench, f"{size}")
            assert results(all_of(executor, jobs, size), folder) == expected, size
    finally:
        executor.close()
