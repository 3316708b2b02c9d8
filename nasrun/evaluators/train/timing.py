"""How long a step of training takes, for estimates of time. torch is imported by what is timed."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from nasrun.training.loop import Trainee
    from nasrun.training.request import TrainingRequest

WITH_MEASURING = 1.1
"""What the measuring after each epoch makes of its steps' time, about."""
WARM_UP_BATCHES = 3
TIMED_BATCHES = 10
TIMED_SECONDS = 2.0
"""After so long, warm-up and timing each end with the batch that they are at."""


def training_seconds(
    models: "Sequence[torch.nn.Module]", request: "TrainingRequest", timer: Callable[[], float]
) -> float:
    """Seconds by a clock that networks which train together are expected to take, all of them, from a few steps."""
    from nasrun.training.dense.threads import fit_one_thread, in_parallel, shares
    from nasrun.training.loop import make_trainee

    runtime = request.runtime
    spread = runtime.device == "cpu" and fit_one_thread(models)
    if spread:  # one thread's part: the others are trained at the same time
        models = models[: max(map(len, shares(len(models), runtime.threads)))]
    trainee = make_trainee(models, range(len(models)), request)
    work = partial(step_seconds, trainee, timer)
    [seconds] = in_parallel([work], Event()) if spread else [work()]
    return seconds * request.settings.epochs * request.steps_per_epoch * WITH_MEASURING


def step_seconds(trainee: "Trainee", timer: Callable[[], float]) -> float:
    """Seconds of a step by a clock, the mean of ten after a warm-up of three; of fewer where steps take long."""
    batches = itertools.chain.from_iterable(trainee.batches() for _ in itertools.count())
    _steps(trainee, itertools.islice(batches, WARM_UP_BATCHES), timer)
    started = timer()
    done = _steps(trainee, itertools.islice(batches, TIMED_BATCHES), timer)
    return (timer() - started) / done


def _steps(
    trainee: "Trainee", batches: "Iterator[tuple[torch.Tensor, torch.Tensor]]", timer: Callable[[], float]
) -> int:
    """Train on some batches, or on fewer of them where they take long; returns how many. Ends when the device has."""
    began, done = timer(), 0
    for inputs, labels in batches:
        loss = trainee.step(inputs, labels)
        done += 1
        if timer() - began > TIMED_SECONDS:
            break
    loss.sum().item()
    return done
