"""How long a step of training takes, for estimates of time. torch is imported by what is timed."""

import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nasrun.training.loop import Trainee

WARM_UP_BATCHES = 3
TIMED_BATCHES = 10


def step_seconds(trainee: "Trainee") -> float:
    """Seconds of a step, the mean of ten after a warm-up of three."""
    batches = itertools.chain.from_iterable(trainee.batches() for _ in itertools.count())
    for inputs, labels in itertools.islice(batches, WARM_UP_BATCHES):
        loss = trainee.step(inputs, labels)
    loss.sum().item()
    started = time.monotonic()
    for inputs, labels in itertools.islice(batches, TIMED_BATCHES):
        loss = trainee.step(inputs, labels)
    loss.sum().item()
    return (time.monotonic() - started) / TIMED_BATCHES
