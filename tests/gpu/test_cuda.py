"""Training on a CUDA device: as good as on the CPU, without waiting for the device, and alive after it ran full."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from nasrun.core import Job, Measurement
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper
from tests.evaluators.conftest import Bench
from tests.support import setup_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

GENOME = "N16k3relu-R16k3gelu-R32k3swish"
TOO_LARGE = "-".join(["N511k5relu"] * 4 + ["R511k5relu"] * 2)
EVERYTHING = {"shift": 1, "flip": True, "label_smoothing": 0.1, "clip_norm": 1.0, "weight_decay": 1e-3}


def bench_of(device: str, precision: str) -> Bench:
    """The evaluator on a made-up data set of 2,000 images in four classes."""
    bench = Bench(
        base=(
            "evaluator=train",
            "evaluator.epochs=3",
            "evaluator.batch_size=64",
            "dataset.samples=2500",
            "dataset.classes=4",
            "dataset.validation=0.2",
            f"hardware={device}",
            f"hardware.precision={precision}",
            "search_space.filters=[16,32,511]",
            "search_space.kernels=[3,5]",
        )
    )
    assert bench.facts["runtime"]["device"] == device
    return bench


def network_of(bench: Bench) -> torch.nn.Module:
    return bench.setup.space.build(bench.setup.space.parse(GENOME), bench.setup.dataset.task)


def job(bench: Bench, number: int = 0, genome: str = GENOME, seed: int = 3, **hparams: Any) -> Job:
    return bench.job(number, seed=seed, genome=bench.setup.space.parse(genome), hparams=hparams)


def measured(bench: Bench, **options: Any) -> Measurement:
    [measurement] = bench.measure(job(bench, **options))
    assert measurement.status == "ok", measurement.error
    return measurement


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device raises, from the moment that the test turns it on."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "all"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_accuracy_is_near_the_cpus(precision: str, options: dict[str, Any]) -> None:
    expected = measured(bench_of("cpu", "fp32"), **options).metrics
    found = measured(bench_of("cuda", precision), **options).metrics
    assert expected["val_accuracy"] > 0.9
    assert abs(found["val_accuracy"] - expected["val_accuracy"]) < 0.05
    assert set(found) == set(expected)


def test_auto_takes_the_gpu_and_its_matrix_units() -> None:
    evaluator = setup_of("evaluator=train", "hardware=auto").evaluator
    runtime = evaluator.prepare()["runtime"]
    assert runtime["device"] == "cuda"
    assert runtime["precision"] == ("bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16")


def test_precision_is_used() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        bench = bench_of("cuda", precision)
        runtime, _ = bench.train.prepared
        assert runtime.autocast_dtype(network_of(bench)) is (None if precision == "fp32" else dtype)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    bench_of("cuda", "fp32")
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_data_stay_on_the_device() -> None:
    bench = bench_of("cuda", "fp32")
    _, data = bench.train.prepared
    split = data.split("train")
    assert split.images.is_cuda
    assert split.images.dtype == torch.uint8
    assert split.labels.is_cuda
    measured(bench)
    assert data.split("train") is split
    settings = TrainSettings(batch_size=64, shift=2, flip=True)
    order, augment = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    for images, labels in data.training_batches(split, settings, torch.channels_last, order, augment):
        assert images.is_cuda
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.is_cuda


def test_batches_are_those_of_the_cpu() -> None:
    settings = TrainSettings(batch_size=64, shift=2, flip=True)
    epochs = []
    for device in ("cpu", "cuda"):
        _, data = bench_of(device, "fp32").train.prepared
        order, augment = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
        batches = data.training_batches(data.split("train"), settings, torch.channels_last, order, augment)
        epochs.append([(images.cpu(), labels.cpu()) for images, labels in batches])
    for (images, labels), (other, others) in zip(*epochs, strict=True):
        assert torch.equal(labels, others)
        torch.testing.assert_close(images, other)


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"optimizer": "sgd"}], ids=["plain", "all", "sgd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_device(precision: str, options: dict[str, Any], no_waiting: None) -> None:
    bench = bench_of("cuda", precision)
    runtime, data = bench.train.prepared
    settings = TrainSettings(batch_size=64, **options)
    model = runtime.place(network_of(bench))
    stepper = Stepper(model, settings, runtime, 100)
    order, augment = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    split = data.split("train")
    batches = itertools.cycle(list(data.training_batches(split, settings, stepper.memory_format, order, augment)))
    for images, labels in itertools.islice(batches, 3):
        stepper.step(images, labels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    losses = torch.zeros((), device="cuda")
    for images, labels in itertools.islice(batches, 5):
        losses += stepper.step(images, labels)
    # Neither do the batches, shuffled and augmented, make the host wait.
    for images, labels in data.training_batches(split, settings, stepper.memory_format, order, augment):
        losses += stepper.step(images, labels)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(losses).item()
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        losses.item()


@pytest.fixture
def small_memory() -> Iterator[None]:
    """A gigabyte of the device's memory, whatever it has."""
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 2**30
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("small_memory")
def test_a_network_that_does_not_fit_fails_and_the_next_one_runs() -> None:
    bench = bench_of("cuda", "fp32")
    jobs = [job(bench, 0), job(bench, 1, TOO_LARGE, batch_size=2000), job(bench, 2)]
    before, failed, after = bench.measure(*jobs)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.startswith("out of memory")
    assert failed.error.splitlines() == [failed.error]
    assert before.status == after.status == "ok"
    assert after.metrics["val_accuracy"] > 0.9


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_seed_repeats(precision: str) -> None:
    bench = bench_of("cuda", precision)
    one, again, other = (measured(bench, seed=seed).metrics for seed in (1, 1, 2))
    # Sums on the device need not come in the same order twice, so the last bits may differ.
    assert again["val_accuracy"] == pytest.approx(one["val_accuracy"], abs=1e-3 + 1 / 500)
    assert again["train_loss"] == pytest.approx(one["train_loss"], rel=0.01)
    assert abs(other["train_loss"] / one["train_loss"] - 1) > 1e-6


def test_generators_are_left_alone() -> None:
    bench = bench_of("cuda", "fp32")
    torch.manual_seed(9)
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    measured(bench)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.cuda.get_rng_state(), before[1])


def test_weights_saved_on_the_gpu_load_anywhere(tmp_path: Any) -> None:
    bench = bench_of("cuda", "fp32")
    path = tmp_path / "0-0.zip"
    [saved] = bench.measure(job(bench)._replace(save_to=str(path)))
    assert saved.status == "ok"
    found = []
    for device in ("cpu", "cuda"):
        other = bench_of(device, "fp32")
        other.train.final_epochs = None
        found.append(other.train.final(job(other)._replace(load_from=str(path)))["metrics"])
    assert found[0]["test_loss"] == pytest.approx(found[1]["test_loss"], rel=1e-3)
