"""Micro-batches: the gradient of the whole batch in parts, and the second try of a training that ran out of memory.

The shortage is real: the process gets a limit on its addresses, at which torch's allocator fails.
"""

import csv
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasrun.checkpoints import archive as archives
from nasrun.core import Measurement, Proposal, Strategy, Trial
from nasrun.evaluators.train.memory import within_memory
from nasrun.hardware.devices import Runtime
from nasrun.storage import journal
from nasrun.strategies.wrappers import Deduplicate
from nasrun.training.losses import CrossEntropy, Loss, SquaredError
from nasrun.training.micro_batches import is_out_of_memory, parts_of
from nasrun.training.outcomes import TrainingError
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper
from tests.evaluators.conftest import SMALL, Bench
from tests.support import strategy_setup

RUNTIME = Runtime("cpu", "fp32", "", 1, channels_last=True)
ONE = torch.ones(1, 2, 1, 1)

WORDS = (
    "dataset.height=64",
    "dataset.width=64",
    "dataset.samples=100",
    "evaluator.batch_size=64",
    "search_space.filters=[4,64,511]",
    "search_space.batch_norm=false",
)
SCORES = ("val_accuracy", "val_loss", "train_loss")
FITS, WIDE, WIDEST = (f"N{filters}k1relu-R4k1relu-R4k1relu" for filters in (4, 64, 511))
"""At 64 images each activation of the first layer has 4, 64 and 511 MiB; at 8 images an eighth of it."""
SPARE = 120
"""MiB: enough for `FITS`, for `WIDE` in parts of 8 images, and never for `WIDEST`."""
RUN = (
    *SMALL,
    *WORDS,
    "dataset=synthetic",
    "strategy=fixed",
    "trials=3",
    f"strategy.genomes=[{FITS},{WIDEST},{WIDE}]",
    "constraints.flops=null",
    "evaluator.final_epochs=1",
    "output.console=none",
    "output.plots=false",
    "output.keep=all",
)
ROOT = Path(__file__).resolve().parents[2]


@given(images=st.integers(1, 40), size=st.integers(1, 50))
@settings(deadline=None, max_examples=50)
def test_parts_are_even_few_and_make_up_the_batch(images: int, size: int) -> None:
    batch, labels = torch.arange(images), torch.arange(images) % 3
    parts = list(parts_of(batch, labels, size, CrossEntropy()))
    assert torch.equal(torch.cat([some for some, _, _ in parts]), batch)
    assert len(parts) == math.ceil(images / size)
    lengths = [len(some) for some, _, _ in parts]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert sum(share for _, _, share in parts) == pytest.approx(1)


def pictures(background: float) -> tuple[nn.Module, torch.Tensor, torch.Tensor, Loss]:
    """A regression with weights that differ much between the images: of the first three no pixel counts."""
    images = torch.randn(10, 3, 6, 6)
    weights = (torch.rand(10, 1, 6, 6) < torch.linspace(0, 1, 10).view(-1, 1, 1, 1)).float()
    weights[:3] = 0
    labels = torch.cat((torch.randn(10, 2, 6, 6), weights), 1)
    return nn.Conv2d(3, 2, 3, padding=1), images, labels, SquaredError(ONE, 0 * ONE, background)


def classes() -> tuple[nn.Module, torch.Tensor, torch.Tensor, Loss]:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GELU(), nn.Flatten(), nn.Linear(80, 4))
    return model, torch.randn(10, 3, 6, 6), torch.arange(10) % 4, CrossEntropy(label_smoothing=0.1)


@pytest.mark.parametrize("make", [classes, lambda: pictures(0.0), lambda: pictures(0.01)], ids=["classes", "0", "0.01"])
@pytest.mark.parametrize("options", [{"optimizer": "sgd"}, {"optimizer": "adamw", "clip_norm": 0.1}], ids=str)
@pytest.mark.parametrize("size", [1, 3, 4, 10, 64])
def test_steps_in_parts_are_those_of_the_whole_batch(make: Callable[[], Any], options: Any, size: int) -> None:
    found = []
    for micro_batch in (None, size):
        with torch.random.fork_rng([]):
            torch.manual_seed(3)
            model, images, labels, loss = make()
            stepper = Stepper(model, TrainSettings(micro_batch=micro_batch, lr=0.05, **options), RUNTIME, 6, loss)
            losses = [stepper.step(images, labels) for _ in range(3)]
        found.append((torch.stack(losses), nn.utils.parameters_to_vector(model.parameters()).detach()))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=2e-5, atol=2e-6)


def test_dense_networks_train_in_micro_batches_too() -> None:
    """Which are otherwise trained by hand, and in groups."""
    words = ("search_space=mlp", "search_space.max_width=16", "evaluator.repeats=2", "search_space.dropout=0")
    base = [word for word in SMALL if not word.startswith("search_space")]
    results = []
    for more in ((), ("evaluator.micro_batch=5",)):
        bench = Bench(*words, *more, base=base)
        jobs = [bench.job(repeat=repeat) for repeat in range(2)]
        assert len(bench.train.group(jobs)) == (1 if more else 2)
        results.append([m.metrics for m in bench.measure(*jobs)])
    for whole, parts in zip(*results, strict=True):
        assert parts["micro_batch"] == 5
        assert "micro_batch" not in whole
        assert parts["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-3)


def test_memory_that_ran_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    scarce = [caught.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")]
    scarce += [RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")]
    assert all(map(is_out_of_memory, scarce))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_second_try_and_no_third() -> None:
    tried: list[tuple[int | None, bool]] = []

    def train(given: TrainSettings, spent: float) -> str:
        tried.append((given.micro_batch, spent > 0))
        raise MemoryError("no room")

    with pytest.raises(TrainingError, match=r"^out of memory, with 16 images at a time too: no room$"):
        within_memory(train, TrainSettings(batch_size=128), 8)
    assert tried == [(None, False), (16, True)]
    for given_settings, parts in ((TrainSettings(batch_size=128), None), (TrainSettings(micro_batch=1), 8)):
        tried.clear()
        with pytest.raises(MemoryError):
            within_memory(train, given_settings, parts)
        assert len(tried) == 1


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the command in a process of its own, on little memory: torch may also end a process that has none left."""
    folder = tmp_path_factory.mktemp("short")

    def call(*words: str) -> Path:
        command = [sys.executable, "-m", "tests.faults.little_memory", str(SPARE), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return folder

    return call


@pytest.fixture(scope="module")
def run(short: Callable[..., Path]) -> Path:
    """A run of a network that fits, one that does not, and one that fits in parts."""
    return short(*RUN, "hydra.run.dir=run") / "run"


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "trials.csv").open() as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_training_without_memory_is_tried_again_in_parts(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(run)
    assert [row["status"] for row in found] == ["ok", "failed", "ok"]
    assert [row["micro_batch"] for row in found] == ["", "", "8"]
    assert found[1]["error"].startswith("out of memory, with 8 images at a time too: ")
    assert archives.read_info(run / "checkpoints" / "2-0.zip").hparams["micro_batch"] == 8
    # As if it had been told to do so at once, to the bit. With memory enough it needs no parts.
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # as there
    told, whole = (Bench(*WORDS, f"evaluator.micro_batch={size}") for size in (8, "null"))
    genome = told.setup.space.parse(WIDE)
    [parts] = told.measure(told.job(2, seed=0, genome=genome))
    assert {name: repr(parts.metrics[name]) for name in SCORES} == {name: found[2][name] for name in SCORES}
    [together] = whole.measure(whole.job(2, seed=0, genome=genome))
    assert "micro_batch" not in together.metrics
    for name in SCORES:
        assert together.metrics[name] == pytest.approx(parts.metrics[name], rel=1e-4)


def test_an_interrupted_run_on_little_memory_goes_on_alike(run: Path, short: Callable[..., Path]) -> None:
    names = ("genomes.txt", "best.json")
    before = [rows(run), *((run / name).read_text() for name in names)]
    path = run / journal.NAME
    lines = path.read_text().splitlines(keepends=True)
    cut = next(place for place, line in enumerate(lines) if '"event":"tell","trial":1' in line)
    path.write_text("".join(lines[:cut]))
    short("resume", "run")
    assert [rows(run), *((run / name).read_text() for name in names)] == before


@pytest.mark.parametrize("mode", ["reuse", "resample"])
def test_a_network_that_found_no_memory_is_not_trained_again(mode: Literal["reuse", "resample"]) -> None:
    setup = strategy_setup("random")
    proposals = [Proposal(setup.space.sample(np.random.default_rng(seed))) for seed in (1, 1, 1, 2)]

    class Twice(Strategy):
        def ask(self, n: int) -> list[Proposal]:
            return [proposals.pop(0)] if proposals else []

        def tell(self, trial: Trial, measurements: Any) -> None:
            heard.append(measurements[0].error)

    heard: list[str] = []
    strategy = Deduplicate(Twice(), setup.space, mode)
    trained = []
    for number in range(5):
        for proposal in strategy.ask(1):
            if proposal.reuse_of is None:
                trained.append(proposal.genome)
            failed = Measurement(number, 0, "failed", error="out of memory, with 16 images at a time too")
            strategy.tell(Trial(number, proposal), [failed])
    assert len(trained) == len({*trained}) == 2
    assert heard == ["out of memory, with 16 images at a time too"] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_without_memory() -> None:
    """The same with a real limit on what this process may take of a GPU's memory."""
    base = [word for word in SMALL if not word.startswith("hardware")]
    bench = Bench(*WORDS, "hardware.device=cuda", "hardware.precision=fp32", base=base)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + SPARE * 2**20) / total)
    try:
        found = [bench.measure(bench.job(genome=bench.setup.space.parse(name)))[0] for name in (FITS, WIDE, WIDEST)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [measurement.status for measurement in found] == ["ok", "ok", "failed"]
    assert [measurement.metrics.get("micro_batch") for measurement in found] == [None, 8, None]
    assert found[2].error.startswith("out of memory, with 8 images at a time too: ")
