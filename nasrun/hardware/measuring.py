"""Evaluates jobs and checks what the evaluator answers, since it may be a user's own."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from nasrun.core import Evaluator, Job, Measurement, Status
from nasrun.core.answers import AnswerError, innermost, is_json, is_users, name_of, place_of
from nasrun.core.options import ConfigError, brief, type_and_text
from nasrun.storage.journal import OutputError

STATUSES = get_args(Status)
LARGEST = 2.0**63
"""Bound of whole numbers in measurements; no count is larger."""

Place = tuple[int, int]
"""The trial and the repeat of a job."""


class HungError(Exception):
    """Jobs were interrupted because they did not end; the text is the reason, in one line."""


class FinalError(ValueError):
    """The final evaluation of the winner returned something invalid; the text says what, in one line."""


def next_group(evaluator: Evaluator, queue: Sequence[Job]) -> Sequence[Job]:
    """The jobs of a queue to evaluate together next (`Evaluator.group`).

    Raises:
        AnswerError: they are not some of the queue, each once, the first one among them.
    """
    group: Any = evaluator.group(queue)
    if isinstance(group, list | tuple) and _is_some_of(group, queue):
        return group
    raise AnswerError(
        f"evaluator: {name_of(evaluator)}.group returned {brief(group)}; "
        "expected a list of jobs of the queue, each once, the first one among them"
    )


def _is_some_of(group: Sequence[Any], queue: Sequence[Job]) -> bool:
    """Whether a group has the first job of a queue and others of it, each once."""
    if len(group) == 1:
        return group[0] is queue[0]
    chosen, known = {id(job) for job in group}, {id(job) for job in queue}
    return id(queue[0]) in chosen and chosen <= known and len(chosen) == len(group)


def measured(evaluator: Evaluator, jobs: Sequence[Job]) -> Iterator[Measurement]:
    """Evaluate a group of jobs, and yield exactly one valid measurement for each.

    A job for which the evaluator yields nothing valid fails, with a reason that names the evaluator's class. So does
    each one that has no measurement yet when an evaluator of a user's class raises an exception; one of nasrun's raises
    only what must end the run.
    """
    pending: dict[Place, None] = dict.fromkeys((job.trial.number, job.repeat) for job in jobs)
    what = f"{name_of(evaluator)}.evaluate"
    wrong = None
    try:
        answers: Any = evaluator.evaluate(jobs)
        if not isinstance(answers, Iterable) or isinstance(answers, str | Mapping | Measurement):
            wrong, answers = f"{what} returned {brief(answers)}; expected an iterator of nasrun.Measurement", ()
        for answer in answers:
            found = _plain(answer)
            problem = _problem(found, pending, evaluator.metrics)
            if problem is None:
                del pending[found.trial, found.repeat]
                yield found
            elif wrong is None:
                wrong = f"{what} yielded {problem}"
    except (ConfigError, AnswerError, OutputError, HungError):
        raise
    except Exception as error:
        if not is_users(innermost(evaluator)):
            raise
        place = ", ".join(filter(None, (what, place_of(error))))  # code typed at a prompt has none
        wrong = wrong or f"{type_and_text(error)} (in {place})"
    for trial, repeat in pending:
        yield Measurement(trial, repeat, "failed", {}, wrong or f"{what} yielded nothing for this job")


def final_result(evaluator: Evaluator, job: Job) -> Mapping[str, Any]:
    """The result of the final evaluation (`Evaluator.final`); FinalError if it is invalid."""
    result: Any = evaluator.final(job)
    what = f"{name_of(evaluator)}.final returned {brief(result)}"
    if not isinstance(result, Mapping):
        raise FinalError(f"{what}; expected a mapping with metrics, history and seconds")
    if not result:
        return {}
    if not {"metrics", "seconds"} <= set(result):
        raise FinalError(f"{what}; expected metrics (by name), history and seconds")
    metrics, seconds = _plain_numbers(result["metrics"]), _plain_number(result["seconds"])
    history = _plain_history(result.get("history", []))
    problem = _numbers_problem(metrics, "metrics") or _timing_problem(seconds, history)
    infinite = [] if problem else [name for name, value in metrics.items() if not math.isfinite(value)]
    if infinite:
        problem = f"{infinite[0]}={metrics[infinite[0]]}; expected a finite number"
    if problem is not None:
        raise FinalError(f"{name_of(evaluator)}.final returned {problem}")
    found = {**result, "metrics": metrics, "history": history, "seconds": seconds}
    if not is_json(found):
        raise FinalError(f"{what}; expected JSON values")
    return found


def _plain(answer: Any) -> Any:
    """The answer with numbers of numpy as Python's, which a journal can hold, and with a reason in one line."""
    if not isinstance(answer, Measurement):
        return answer
    error = " ".join(answer.error.split()) if isinstance(answer.error, str) else answer.error
    history = _plain_history(answer.history)
    if answer.status != "ok" and _timing_problem(0.0, history):
        history = ()  # the reason of the failure counts
    return Measurement(
        _plain_number(answer.trial),
        _plain_number(answer.repeat),
        answer.status,
        _plain_numbers(answer.metrics) if answer.status == "ok" else {},
        error,
        _plain_number(answer.seconds),
        history,
    )


def _plain_history(history: Any) -> Any:
    return type(history)(map(_plain_numbers, history)) if type(history) in (list, tuple) else history


def _plain_numbers(values: Any) -> Any:
    if not isinstance(values, Mapping) or not any(isinstance(value, np.generic) for value in values.values()):
        return values
    return {name: _plain_number(value) for name, value in values.items()}


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _problem(answer: Any, pending: Mapping[Place, None], names: Sequence[str]) -> str | None:
    """What is wrong with an answer; None if it is the measurement of a pending job."""
    if not isinstance(answer, Measurement):
        return f"{brief(answer)}; expected a nasrun.Measurement"
    if type(answer.trial) is not int or type(answer.repeat) is not int or (answer.trial, answer.repeat) not in pending:
        return f"trial={brief(answer.trial)}, repeat={brief(answer.repeat)}, which is not a job that waits for a result"
    if not isinstance(answer.status, str) or answer.status not in STATUSES:
        return f"status={brief(answer.status)}; expected one of {', '.join(STATUSES)}"
    if answer.error is not None and not isinstance(answer.error, str):
        return f"error={brief(answer.error)}; expected text or None"
    problem = _numbers_problem(answer.metrics, "metrics") or _timing_problem(answer.seconds, answer.history)
    if problem is not None or answer.status != "ok":
        return problem
    missing = [name for name in names if name not in answer.metrics]
    return f"no {missing[0]}, which its class names in `metrics`" if missing else None


def _numbers_problem(values: Any, what: str) -> str | None:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        return f"{what}={brief(values)}; expected numbers by name"
    for name, value in values.items():
        if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > LARGEST):
            return f"{name}={brief(value)}; expected a number"
    return None


def _timing_problem(seconds: Any, history: Any) -> str | None:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return f"seconds={brief(seconds)}; expected a number"
    if not isinstance(history, list | tuple):
        return f"history={brief(history)}; expected a list of metrics by name"
    for entry in history:
        problem = _numbers_problem(entry, "history")
        if problem is not None:
            return problem
        for name, value in entry.items():
            if not math.isfinite(value):
                return f"history: {name}={value}; expected a finite number"
    return None
