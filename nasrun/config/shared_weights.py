"""Checks of runs with shared weights, and of runs that propose derived architectures."""

from nasrun.core import Evaluator, SharedEvaluator, Strategy
from nasrun.core.option_files import option_classes
from nasrun.core.options import ConfigError
from nasrun.hardware.devices import Hardware
from nasrun.strategies.wrappers import Constraints


def check_workers(hardware: Hardware) -> None:
    """ConfigError if a run with shared weights has several workers."""
    if hardware.is_remote:
        named, alone = hardware.named
        raise ConfigError(f"{named}: shared weights are trained and used in one process; choose {alone}")


def check_derived(strategy: Strategy, evaluator: Evaluator, deduplicate: str, constraints: Constraints) -> None:
    """ConfigError if a strategy proposes derived architectures, but the evaluator derives none, does not do so after
    each trial, or they might be rejected."""
    if not strategy.follows_derived:
        return
    if not (isinstance(evaluator, SharedEvaluator) and evaluator.derives):
        raise ConfigError(
            "strategy=derived: this evaluator derives no architectures; choose "
            f"evaluator={' or '.join(evaluators_that_derive())}"
        )
    if evaluator.rounds != 1:
        raise ConfigError(
            f"evaluator.rounds={evaluator.rounds}: strategy=derived proposes one architecture after each epoch; use "
            "evaluator.rounds=1"
        )
    if deduplicate == "resample":
        raise ConfigError(
            "deduplicate=resample: strategy=derived can only propose the derived architecture, which may be the same "
            "for many epochs; use deduplicate=never"
        )
    if constraints.limits:
        [name, limit], *_ = constraints.limits.items()
        raise ConfigError(
            f"constraints.{name}={limit}: strategy=derived ignores limits; use "
            f"constraints.{name}=null, or another strategy"
        )


def evaluators_that_derive() -> list[str]:
    """The options of `evaluator` that derive an architecture."""
    return [name for name, kind in option_classes("evaluator").items() if getattr(kind, "derives", False)]
