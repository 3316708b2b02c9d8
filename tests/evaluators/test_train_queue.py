"""Which jobs of a queue evaluator `train` trains together."""

import dataclasses
from typing import Any

import pytest
import torch

from nasrun.evaluators.train import groups as train_groups
from tests.evaluators.conftest import Bench
from tests.evaluators.dense_groups import bench_of, by_job, jobs_of, names


@pytest.fixture
def bench() -> Bench:
    return bench_of()


def test_repeats_and_like_networks(bench: Bench) -> None:
    jobs = jobs_of(bench, "16-8", "16-8", "16-9")
    assert names(bench.train.group(jobs)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert names(bench.train.group(jobs[4:])) == [(1, 1), (1, 2)]
    # The first of the queue, and what fits it from anywhere behind it.
    assert names(bench.train.group([jobs[7], *jobs])) == [(2, 1), (2, 0), (2, 1), (2, 2)]


def test_padded_takes_equal_depths() -> None:
    bench = bench_of("evaluator.replicas=padded")
    jobs = jobs_of(bench, "16-8", "20-40", "16-8-8", "8-8", repeats=1)
    assert names(bench.train.group(jobs)) == [(0, 0), (1, 0), (3, 0)]


def test_close_takes_repeats_else_networks_of_nearly_the_same_size() -> None:
    bench = bench_of("evaluator.replicas=close")
    singles = jobs_of(bench, "16-8", "64-64", "17-9", "15-8-8", "15-8", "40-8", repeats=1)
    assert names(bench.train.group(singles)) == [(0, 0), (2, 0), (4, 0)]
    assert names(bench.train.group(bench.train.group(singles))) == [(0, 0), (2, 0), (4, 0)]
    # Those that have an equal wait for it.
    assert names(bench.train.group([*singles, singles[4]])) == [(0, 0), (2, 0)]
    assert len(bench.train.group(jobs_of(bench, "16-8", "17-9", repeats=3))) == 3
    measured = bench.measure(*bench.train.group(singles))
    alone = [bench.measure(job)[0] for job in bench.train.group(singles)]
    for together, apart in zip(sorted(measured), alone, strict=True):
        assert together.metrics["train_loss"] == pytest.approx(apart.metrics["train_loss"], rel=1e-4)


def test_off_takes_one() -> None:
    bench = bench_of("evaluator.replicas=off")
    assert names(bench.train.group(jobs_of(bench, "16-8"))) == [(0, 0)]


def test_what_differs_in_settings_is_apart(bench: Bench) -> None:
    first = jobs_of(bench, "16-8", repeats=1)
    others: list[dict[str, Any]] = [
        {"budget": 3},
        {"hparams": {"batch_size": 8}},
        {"hparams": {"optimizer": "sgd"}},
        {"hparams": {"nonsense": 1}},
        {"load_from": "elsewhere.zip"},
    ]
    for fields in others:
        other = jobs_of(bench, "16-8", repeats=2, **fields)
        assert names(bench.train.group([*first, *other])) == [(0, 0)]
        together = "nonsense" not in fields.get("hparams", {}) and "load_from" not in fields
        assert len(bench.train.group([*other, *first])) == (2 if together else 1)
    same = jobs_of(bench, "16-8", repeats=1, budget=2, hparams={"batch_size": 16})
    assert len(bench.train.group([*first, *same])) == 2


@pytest.mark.parametrize(
    ("size", "count", "sizes"), [(4, 10, [4, 3, 3]), (3, 3, [3]), (1, 2, [1, 1]), (64, 10, [10]), (5, 6, [3, 3])]
)
def test_a_size_spreads_the_jobs_evenly(size: int, count: int, sizes: list[int]) -> None:
    bench = bench_of(f"evaluator.group_size={size}")
    queue, found = jobs_of(bench, "16-8", repeats=count), []
    while queue:
        group = bench.train.group(queue)
        queue = queue[len(group) :]
        found.append(len(group))
    assert found == sizes


def test_large_networks_are_fewer_in_a_group() -> None:
    bench = bench_of("search_space.max_width=65536")
    for text, size in (("8", 20), ("256-256", 10), ("512-512", 5), ("1024-1024", 1), ("65536-65536", 1)):
        parameters = bench.setup.space.cost(bench.setup.space.parse(text), bench.setup.dataset.task).parameters
        group = bench.train.group(jobs_of(bench, text, repeats=20))
        assert len(group) == size
        assert len(group) == 1 or len(group) * parameters <= train_groups.MOST["cpu"][1]
    # A size that is given is taken at its word.
    forced = bench_of("search_space.max_width=65536", "evaluator.group_size=6")
    assert len(forced.train.group(jobs_of(forced, "512-512", repeats=20))) == 5
    # On the CPU a network that takes all threads trains alone, so that its bits do not depend on its company.
    assert len(forced.train.group(jobs_of(forced, "1024-1024", repeats=20))) == 1


def test_other_networks_train_one_after_the_other() -> None:
    bench = bench_of("search_space.activations=[tanh]")
    assert len(bench.train.group(jobs_of(bench, "16-8"))) == 1
    convolutional = Bench()
    assert len(convolutional.train.group([convolutional.job(0, repeat) for repeat in range(3)])) == 1


def test_more_threads_have_room_for_more() -> None:
    for threads, times in ((1, 1), (2, 2)):
        facts = bench_of(f"hardware.threads={threads}").facts["replicas"]
        most = train_groups.MOST["cpu"]
        assert (facts["networks"], facts["parameters"]) == (times * most[0], times * most[1])


def test_regression_trains_one_after_the_other(bench: Bench) -> None:
    task = dataclasses.replace(bench.setup.dataset.task, kind="regression")
    for wanted, size in ((bench.setup.dataset.task, 3), (task, 1)):
        groups = train_groups.Groups(bench.setup.space, wanted, bench.train.settings_of, "auto", None)
        groups.decide(bench.train.prepared[0])
        assert len(groups.of(jobs_of(bench, "16-8"))) == size


def test_looking_at_shapes_draws_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    build = bench.setup.space.build

    def drawing(genome: Any, task: Any) -> torch.nn.Module:
        torch.rand(3, device="cpu")
        return build(genome, task)

    monkeypatch.setattr(bench.setup.space, "build", drawing)
    before = torch.get_rng_state()
    bench.train.group(jobs_of(bench, "16-8", "12", "9-9"))
    assert torch.equal(torch.get_rng_state(), before)


def test_before_prepare_there_is_one(bench: Bench) -> None:
    unprepared = type(bench.train)(bench.setup.space, bench.setup.dataset, bench.setup.hardware)
    assert len(unprepared.group(jobs_of(bench, "16-8"))) == 1
    failed = by_job(list(unprepared.evaluate(jobs_of(bench, "16-8"))))
    assert {m.status for m in failed.values()} == {"failed"}
    assert len(failed) == 3
