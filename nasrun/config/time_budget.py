"""`time=20m`: what such a budget replaces, and what can have one."""

from collections.abc import Sequence

from nasrun.core import Evaluator, Strategy
from nasrun.core.durations import parse_duration
from nasrun.core.options import ConfigError
from nasrun.hardware.devices import Hardware

REPLACED = ("trials", "evaluator.epochs", "evaluator.schedule_epochs", "evaluator.final_epochs")
"""What a budget of time decides."""


def check_words(words: Sequence[str], time: object) -> None:
    """ConfigError where the words of a command line set a budget of time, and also what follows from it."""
    if time is None:
        return
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key in REPLACED:
            raise ConfigError(f"{word}: time={time} decides that; leave one of the two out")


def check_time(time: object, strategy: Strategy, evaluator: Evaluator, hardware: Hardware) -> None:
    """ConfigError where a budget cannot be read, or what is to have one cannot."""
    if isinstance(time, int | float):
        raise ConfigError(f"time={time}: of what? write {time:g}s, {time:g}m or {time:g}h")
    try:
        parse_duration(str(time))
    except ValueError as error:
        raise ConfigError(f"time={time}: {error}") from None
    if not evaluator.trains_on:
        raise ConfigError(f"time={time}: needs evaluator=train, whose trainings can be planned; others take trials=N")
    if strategy.inherits:
        raise ConfigError(
            f"time={time}: trains the best on from their own weights, so that children have none to inherit; use "
            "strategy.inherit=none, or trials=N in place of the time"
        )
    if strategy.uses_checkpoints or strategy.budgets or strategy.length is not None:
        raise ConfigError(
            f"time={time}: {type(strategy).__name__} has budgets of its own; choose a strategy without, such as "
            "aging_evolution or random: the best are then trained on by themselves"
        )
    if hardware.clock == "cpu" and hardware.is_remote:
        named, alone = hardware.named
        raise ConfigError(f"hardware.clock=cpu: counts one process, and {named} has others; choose {alone}")
