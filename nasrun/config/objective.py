"""The section `objective` of a config: one or several metrics with their directions."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from nasrun.core import Evaluator, Objective
from nasrun.core.options import ConfigError, NotEmpty, nearest, show
from nasrun.evaluators.costs import COSTS

LOW_IS_GOOD = ("loss", "error", "regret", "parameters", "flops", "seconds", "epochs", "energy", "co2eq", "latency")
"""Words in the names of metrics for which lower is better."""

Mode = Literal["auto", "max", "min"]


@dataclass(kw_only=True, frozen=True)
class ObjectiveOptions:
    """The metric, or list of metrics, to optimise; `auto`: the first metric of the evaluator, in its better direction.

    With several metrics, `mode` and `reference` are lists with one entry per metric. `reference`: the reference point
    of the hypervolume of a front; None: the worst values measured.
    """

    metric: str | Annotated[list[str], NotEmpty()] = "auto"
    mode: Mode | list[Mode] = "auto"
    reference: float | list[float] | None = None

    @property
    def metrics(self) -> list[str]:
        """The metrics as they are named in the config."""
        return [self.metric] if isinstance(self.metric, str) else self.metric

    def resolved(self, evaluator: Evaluator) -> Objective:
        """The objective with metrics and directions resolved; ConfigError if the evaluator does not report a metric."""
        given = show(self.metric)
        names = [evaluator.metrics[0] if name == "auto" else name for name in self.metrics]
        for name in names:
            if name not in evaluator.metrics:
                known, which = (
                    nearest(name, {*evaluator.metrics, *evaluator.optional_metrics, *COSTS}),
                    "" if name == given else f"{name} is ",
                )
                raise ConfigError(f"objective.metric={given}: {which}not reported by this evaluator; {known}")
        if len(set(names)) < len(names):
            raise ConfigError(f"objective.metric={given}: {', '.join(names)}: the same metric twice")
        modes = self.mode if isinstance(self.mode, list) else [self.mode] * (len(names) if self.mode == "auto" else 1)
        references: list[float | None] = [None] * len(names)
        if self.reference is not None:
            references = [*self.reference] if isinstance(self.reference, list) else [self.reference]
        for key, values in (("mode", modes), ("reference", references)):
            if len(values) != len(names):
                raise ConfigError(
                    f"objective.{key}={show(getattr(self, key))}: expected one for each metric, {len(names)} in [ ], "
                    f"with objective.metric={given}"
                )
        first, *others = [
            Objective(name, mode if mode != "auto" else _better(name), (), reference)
            for name, mode, reference in zip(names, modes, references, strict=True)
        ]
        return replace(first, others=tuple(others))


def _better(metric: str) -> Literal["max", "min"]:
    """The better direction of a metric, from its name."""
    return "min" if any(word in LOW_IS_GOOD for word in metric.split("_")) else "max"
