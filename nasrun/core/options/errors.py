"""A config that cannot be run."""

import shlex
from typing import Any

from nasrun.core.options.text import show, typed


class ConfigError(Exception):
    """A config that cannot be run. Its text is one line: the key, the invalid value, and what is expected."""


class TextExpectedError(ConfigError):
    """A value of another type where text is allowed. `key`: the dotted key; `reason`: what is wrong with the value."""

    def __init__(self, key: str, value: Any, reason: str) -> None:
        quotes = "" if value is None else f"; in quotes: {shlex.quote(_in_quotes(key, value))}"
        super().__init__(f"{key}={show(value)}: {reason}{quotes}")
        self.key, self.reason = key, reason


def _in_quotes(path: str, value: Any) -> str:
    """An option as typed on the command line so that its value is read as text."""
    text = typed(value)
    return f"{path}='{text}'" if '"' in text else f'{path}="{text}"'
