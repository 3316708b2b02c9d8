"""What evaluators may answer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nasrun.core import Evaluator, Job, Measurement, Proposal, Trial
from nasrun.hardware.measuring import measured

JOBS = [Job(Trial(number, Proposal((1,))), 0, seed=number) for number in (4, 5)]


class Answering(Evaluator):
    """Answers by a function of the jobs."""

    def __init__(self, answer: Callable[[Sequence[Job]], Any]) -> None:
        self._answer = answer

    def evaluate(self, jobs: Sequence[Job]) -> Any:
        return self._answer(jobs)


def result(job: Job, **metrics: Any) -> Measurement:
    return Measurement(job.trial.number, job.repeat, "ok", metrics)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda jobs: None, "returned None; expected an iterator of nasrun.Measurement"),
        (lambda jobs: iter(()), "yielded nothing for this job"),
        (lambda jobs: (0.5 for _ in jobs), "yielded 0.5; expected a nasrun.Measurement"),
        (lambda jobs: (result(job, accuracy=0.5) for job in jobs), "yielded no val_accuracy, which its class names"),
        (lambda jobs: (result(job, val_accuracy="1") for job in jobs), "yielded val_accuracy='1'; expected a number"),
        (lambda jobs: (Measurement(9, 0, "ok") for _ in jobs), "yielded trial=9, repeat=0, which is not a job"),
        (lambda jobs: (Measurement(job.trial.number, 0, "done") for job in jobs), "yielded status='done'; expected"),  # type: ignore[arg-type]
        (lambda jobs: (Measurement(job.trial.number, 0, "failed", {}, 3) for job in jobs), "yielded error=3"),  # type: ignore[arg-type]
        (lambda jobs: (Measurement(job.trial.number, 0, "ok", [1]) for job in jobs), r"yielded metrics=\[1\]"),  # type: ignore[arg-type]
    ],
)
def test_jobs_without_a_valid_measurement_fail_with_the_reason(answer: Any, says: str) -> None:
    answers = list(measured(Answering(answer), JOBS))
    assert [(one.trial, one.repeat, one.status) for one in answers] == [(4, 0, "failed"), (5, 0, "failed")]
    for one in answers:
        assert str(one.error).startswith("Answering.evaluate ")
        assert str(one.error).removeprefix("Answering.evaluate ").startswith(says.replace("\\", ""))


def test_valid_measurements_are_passed_on_once() -> None:
    def answer(jobs: Sequence[Job]) -> Any:
        yield result(jobs[1], val_accuracy=np.float32(0.5), parameters=7)
        yield result(jobs[1], val_accuracy=0.25)
        yield Measurement(4, 0, "infeasible", {}, "too large")

    second, first = measured(Answering(answer), JOBS)
    assert second == result(JOBS[1], val_accuracy=0.5, parameters=7)
    assert type(second.metrics["val_accuracy"]) is float
    assert first == Measurement(4, 0, "infeasible", {}, "too large")
