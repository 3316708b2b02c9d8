"""The section `constraints`: the user's limits and their effect on a search."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from nasrun.core import Evaluator, Objective, SearchSpace, Task, seeding
from nasrun.core.options import Above, ConfigError, Positive, show
from nasrun.evaluators.costs import COSTS, WithCosts
from nasrun.strategies.steering import SteeredSpace, Steering
from nasrun.strategies.wrappers import UNITS, Constraints

CONSTRAINT_SAMPLES = 10_000
"""Number of random architectures of which one must satisfy the constraints; ten times the consecutive rejections that
`Constrain` allows."""


@dataclass(kw_only=True, frozen=True)
class ConstraintOptions:
    """Maximum costs of an architecture; `auto`: the default limit of the search space.

    The default limit depends on the image size (`SearchSpace.flops_limit_for`), and does not apply if the user sets any
    limit. `model_bytes` and `peak_memory` are bytes of the weights, and of the activations in memory at a time, with
    `bits` per number. `latency_ms` is measured by the evaluator (`nasrun.evaluators.costs`), the others are computed by
    formula. `steer`: proposals are scaled to the user's limits (`nasrun.strategies.steering`); otherwise architectures
    over a limit are only rejected.
    """

    parameters: Positive | None = None
    flops: Positive | Literal["auto"] | None = "auto"
    model_bytes: Positive | None = None
    peak_memory: Positive | None = None
    bits: Literal[32, 16, 8] = 32
    latency_ms: Annotated[float, Above(0)] | None = None
    steer: bool = True

    @property
    def own(self) -> bool:
        """Whether the user sets a limit."""
        given = (self.parameters, self.model_bytes, self.peak_memory, self.latency_ms)
        return self.flops not in ("auto", None) or any(limit is not None for limit in given)

    def resolved(self, space: SearchSpace, task: Task) -> Constraints:
        """The limits of costs computed by formula; None: no limit."""
        given = Constraints(
            parameters=self.parameters, model_bytes=self.model_bytes, peak_memory=self.peak_memory, bits=self.bits
        )
        if self.flops != "auto":
            return replace(given, flops=self.flops)
        bound = None if self.own else space.flops_limit_for(task)
        return replace(given, flops=bound, automatic=bound is not None)

    def steered(self, space: SearchSpace, task: Task, objective: Objective, evaluator: Evaluator) -> SearchSpace:
        """The space seen by a strategy: genomes with widths are scaled to the user's limits.

        If a cost is an objective, cheaper networks are wanted too, so limits only make networks smaller. The default
        limit scales nothing: it only rejects networks that would take long.
        """
        rng = seeding.generator(0, seeding.Purpose.PREVIEW)
        if not (self.steer and self.own) or not space.width_positions(space.sample(rng)):
            return space
        latency = None
        if self.latency_ms is not None and isinstance(evaluator, WithCosts):
            latency = (self.latency_ms, evaluator.predicted_latency)
        grow = not any(one.metric in COSTS for one in objective.all)
        return SteeredSpace(space, Steering(space, task, self.resolved(space, task), latency=latency, grow=grow))


def check_constraints(constraints: Constraints, space: SearchSpace, task: Task, seed: int) -> None:
    """ConfigError if no architecture of a large random sample satisfies the constraints."""
    limits = constraints.limits
    if not limits:
        return
    rng = seeding.generator(seed, seeding.Purpose.PREVIEW)
    if constraints.peak_memory is not None and space.peak_values(space.sample(rng), task) is None:
        raise ConfigError(
            f"constraints.peak_memory={constraints.peak_memory}: this search space has no formula for it; "
            "choose staged_cnn, sequential_cnn or mlp"
        )
    smallest = dict.fromkeys(limits, float("inf"))
    for _ in range(CONSTRAINT_SAMPLES // space.draws):
        price = constraints.price(space, space.sample(rng), task)
        if constraints.allow(price):
            return
        measured = constraints.measured(price)
        smallest = {name: min(least, measured[name]) for name, least in smallest.items()}
    given = " ".join(f"constraints.{name}={limit}" for name, limit in limits.items())
    found = " and ".join(_least(name, least) for name, least in smallest.items())
    raise ConfigError(
        f"{given}: none of {CONSTRAINT_SAMPLES:,} random architectures is that small; the smallest among them: {found}"
    )


def _least(name: str, value: float) -> str:
    return f"{name} {value:,}" if UNITS[name] == "bytes" else f"{value:,} {name}"


def check_start(strategy: Mapping[str, Any], constraints: Constraints, space: SearchSpace, task: Task) -> None:
    """ConfigError if a genome in the user's `strategy.start` is over a limit: it would never be evaluated."""
    start = strategy.get("start")
    for text in start if isinstance(start, list) else ():
        exceeded = constraints.exceeded(constraints.price(space, space.parse(str(text)), task))
        if exceeded:
            raise ConfigError(f"strategy.start={show([text])}: over {' and '.join(exceeded)}")
