"""One contract for every evaluator in conf/evaluator: a new option enrols itself."""

import math
import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.config.build import Setup
from nasrun.config.shared_weights import evaluators_that_derive
from nasrun.core import Job, Measurement, Proposal, Trial, seeding
from tests.support import options, setup_of

SMALL = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "dataset.samples=120",
    "dataset.classes=4",
    "dataset.height=8",
    "dataset.width=8",
    "dataset.validation=0.3",
    "hardware=cpu",
    "hardware.threads=1",
    "search_space.max_depth=4",
    "search_space.filters=[4,8]",
    "search_space.kernels=[1,3]",
)
# The run in which an evaluator is held to the contract. One that is not named here runs at its defaults on SMALL.
SHARED = (
    *SMALL[:-3],
    "search_space=micro_cell",
    "search_space.blocks=1",
    "search_space.layout=cr",
    "search_space.channels=2",
    "evaluator.score_batch=16",
    "evaluator.pad_to=null",  # or networks would be for other images than those of the data set
)
RUNS = {
    **dict.fromkeys(evaluators_that_derive(), SHARED),
    "pc_darts": (*SHARED, "evaluator.partial=2"),
    "supernet": SHARED,
    "asnn_surrogate": ("search_space=mlp", "dataset=mnist"),
    "train": (*SMALL, "evaluator.epochs=1", "evaluator.batch_size=32", "evaluator.final_epochs=2"),
    # The cells of which the table holds several trainings.
    "table": ("search_space=nasbench101", "search_space.vertices=4", "dataset=cifar10", "evaluator.repeat=draw"),
}
# Further runs of an evaluator, for which it does other things.
FURTHER = {
    "supernet, elastic": (
        *SMALL[:-3],
        "search_space=staged_cnn",
        "search_space.max_stages=2",
        "search_space.max_width=8",
        "constraints.parameters=2000",
        "evaluator.sampling=sandwich",
        "evaluator.score_batch=16",
        "evaluator.pad_to=null",
    )
}
REPEATS = 2

evaluators = pytest.mark.parametrize("evaluator", [*options("evaluator"), *FURTHER])


def prepared(evaluator: str) -> Setup:
    words = FURTHER.get(evaluator) or RUNS.get(evaluator, SMALL)
    setup = setup_of(f"evaluator={evaluator.partition(',')[0]}", *words)
    assert isinstance(setup.evaluator.prepare(), dict)
    return setup


def jobs_of(setup: Setup, trials: int = 3) -> list[Job]:
    """The jobs of some trials, as the search would make them."""
    rng = np.random.default_rng(11)
    return [
        Job(Trial(number, Proposal(genome)), repeat, seeding.integer(3, seeding.Purpose.JOB, number, repeat))
        for number, genome in enumerate(setup.space.sample(rng) for _ in range(trials))
        for repeat in range(REPEATS)
    ]


def by_job(measurements: Sequence[Measurement]) -> dict[tuple[int, int], Measurement]:
    """Measurements without their times, by trial and repeat; none may come twice."""
    found = {
        (m.trial, m.repeat): m._replace(
            seconds=0.0, history=[{name: v for name, v in row.items() if name != "seconds"} for row in m.history]
        )
        for m in measurements
    }
    assert len(found) == len(measurements)
    return found


@cache
def measured(evaluator: str) -> dict[tuple[int, int], Measurement]:
    """What a fresh evaluator measures for the jobs, in their order and in one group."""
    setup = prepared(evaluator)
    return by_job(list(setup.evaluator.evaluate(jobs_of(setup))))


@evaluators
def test_one_measurement_per_job(evaluator: str) -> None:
    setup = prepared(evaluator)
    jobs = jobs_of(setup)
    found = list(setup.evaluator.evaluate(tuple(jobs)))
    assert set(by_job(found)) == {(job.trial.number, job.repeat) for job in jobs}
    assert all(measurement.status == "ok" and measurement.error is None for measurement in found)
    assert all(measurement.seconds >= 0 for measurement in found)


@evaluators
def test_named_metrics_are_there_and_finite(evaluator: str) -> None:
    setup = prepared(evaluator)
    assert setup.evaluator.metrics
    for measurement in measured(evaluator).values():
        assert set(setup.evaluator.metrics) <= set(measurement.metrics)
        rows: list[Any] = [measurement.metrics, *measurement.history]
        assert all(isinstance(value, float | int) and math.isfinite(value) for row in rows for value in row.values())


@evaluators
def test_price_is_the_spaces_formula(evaluator: str) -> None:
    setup = prepared(evaluator)
    for job in jobs_of(setup):
        cost = setup.space.cost(job.trial.proposal.genome, setup.dataset.task)
        metrics = measured(evaluator)[job.trial.number, job.repeat].metrics
        assert (metrics["parameters"], metrics["flops"]) == cost


@evaluators
def test_the_group_and_its_order_make_no_difference(evaluator: str) -> None:
    setup = prepared(evaluator)
    jobs = jobs_of(setup)
    alone = [measurement for job in jobs for measurement in setup.evaluator.evaluate([job])]
    reversed_ = list(setup.evaluator.evaluate(jobs[::-1]))
    assert by_job(alone) == by_job(reversed_) == measured(evaluator)


@evaluators
def test_repeats_differ(evaluator: str) -> None:
    found = measured(evaluator)
    pairs = [(found[trial, 0].metrics, found[trial, 1].metrics) for trial, repeat in found if repeat == 0]
    differ = [one != other for one, other in pairs]
    # Of the few trainings that a table holds of an architecture, two draws may be the same one.
    assert any(differ) if evaluator == "table" else all(differ)
    assert all(one["parameters"] == other["parameters"] for one, other in pairs)


@evaluators
def test_jobs_survive_pickling(evaluator: str) -> None:
    setup = prepared(evaluator)
    jobs = pickle.loads(pickle.dumps(jobs_of(setup)))
    found = list(setup.evaluator.evaluate(jobs))
    assert by_job(found) == measured(evaluator)
    assert pickle.loads(pickle.dumps(found)) == found


@evaluators
def test_an_empty_group(evaluator: str) -> None:
    assert list(prepared(evaluator).evaluator.evaluate([])) == []


@evaluators
def test_global_generators_are_left_alone(evaluator: str) -> None:
    setup = prepared(evaluator)
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    list(setup.evaluator.evaluate(jobs_of(setup)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


@evaluators
def test_what_prepare_decided_can_be_given_back(evaluator: str) -> None:
    setup = prepared(evaluator)
    facts = setup.evaluator.prepare()
    assert setup.evaluator.prepare(facts) == facts
    assert by_job(list(setup.evaluator.evaluate(jobs_of(setup)))) == measured(evaluator)


@evaluators
def test_an_estimate_is_seconds_or_nothing(evaluator: str) -> None:
    setup = prepared(evaluator)
    estimate = setup.evaluator.estimate(jobs_of(setup)[0].trial)
    assert estimate is None or 0 < estimate < 3600


@evaluators
def test_final_names_its_test_metrics(evaluator: str) -> None:
    setup = prepared(evaluator)
    result = setup.evaluator.final(jobs_of(setup)[0])
    if result:
        assert {"metrics", "history", "seconds"} <= set(result)
        assert result["metrics"]
        assert all(name.startswith("test_") or name == "val_regret" for name in result["metrics"])
        assert all(map(math.isfinite, result["metrics"].values()))


@evaluators
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("size mismatch,\n\tgot 3 and 4\n"), "size mismatch, got 3 and 4"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate 9 GiB"), "out of memory"),
        (AssertionError(), "AssertionError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_genome_that_cannot_be_built_fails_alone(
    evaluator: str, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = prepared(evaluator)
    jobs = jobs_of(setup)
    bad = jobs[0].trial.proposal.genome
    build, calls = setup.space.build, []

    def broken(genome: Any, task: Any) -> Any:
        calls.append(genome)
        if genome == bad:
            raise error
        return build(genome, task)

    monkeypatch.setattr(setup.space, "build", broken)
    found = by_job(list(setup.evaluator.evaluate(jobs)))
    assert len(found) == len(jobs)
    for (trial, repeat), measurement in found.items():
        if trial == 0 and calls:  # an evaluator that builds nothing has nothing that fails
            assert measurement.status == "failed"
            assert measurement.metrics == {}
            assert measurement.error is not None
            assert words in measurement.error
            assert measurement.error.splitlines() == [measurement.error]
        else:
            assert measurement == measured(evaluator)[trial, repeat]
