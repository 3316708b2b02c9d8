"""The plan of a time budget: how many architectures are trained, how long each, and the time left for the winner.

The sizes of known networks follow from measured runs (`docs/time.md`); the other constants are reasoned from short
training runs by hand.
"""

from collections.abc import Mapping
from math import ceil, log2
from typing import Any, NamedTuple

from nasrun.core import Genome

ALONE = 120
"""If there is time for at most this many epochs of the whole data, all the time goes to one network."""
SHARE_PER_DOUBLING = 0.08
MOST_SHARE = 0.5
"""Share of the time spent on networks that do not win: 0 at `ALONE` epochs, more for each doubling, at most this."""
ENOUGH = 300
"""Epochs after which further training of the winner gains little: the remaining time goes to the search."""
ETA = 3
"""One in this many architectures continues to the next rung."""
FIRST_RUNG = 1 / 27
"""Minimum share of the winner's training that an architecture gets before it is compared."""
UNITS = 60
"""Minimum number of epochs that the time is divided into; for large data, an epoch is then a part of the data."""
LEAST_IMAGES, ROUND = 1024, 128
"""Minimum images of such an epoch, and the number that they are a multiple of."""


class Plan(NamedTuple):
    """How the training time is spent.

    - `candidates`: number of architectures to begin.
    - `rungs`: cumulative seconds of training of an architecture at each rung, lowest first.
    - `survivors`: number of architectures that reach each rung.
    - `repeats`: number of the best of the lowest rung that are trained a second time with another seed, which shows how
      noisy the scores are.
    - `horizon`: seconds of the chosen network's training, from its first epoch to its last; learning rates follow a
      schedule over it.
    - `epoch_images`: images that count as an epoch; None: the whole training part.
    - `alone`: the architecture that replaces the strategy's first known one if there is time for only one; else None.
    - `share`: share of the steering limits that networks are fitted to; below 1 if there is no time for larger ones.
    - `threads`: threads of each training run; None if the run has no choice.
    """

    candidates: int
    rungs: tuple[float, ...]
    survivors: tuple[int, ...]
    repeats: int
    horizon: float
    epoch_images: int | None
    alone: Genome | None = None
    share: float = 1.0
    threads: int | None = None

    @property
    def trials(self) -> int:
        """Total number of trials."""
        return self.candidates + self.repeats + sum(self.survivors[1:])


def make_plan(
    seconds: float, epoch_seconds: float, images: int, workers: float = 1, alone: Genome | None = None
) -> Plan:
    """The plan for a number of seconds of training.

    `epoch_seconds`: seconds of a pass over the training part, of `images` images, for a network of the usual size, or
    for the one that is `alone`. `workers`: number of training runs at a time in the search, divided by those of each
    architecture; the winner trains alone.
    """
    epochs = seconds / epoch_seconds
    epoch_images = None
    if epochs < UNITS:
        epoch_images = max(LEAST_IMAGES, ceil(images * epochs / UNITS / ROUND) * ROUND)
        epoch_images = epoch_images if epoch_images < images else None
    if alone is not None:
        return Plan(1, (seconds * FIRST_RUNG,), (1,), 0, seconds, epoch_images, alone)
    share = min(MOST_SHARE, max(0.0, SHARE_PER_DOUBLING * log2(epochs / ALONE))) if epochs > ALONE else 0.0
    share = max(share, 1 - ENOUGH / epochs)
    horizon = seconds * (1 - share)
    best = Plan(1, (horizon * FIRST_RUNG,), (1,), 0, horizon, epoch_images)
    spare = seconds * share
    for candidates in range(2, 100_000):
        plan = _plan(candidates, horizon, epoch_images)
        if _cost(plan, workers) - plan.rungs[-1] / workers > spare:
            break
        best = plan
    return best


def _plan(candidates: int, horizon: float, epoch_images: int | None) -> Plan:
    """A plan with as many rungs as make sense for a number of architectures: the last has two or more.

    Two architectures are compared only at what would be the second rung: the lowest says little about which is better.
    """
    survivors = [candidates]
    while survivors[-1] > 2 and len(survivors) < 3:
        survivors.append(max(2, survivors[-1] // ETA))
    first = FIRST_RUNG * horizon * (ETA if candidates == 2 else 1)
    rungs = tuple(first * ETA**rung for rung in range(len(survivors)))
    repeats = min(3, candidates // 4)
    return Plan(candidates, rungs, tuple(survivors), repeats, horizon, epoch_images)


def _cost(plan: Plan, workers: float = 1) -> float:
    """Seconds that the search of a plan takes."""
    return search_seconds(plan) / workers


def search_seconds(plan: Plan, begun: int | None = None) -> float:
    """Seconds of training in the search of a plan, all networks together, with `begun` of them at the lowest rung."""
    total = plan.rungs[0] * ((plan.candidates if begun is None else begun) + plan.repeats)
    for below, rung, survivors in zip(plan.rungs, plan.rungs[1:], plan.survivors[1:], strict=False):
        total += survivors * (rung - below)
    return total


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as the fields of an event."""
    return plan._asdict()


def plan_from_json(fields: Mapping[str, Any]) -> Plan:
    """The plan that `plan_to_json` wrote."""
    values = {name: fields[name] for name in Plan._fields if name in fields}
    tuples = {name: tuple(values[name]) for name in ("rungs", "survivors", "alone") if values.get(name) is not None}
    return Plan(**{**values, **tuples})
