"""What evaluators may answer."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from nasrun.core import Evaluator, EvaluatorWrapper, Job, Measurement, Proposal, Trial
from nasrun.core.answers import AnswerError
from nasrun.core.options import ConfigError
from nasrun.hardware.measuring import FinalError, final_result, measured, next_group
from nasrun.storage.journal import OutputError

JOBS = [Job(Trial(number, Proposal((1,))), 0, seed=number) for number in (4, 5)]


class Answering(Evaluator):
    """Answers by a function of the jobs."""

    def __init__(self, answer: Callable[[Sequence[Job]], Any]) -> None:
        self._answer = answer

    def evaluate(self, jobs: Sequence[Job]) -> Any:
        return self._answer(jobs)


def result(job: Job, **metrics: Any) -> Measurement:
    return Measurement(job.trial.number, job.repeat, "ok", metrics)


def test_an_exception_fails_the_jobs_that_are_left() -> None:
    def answer(jobs: Sequence[Job]) -> Iterator[Measurement]:
        yield result(jobs[0], val_accuracy=0.5)
        raise ArithmeticError("a\nmistake")

    done, failed = measured(Answering(answer), JOBS)
    assert (done.status, failed.status) == ("ok", "failed")
    assert str(failed.error).startswith("ArithmeticError: a mistake (in Answering.evaluate, test_measuring.py:")
    [first, second] = measured(Answering(lambda jobs: 1 // 0), JOBS)
    assert str(first.error).startswith("ZeroDivisionError: ")
    assert first.error == second.error


@pytest.mark.parametrize("error", [ConfigError, AnswerError, OutputError])
def test_what_ends_the_run_passes(error: type[Exception]) -> None:
    def answer(jobs: Sequence[Job]) -> Iterator[Measurement]:
        raise error("full disk")

    with pytest.raises(error, match="full disk"):
        list(measured(Answering(answer), JOBS))


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
        (lambda jobs: (Measurement(float(job.trial.number), 0, "ok") for job in jobs), "yielded trial=4.0, repeat=0"),  # type: ignore[arg-type]
        (lambda jobs: (result(job, val_accuracy=10**400) for job in jobs), "yielded val_accuracy=1000"),
        (lambda jobs: (result(job, val_accuracy=0.5)._replace(seconds="x") for job in jobs), "yielded seconds='x'"),
        (lambda jobs: (result(job, val_accuracy=0.5)._replace(history="x") for job in jobs), "yielded history='x'"),
        (
            lambda jobs: (result(job, val_accuracy=0.5)._replace(history=[{"loss": math.nan}]) for job in jobs),
            "yielded history: loss=nan; expected a finite number",
        ),
        (lambda jobs: {"val_accuracy": 0.5}, "returned {'val_accuracy': 0.5}; expected an iterator"),
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


def test_numbers_of_numpy_become_those_of_python_everywhere() -> None:
    def answer(jobs: Sequence[Job]) -> Any:
        for job in jobs:
            history = [{"epoch": np.int64(1), "loss": np.float32(0.5)}]
            number = np.int64(job.trial.number)
            yield Measurement(number, np.int64(0), "ok", {"val_accuracy": np.float64(1)}, None, np.float32(2), history)

    for one in measured(Answering(answer), JOBS):
        assert one.status == "ok"
        assert [type(one.trial), type(one.repeat), type(one.seconds)] == [int, int, float]
        assert [type(value) for value in (*one.history[0].values(), *one.metrics.values())] == [int, float, float]


def test_a_failure_keeps_its_reason_in_one_line() -> None:
    def answer(jobs: Sequence[Job]) -> Any:
        for job in jobs:
            yield Measurement(job.trial.number, 0, "failed", {"a": object()}, "a\nb", 1.0, [{"loss": math.nan}])

    assert [(one.error, one.metrics, one.history) for one in measured(Answering(answer), JOBS)] == [("a b", {}, ())] * 2


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (None, "None; expected a mapping with metrics, history and seconds"),
        ({"test_accuracy": 0.5}, "{'test_accuracy': 0.5}; expected metrics"),
        ({"metrics": {"test_accuracy": "x"}, "seconds": 1}, "test_accuracy='x'; expected a number"),
        ({"metrics": {}, "seconds": math.inf}, "seconds=inf; expected a number"),
        ({"metrics": {"a": math.nan}, "seconds": 1}, "a=nan; expected a finite number"),
        ({"metrics": {}, "seconds": 1, "more": {1, 2}}, "{'metrics': {}, 'seconds': 1, 'more': {1, 2}}; expected JSON"),
    ],
)
def test_wrong_results_of_the_final_evaluation(result: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Answering(lambda jobs: ())
    monkeypatch.setattr(evaluator, "final", lambda job: result)
    with pytest.raises(FinalError) as caught:
        final_result(evaluator, JOBS[0])
    assert str(caught.value).startswith(f"Answering.final returned {says}")


def test_a_valid_final_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = Answering(lambda jobs: ())
    assert final_result(evaluator, JOBS[0]) == {}
    whole = {"metrics": {"test_accuracy": np.float32(0.5)}, "seconds": 2, "trained_on": "nothing"}
    monkeypatch.setattr(evaluator, "final", lambda job: whole)
    expected = {"metrics": {"test_accuracy": 0.5}, "seconds": 2, "history": [], "trained_on": "nothing"}
    assert final_result(evaluator, JOBS[0]) == expected


@pytest.mark.parametrize("group", [None, [], [JOBS[1]], [JOBS[0], JOBS[0]], [JOBS[0], None], iter(JOBS)])
def test_groups_that_are_no_part_of_the_queue(group: Any) -> None:
    mine = type("Mine", (Answering,), {"group": lambda self, jobs: group})(lambda jobs: None)
    for evaluator in (mine, EvaluatorWrapper(mine)):
        with pytest.raises(
            AnswerError, match=r"^evaluator: Mine\.group returned .*; expected a list of jobs of the queue"
        ):
            next_group(evaluator, JOBS)


def test_valid_groups_are_passed_on() -> None:
    for group in (JOBS[:1], JOBS, JOBS[::-1]):
        mine = type("Mine", (Answering,), {"group": lambda self, jobs, group=group: group})(lambda jobs: None)
        assert next_group(mine, JOBS) is group
