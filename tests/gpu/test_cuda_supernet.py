"""Shared weights on a CUDA device: they learn in every precision, go on from a file, and never wait for the device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nasrun.core import SearchSpace
from nasrun.evaluators.supernet import Supernet
from tests.evaluators.test_supernet import SPACES, job
from tests.support import setup_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def prepared(space: str, precision: str) -> tuple[Supernet, SearchSpace]:
    setup = setup_of(
        "evaluator=supernet",
        f"search_space={space}",
        *SPACES[space],
        "evaluator.batch_size=16",
        "evaluator.score=whole",
        "evaluator.pad_to=null",
        "dataset=synthetic",
        "dataset.samples=400",
        "dataset.classes=4",
        "dataset.height=8",
        "dataset.width=8",
        "dataset.noise=0.05",
        "dataset.validation=0.4",
        "hardware=cuda",
        f"hardware.precision={precision}",
    )
    assert isinstance(setup.evaluator, Supernet)
    setup.evaluator.prepare()
    return setup.evaluator, setup.space


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("space", SPACES)
def test_it_learns_and_goes_on_from_a_file(space: str, precision: str, tmp_path: Path) -> None:
    evaluator, chosen = prepared(space, precision)
    genomes = [chosen.sample(np.random.default_rng(seed)) for seed in range(12)]

    def mean(of: Supernet) -> float:
        return float(
            np.mean([m.metrics["val_accuracy"] for m in of.evaluate([job(g, n) for n, g in enumerate(genomes)])])
        )

    before = mean(evaluator)
    for epoch in range(1, 9):
        evaluator.train_shared(chosen.sample, np.random.default_rng(epoch), epoch, 8)
    assert mean(evaluator) > before + 0.2
    evaluator.save(tmp_path / "8.safetensors")
    other, _ = prepared(space, precision)
    other.load(tmp_path / "8.safetensors")
    assert mean(other) == pytest.approx(mean(evaluator), abs=0.02)
    result = evaluator.final(job(genomes[0]))
    assert 0 <= result["metrics"]["test_accuracy"] <= 1


def test_a_step_does_not_wait_for_the_device() -> None:
    evaluator, space = prepared("micro_cell", "bf16")
    trainer, rng = evaluator.trainer, np.random.default_rng(0)
    images, labels = trainer.inputs(evaluator.parts["train"], torch.arange(16, device="cuda"))
    genomes = [space.sample(rng) for _ in range(5)]
    for genome in genomes:  # the first steps of a path may set up libraries
        trainer.step(images, labels, [genome], 0.05)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for genome in genomes:
            trainer.step(images, labels, [genome], 0.05)
    finally:
        torch.cuda.set_sync_debug_mode("default")
