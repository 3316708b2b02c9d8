"""Latencies of networks that were not measured, predicted from some that were: so that a limit can steer a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasrun.core import Genome, SearchSpace, Task, seeding

CALIBRATION = 24
"""Architectures that are measured."""

OUTLIERS = 4
"""Of those, so many are left out that fit the others least: other work on the machine, mostly."""


MARGIN = 1.5
"""In spreads: about one network in fifteen takes longer than is predicted."""


@dataclass(frozen=True)
class LatencyModel:
    """Milliseconds as a sum: a constant, so much per layer, per FLOP and per parameter, none of them negative.

    `spread`: the standard deviation of what was measured from what is predicted, as a share of the latter.
    """

    constant: float
    layer: float
    flop: float
    parameter: float
    spread: float

    @classmethod
    def measured(cls, space: SearchSpace, task: Task, latency: Callable[[Genome], float]) -> "LatencyModel":
        """The model of some architectures drawn from a space, the same ones for every seed; `latency` measures one."""
        rng = seeding.generator(0, seeding.Purpose.PREVIEW)
        genomes = [space.sample(rng) for _ in range(CALIBRATION)]
        times = np.array([latency(genome) for genome in genomes])
        rows = np.array([features(space, genome, task) for genome in genomes])
        errors = np.abs(times / (rows @ _non_negative(rows / times[:, None])) - 1)
        kept = np.argsort(errors, kind="stable")[: CALIBRATION - OUTLIERS]
        times, rows = times[kept], rows[kept]
        weights = _non_negative(rows / times[:, None])
        spread = float(np.std(times / (rows @ weights) - 1))
        constant, layer, flop, parameter = map(float, weights)
        return cls(constant, layer, flop, parameter, spread)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "LatencyModel":
        """The model that `dataclasses.asdict` wrote down."""
        return cls(**{name: float(value) for name, value in record.items()})

    def predict(self, space: SearchSpace, genome: Genome, task: Task) -> float:
        """Milliseconds for one image: above the mean by `MARGIN`, for most networks are to be within a limit."""
        weights = (self.constant, self.layer, self.flop, self.parameter)
        mean = sum(weight * value for weight, value in zip(weights, features(space, genome, task), strict=True))
        return mean * (1 + MARGIN * self.spread)


def features(space: SearchSpace, genome: Genome, task: Task) -> Sequence[float]:
    """What a latency is made of: 1, layers, FLOPs, parameters."""
    cost = space.cost(genome, task)
    return 1.0, float(space.layers(genome)), float(cost.flops), float(cost.parameters)


def _non_negative(rows: np.ndarray) -> np.ndarray:
    """Weights, none of them negative, whose sum over the columns of each row is nearest to 1.

    Columns whose weight would be negative are left out one by one, the most negative first. The rows were divided by
    what is to be predicted, so that errors count as shares of it.
    """
    scale = np.abs(rows).max(0)
    columns = list(range(rows.shape[1]))
    weights = np.zeros(rows.shape[1])
    while columns:
        found = np.linalg.lstsq(rows[:, columns] / scale[columns], np.ones(len(rows)), rcond=None)[0]
        if found.min() >= 0:
            weights[columns] = found / scale[columns]
            return weights
        columns.pop(int(found.argmin()))
    return weights
