"""How a budget of time is spent: on how many architectures, how long each, and how much is left for the winner.

The numbers here are reasoned from short trainings by hand, and not yet chosen by measuring whole runs (`docs/time.md`).
"""

from collections.abc import Mapping
from math import ceil, log2
from typing import Any, NamedTuple

from nasrun.core import Genome

ALONE = 120
"""Trainings of the whole data, in epochs, up to which all the time goes to one network."""
SHARE_PER_DOUBLING = 0.08
MOST_SHARE = 0.5
"""What is spent on networks that do not win: nothing for `ALONE` epochs, so much more for each doubling, at most so
much."""
ENOUGH = 300
"""Epochs after which the training of the winner gains little: the time beyond goes to the search."""
ETA = 3
"""One in so many architectures goes on to the next rung."""
FIRST_RUNG = 1 / 27
"""Of the winner's training, what an architecture gets at least before it is compared."""
UNITS = 60
"""Epochs that the time is divided into at least: of large data, an epoch is then a part of them."""
LEAST_IMAGES, ROUND = 1024, 128
"""Images that such an epoch has at least, and what their number is a multiple of."""


class Plan(NamedTuple):
    """How the time for training is spent.

    `candidates`: architectures that are begun. `rungs`: seconds of training that an architecture has had in all at each
    rung, lowest first. `survivors`: architectures that reach each rung. `repeats`: the best of the lowest rung that are
    trained a second time with another seed, which tells how noisy the scores are. `horizon`: seconds of training of
    the network that is chosen, from its first epoch to its last; learning rates follow a schedule over that.
    `epoch_images`: images that count as an epoch; None: all of the training part. `alone`: the architecture that is
    trained in place of the first known one that a strategy begins with, where there is time for no other; else None.
    `share`: of the limits that steer, what networks are fitted to; below 1 where there is no time for larger ones.
    `threads`: of each training; None where the run has no choice.
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
        """Trials in all."""
        return self.candidates + self.repeats + sum(self.survivors[1:])


def make_plan(
    seconds: float, epoch_seconds: float, images: int, workers: float = 1, alone: Genome | None = None
) -> Plan:
    """The plan for so many seconds of training.

    `epoch_seconds`: what a pass over the training part, of so many `images`, takes a network of the usual size, or
    the one that is to be `alone`. `workers`: trainings at a time in the search, divided by those of each architecture;
    the winner's is one.
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
    """A plan with as many rungs as so many architectures make sense of: at the last there are two or more.

    Two alone are compared at what would be the second: the lowest tells little of which is better.
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
    """Seconds of training in the search of a plan, all networks together; with `begun` of them at the lowest rung."""
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
