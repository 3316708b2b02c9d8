"""Evaluator `train` on dense networks: which jobs train together, and that each has the result of training alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.archive import read_info
from nasrun.checkpoints.store import load_weights
from nasrun.core import seeding
from nasrun.evaluators.train import groups
from nasrun.storage import journal
from nasrun.training import loop
from nasrun.training.single import measure
from tests.evaluators.conftest import Bench
from tests.evaluators.dense_groups import (
    DENSE,
    bench_of,
    by_job,
    check_same,
    jobs_of,
    names,
    steps_of,
    ticking,
    untimed,
)
from tests.support import run_in, search_in, without_time
from tests.training.test_company import LIBRARIES, products_by


@pytest.fixture
def bench() -> Bench:
    return bench_of()


def test_a_job_alone_and_in_company() -> None:
    """Ten repeats together, and each of them alone, in another evaluator."""
    together, apart = bench_of(), bench_of("evaluator.replicas=off")
    jobs = jobs_of(together, "24-12", repeats=10)
    assert len(together.train.group(jobs)) == 10
    found, expected = by_job(together.measure(*jobs)), by_job(apart.measure(*jobs))
    for name in found:
        check_same(found[name], expected[name])
    assert len({m.metrics["val_loss"] for m in found.values()}) == 10


def saved(folder: Path, trial: int, repeat: int) -> dict[str, bytes]:
    """The bits of the weights that a job has saved."""
    weights = load_weights(folder / f"{trial}-{repeat}.zip")
    return {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


SHARED_OUT = [
    ("equal", 1, 1),
    ("equal", 2, 2),
    ("equal", 5, 4),
    ("close", 5, 1),
    ("close", 2, 4),
    ("padded", 5, 2),
    ("padded", 64, 1),
]
"""`evaluator.replicas`, `evaluator.group_size` and `hardware.threads`."""


@pytest.mark.parametrize("library", LIBRARIES)
def test_how_jobs_are_shared_out_makes_no_difference(library: str, tmp_path: Path) -> None:
    def measured(folder: Path, replicas: str, size: int, threads: int) -> dict[Any, Any]:
        options = (f"evaluator.replicas={replicas}", f"evaluator.group_size={size}", f"hardware.threads={threads}")
        bench = bench_of(*options)
        jobs = jobs_of(bench, "24-13", "24-12", "13-31", repeats=5)
        folder.mkdir()
        jobs = [job._replace(save_to=str(folder / f"{job.trial.number}-{job.repeat}.zip")) for job in jobs]
        found = by_job(bench.measure(*jobs))
        return {name: (untimed(one), saved(folder, *name)) for name, one in found.items()}

    with products_by(library):
        expected = measured(tmp_path / "off", "off", 1, 1)
        for number, (replicas, size, threads) in enumerate(SHARED_OUT):
            assert measured(tmp_path / f"{number}", replicas, size, threads) == expected, (replicas, size, threads)


@pytest.mark.parametrize("replicas", ["equal", "padded", "off"])
def test_a_queue_of_all_kinds(replicas: str) -> None:
    bench = bench_of(f"evaluator.replicas={replicas}", "evaluator.patience=1")
    jobs = [*jobs_of(bench, "16-8", "24-12", "12", "16-8"), bench.job(9, hparams={"lr": -1.0})]
    found = by_job(bench.measure(*jobs))
    backwards = by_job(bench.measure(*jobs[::-1]))
    for job in jobs:
        [alone] = bench.measure(job)
        check_same(found[job.trial.number, job.repeat], alone)
        check_same(backwards[job.trial.number, job.repeat], alone)
    assert [m.trial for m in found.values() if m.status == "failed"] == [9]


def test_seconds_are_shares_of_the_groups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    measurements = bench.measure(*jobs_of(bench, "16-8", repeats=4))
    assert [m.seconds for m in measurements] == [steps_of(bench) / 4] * 4
    assert all(sum(row["seconds"] for row in m.history) == m.seconds for m in measurements)


def test_weights_of_each_are_saved(bench: Bench, tmp_path: Path) -> None:
    jobs = [job._replace(save_to=str(tmp_path / f"0-{job.repeat}.zip")) for job in jobs_of(bench, "16-8")]
    found = by_job(bench.measure(*jobs))
    runtime, data = bench.train.prepared
    for job in jobs:
        assert job.save_to is not None
        model = bench.setup.space.build(job.trial.proposal.genome, bench.setup.dataset.task)
        model.load_state_dict(load_weights(Path(job.save_to)))
        metrics = found[0, job.repeat].metrics
        assert measure(model, data, "validation", runtime)["accuracy"] == metrics["val_accuracy"]
        info = read_info(job.save_to)
        assert (info.epochs, info.genome, info.repeat) == (2, "16-8", job.repeat)
    # What was saved is gone on from, alone.
    [more] = bench.measure(
        jobs[1]._replace(
            load_from=jobs[1].save_to,
            save_to=None,
            trial=jobs[1].trial._replace(proposal=jobs[1].trial.proposal._replace(budget=4, warm_start="continue")),
        )
    )
    assert [row["epoch"] for row in more.history] == [3, 4]


def test_progress_of_each_is_told(bench: Bench) -> None:
    told: list[Any] = []
    bench.train.on_progress = told.append
    found = by_job(bench.measure(*jobs_of(bench, "16-8", repeats=2)))
    assert [progress[:4] for progress in told] == [(0, 0, 1, 2), (0, 1, 1, 2), (0, 0, 2, 2), (0, 1, 2, 2)]
    assert [progress.metrics for progress in told[1::2]] == list(found[0, 1].history)


def poison(bench: Bench, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Networks, counted as they are built on the CPU, whose weights are not finite."""
    build, built = bench.setup.space.build, []

    def spoilt(genome: Any, task: Any) -> torch.nn.Module:
        model = build(genome, task)
        if not model[1].weight.is_meta:
            built.append(model)
            if len(built) - 1 in numbers:
                torch.nn.init.constant_(model[1].weight, float("nan"))
        return model

    monkeypatch.setattr(bench.setup.space, "build", spoilt)


def test_a_failure_is_one_jobs_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(bench, "16-8", repeats=4)
    expected = by_job(bench.measure(*jobs))
    poison(bench, monkeypatch, 2)
    found = by_job(bench.measure(*jobs))
    failed = found.pop((0, 2))
    assert (failed.status, failed.error, dict(failed.metrics)) == ("failed", "the loss became nan in epoch 1", {})
    assert len(found) == 3
    for name, measurement in found.items():
        check_same(measurement, expected[name])


def test_a_network_that_cannot_be_built_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(bench, "16-8", repeats=3)
    expected = by_job(bench.measure(*jobs))
    build, seeds = bench.setup.space.build, []

    def broken(genome: Any, task: Any) -> torch.nn.Module:
        seeds.append(torch.initial_seed())
        if len(seeds) > 1 and seeds[-1] == bad:
            raise RuntimeError("no such layer")
        return build(genome, task)

    bad = seeding.integer(jobs[1].seed, seeding.Purpose.INIT)
    monkeypatch.setattr(bench.setup.space, "build", broken)
    found = by_job(bench.measure(*jobs))
    assert [m.error for m in found.values()] == [None, "RuntimeError: no such layer", None]
    for name in ((0, 0), (0, 2)):
        check_same(found[name], expected[name])


def test_what_does_not_fit_together_trains_one_after_the_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(bench, "16-8")
    expected = by_job(bench.measure(*jobs))
    train_together, sizes = loop.train_together, []

    def scarce(models: Sequence[torch.nn.Module], *arguments: Any, **named: Any) -> Any:
        sizes.append(len(models))
        if len(models) > 1:
            raise torch.OutOfMemoryError
        return train_together(models, *arguments, **named)

    monkeypatch.setattr(loop, "train_together", scarce)
    found = by_job(bench.measure(*jobs))
    assert sizes == [3, 1, 1, 1]
    for name in expected:
        check_same(found[name], expected[name])


def test_a_time_limit_is_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("evaluator.time_limit=1e-9")
    found = bench.measure(*jobs_of(bench, "16-8"))
    assert [m.error for m in found] == ["time limit of 1e-09 s reached in epoch 1"] * 3


def test_global_settings_are_left_alone(bench: Bench) -> None:
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision, torch.get_rng_state()
    seen: list[str] = []
    bench.train.on_progress = lambda progress: seen.append(setting.fp32_precision)
    bench.measure(*jobs_of(bench, "16-8", "9", repeats=2), *jobs_of(bench, "11", repeats=1))
    bench.train.estimate(jobs_of(bench, "16-8")[0].trial)
    assert seen == [before[0]] * 10
    assert setting.fp32_precision == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_large_network_trains_alone_on_the_cpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(bench, "64-64", "8-8", repeats=2)
    assert names(bench.train.group(jobs)) == [(0, 0), (0, 1)]
    monkeypatch.setattr(groups, "LARGEST", 3000)
    bench = bench_of("evaluator.replicas=padded", "evaluator.group_size=9")
    assert names(bench.train.group(jobs)) == [(0, 0)]
    assert names(bench.train.group(jobs[1:])) == [(0, 1)]
    assert names(bench.train.group(jobs[2:])) == [(1, 0), (1, 1)]


SEARCH = (*DENSE, "strategy=random", "trials=3", "evaluator.repeats=3", "evaluator.epochs=1", "hardware.in_flight=2")


def test_a_run_that_was_cut_off_forms_the_same_groups(tmp_path: Path) -> None:
    _, ending = run_in(tmp_path / "whole", *SEARCH)
    assert ending.complete
    lines = (tmp_path / "whole" / journal.NAME).read_bytes().splitlines(keepends=True)
    events = list(journal.repair(tmp_path / "whole" / journal.NAME))
    measured = [place for place, event in enumerate(events) if event["event"] == "measure"]
    assert len(measured) == 9
    # Cut off before the first group is on record, and after each of the groups, which are written as a whole.
    for place in [measured[0], *(measured[number] + 1 for number in (2, 5, 8))]:
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / journal.NAME).write_bytes(b"".join(lines[:place]))
        search, _ = search_in(folder, *SEARCH)
        search.run()
        again = without_time(list(journal.repair(folder / journal.NAME)))
        for found, expected in zip(again, without_time(events), strict=True):
            for event in (found, expected):
                for row in event.get("history", ()):
                    row.pop("seconds")
            assert found == expected
