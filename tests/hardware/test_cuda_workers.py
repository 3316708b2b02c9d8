"""Workers that share CUDA devices."""

from functools import partial

import pytest
import torch

from nasrun.config.build import rebuild
from nasrun.core import Job, Measurement
from nasrun.hardware.devices import gpus_of_workers
from nasrun.hardware.processes.executor import ProcessExecutor
from nasrun.hardware.worker_messages import Recipe
from tests.evaluators.conftest import SMALL, Bench

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

ON_CUDA = [word for word in SMALL if not word.startswith("hardware")]


def test_two_workers_train_what_one_process_does() -> None:
    bench = Bench("hardware=cuda", "hardware.precision=fp32", "hardware.workers=2", base=ON_CUDA)
    jobs: list[Job] = [bench.job(number, genome=bench.genome(number)) for number in range(4)]
    gpus = gpus_of_workers(2)
    assert len(gpus) == 2
    executor = ProcessExecutor(
        bench.train, Recipe(partial(rebuild, bench.setup.config), bench.facts, bench.setup.memory), 2, gpus
    )
    found: list[Measurement] = []
    try:
        executor.submit(jobs)
        while len(found) < len(jobs):
            found += executor.wait()
    finally:
        executor.close()
    here = {m.trial: m for m in bench.measure(*jobs)}
    for one in found:
        assert one.status == "ok", one.error
        assert one.metrics["val_loss"] == pytest.approx(here[one.trial].metrics["val_loss"], rel=1e-2)
