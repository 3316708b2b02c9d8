"""Evaluates jobs and checks what the evaluator answers, since it may be a user's own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from nasrun.core import Evaluator, Job, Measurement, Status
from nasrun.core.options import brief

STATUSES = get_args(Status)

Place = tuple[int, int]
"""The trial and the repeat of a job."""


def measured(evaluator: Evaluator, jobs: Sequence[Job]) -> Iterator[Measurement]:
    """Evaluate a group of jobs, and yield exactly one valid measurement for each.

    A job for which the evaluator yields nothing valid fails, with a reason that names the evaluator's class.
    """
    pending: dict[Place, None] = dict.fromkeys((job.trial.number, job.repeat) for job in jobs)
    what = f"{type(evaluator).__name__}.evaluate"
    wrong = None
    answers = evaluator.evaluate(jobs)
    if not isinstance(answers, Iterable):
        wrong, answers = f"{what} returned {brief(answers)}; expected an iterator of nasrun.Measurement", iter(())
    for answer in answers:
        answer = _plain(answer)
        problem = _problem(answer, pending, evaluator.metrics)
        if problem is None:
            del pending[answer.trial, answer.repeat]
            yield answer
        elif wrong is None:
            wrong = f"{what} yielded {problem}"
    for trial, repeat in pending:
        yield Measurement(trial, repeat, "failed", {}, wrong or f"{what} yielded nothing for this job")


def _plain(answer: Any) -> Any:
    """The answer with numbers of numpy as Python's, which a journal can hold."""
    if not isinstance(answer, Measurement) or not isinstance(answer.metrics, Mapping):
        return answer
    if not any(isinstance(value, np.generic) for value in answer.metrics.values()):
        return answer
    numbers = {name: one.item() if isinstance(one, np.generic) else one for name, one in answer.metrics.items()}
    return answer._replace(metrics=numbers)


def _problem(answer: Any, pending: Mapping[Place, None], names: Sequence[str]) -> str | None:
    """What is wrong with an answer; None if it is the measurement of a pending job."""
    if not isinstance(answer, Measurement):
        return f"{brief(answer)}; expected a nasrun.Measurement"
    if (answer.trial, answer.repeat) not in pending:
        return f"trial={brief(answer.trial)}, repeat={brief(answer.repeat)}, which is not a job that waits for a result"
    if answer.status not in STATUSES:
        return f"status={brief(answer.status)}; expected one of {', '.join(STATUSES)}"
    if answer.error is not None and not isinstance(answer.error, str):
        return f"error={brief(answer.error)}; expected text or None"
    if answer.status != "ok":
        return None
    if not isinstance(answer.metrics, Mapping) or not all(isinstance(name, str) for name in answer.metrics):
        return f"metrics={brief(answer.metrics)}; expected numbers by name"
    for name, value in answer.metrics.items():
        if not isinstance(value, int | float):
            return f"{name}={brief(value)}; expected a number"
    missing = [name for name in names if name not in answer.metrics]
    return f"no {missing[0]}, which its class names in `metrics`" if missing else None
