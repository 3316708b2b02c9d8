"""Dense networks that train together on a CUDA device: as good as on the CPU, padded, never waiting for the device."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from nasrun.core import Job, Measurement
from nasrun.training.dense.replicas import Replicas
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from tests.evaluators.conftest import Bench

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

WIDTHS = ("64-32", "48-80", "64-32")
EVERYTHING = {"shift": 1, "flip": True, "label_smoothing": 0.1, "clip_norm": 1.0, "weight_decay": 1e-3}


def bench_of(device: str, *overrides: str, precision: str = "fp32") -> Bench:
    return Bench(
        *overrides,
        base=(
            "evaluator=train",
            "evaluator.epochs=3",
            "evaluator.batch_size=32",
            "search_space=mlp",
            "search_space.dropout=0.2",
            "dataset.samples=2500",
            "dataset.classes=4",
            "dataset.validation=0.2",
            f"hardware={device}",
            f"hardware.precision={precision}",
        ),
    )


def jobs_of(bench: Bench, repeats: int = 2, **fields: Any) -> list[Job]:
    return [
        bench.job(number, repeat, genome=bench.setup.space.parse(text), **fields)
        for number, text in enumerate(WIDTHS)
        for repeat in range(repeats)
    ]


def by_job(measurements: Sequence[Measurement]) -> dict[tuple[int, int], Measurement]:
    return {(m.trial, m.repeat): m for m in measurements}


def replicas_of(bench: Bench, jobs: Sequence[Job], **options: Any) -> Replicas:
    runtime, data = bench.train.prepared
    space, task = bench.setup.space, bench.setup.dataset.task
    models = [runtime.place(space.build(job.trial.proposal.genome, task)) for job in jobs]
    settings = TrainSettings(**{"batch_size": 32, "optimizer": "adam", **options})
    return Replicas(models, [job.seed for job in jobs], TrainingRequest(data, settings, runtime))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device raises, from the moment that the test turns it on."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def test_networks_of_one_depth_are_one_group() -> None:
    bench = bench_of("cuda")
    assert bench.facts["replicas"]["mode"] == "padded"
    assert len(bench.train.group(jobs_of(bench))) == 6


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "all"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_accuracy_is_near_the_cpus(precision: str, options: dict[str, Any]) -> None:
    cpu, cuda = bench_of("cpu"), bench_of("cuda", precision=precision)
    expected = by_job(cpu.measure(*jobs_of(cpu, hparams=options)))
    found = by_job(cuda.measure(*jobs_of(cuda, hparams=options)))
    assert set(found) == set(expected)
    for name, measurement in found.items():
        assert measurement.status == "ok", measurement.error
        assert measurement.metrics["val_accuracy"] > 0.8
        assert abs(measurement.metrics["val_accuracy"] - expected[name].metrics["val_accuracy"]) < 0.05


def test_the_same_alone_and_in_company() -> None:
    bench = bench_of("cuda")
    jobs = jobs_of(bench)
    found = by_job(bench.measure(*jobs))
    for job in jobs[:3]:
        [alone] = bench.measure(job)
        metrics = found[alone.trial, alone.repeat].metrics
        assert metrics["train_loss"] == pytest.approx(alone.metrics["train_loss"], rel=1e-3)
        assert metrics["val_accuracy"] == pytest.approx(alone.metrics["val_accuracy"], abs=0.01)


def test_gradients_are_those_of_the_cpu() -> None:
    steppers = []
    for device in ("cpu", "cuda"):
        bench = bench_of(device, "search_space.dropout=0")
        torch.manual_seed(1)
        replicas = replicas_of(bench, jobs_of(bench))
        inputs, labels = next(replicas.batches())
        with torch.no_grad():
            replicas.stepper.backward(inputs, labels, replicas.stepper.masks.following())
        steppers.append(replicas.stepper)
    ours, theirs = (stepper.gradients.cpu() for stepper in steppers)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"optimizer": "sgd"}], ids=["plain", "all", "sgd"])
def test_no_step_waits_for_the_device(options: dict[str, Any], no_waiting: None) -> None:
    bench = bench_of("cuda", precision="bf16")
    replicas = replicas_of(bench, jobs_of(bench), **options)
    batches = itertools.chain.from_iterable(replicas.batches() for _ in range(2))
    for inputs, labels in itertools.islice(batches, 20):
        assert inputs.is_cuda
        losses = replicas.step(inputs, labels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    for inputs, labels in itertools.islice(batches, 20):
        losses += replicas.step(inputs, labels)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(losses).all()


def test_generators_are_left_alone() -> None:
    bench = bench_of("cuda")
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    bench.measure(*jobs_of(bench))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(torch.cuda.get_rng_state(), before[1])
