"""Validation of arguments of the public functions, with one-line errors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nasrun.core.options import ConfigError, show


def words_of(overrides: Any) -> list[str]:
    """The `key=value` words of a call; ConfigError if they are not a list of strings."""
    example = "'trials=50'"
    if isinstance(overrides, str):
        example = f"'{overrides}'"
    elif isinstance(overrides, Mapping) and overrides:
        key, value = next(iter(overrides.items()))
        example = f"'{key}={show(value)}'"
    elif isinstance(overrides, Sequence) and all(isinstance(word, str) for word in overrides):
        return list(overrides)
    raise ConfigError(f"{show(overrides)}: expected a list of words, as in [{example}]")


def finite(value: Any, what: str, otherwise: str = "") -> float:
    """A number as float; ValueError, in one line, if it is not a finite number. `otherwise`: advice for the message."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor with several numbers
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{what} is {' '.join(repr(value).split())[:60]}; expected a finite number{otherwise}")
    return number
