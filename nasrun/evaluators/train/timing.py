"""How long a step of training takes, for estimates of time. torch is imported by what is timed."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nasrun.training.loop import Trainee

WARM_UP_BATCHES = 3
TIMED_BATCHES = 10


def step_seconds(trainee: "Trainee", timer: Callable[[], float]) -> float:
    """Seconds of a step by a clock, the mean of ten after a warm-up of three."""
    batches = itertools.chain.from_iterable(trainee.batches() for _ in itertools.count())
    for inputs, labels in itertools.islice(batches, WARM_UP_BATCHES):
        loss = trainee.step(inputs, labels)
    loss.sum().item()
    started = timer()
    for inputs, labels in itertools.islice(batches, TIMED_BATCHES):
        loss = trainee.step(inputs, labels)
    loss.sum().item()
    return (timer() - started) / TIMED_BATCHES
