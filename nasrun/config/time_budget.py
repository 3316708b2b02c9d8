"""Checks of a time budget (`time=20m`)."""

from collections.abc import Sequence

from nasrun.core import Evaluator, Strategy
from nasrun.core.durations import parse_duration
from nasrun.core.options import ConfigError
from nasrun.hardware.devices import Hardware

REPLACED = ("trials", "evaluator.epochs", "evaluator.schedule_epochs", "evaluator.final_epochs")
"""Keys that a time budget decides."""


def check_words(words: Sequence[str], time: object) -> None:
    """ConfigError if a command line sets a time budget and also a key that it decides."""
    if time is None:
        return
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key in REPLACED:
            raise ConfigError(f"{word}: time={time} decides that; leave one of the two out")


def check_time(time: object, strategy: Strategy, evaluator: Evaluator, hardware: Hardware) -> None:
    """ConfigError if a time budget cannot be parsed, or cannot be combined with the other options."""
    if isinstance(time, int | float):
        raise ConfigError(f"time={time}: no unit; write {time:g}s, {time:g}m or {time:g}h")
    try:
        parse_duration(str(time))
    except ValueError as error:
        raise ConfigError(f"time={time}: {error}") from None
    if not evaluator.trains_on:
        raise ConfigError(f"time={time}: needs evaluator=train; use trials=N with other evaluators")
    if strategy.inherits:
        raise ConfigError(
            f"time={time}: is not supported with inherited weights; use "
            "strategy.inherit=none, or trials=N instead of time"
        )
    if strategy.uses_checkpoints or strategy.budgets or strategy.length is not None:
        raise ConfigError(
            f"time={time}: {type(strategy).__name__} sets its own training lengths; choose another strategy, such as "
            "aging_evolution or random; nasrun then trains the best networks further by itself"
        )
    if hardware.clock == "cpu" and hardware.is_remote:
        named, alone = hardware.named
        raise ConfigError(f"hardware.clock=cpu: counts a single process, but {named} has several; choose {alone}")
