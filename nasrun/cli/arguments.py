"""The arguments of the verbs that take flags (compare, export, predict)."""

from argparse import ArgumentParser
from typing import NoReturn

from nasrun.core.options import ConfigError


class Arguments(ArgumentParser):
    """A parser whose complaints are ConfigErrors: one line, exit code 2. Flags are written out in full."""

    def __init__(self, verb: str, usage: str, description: str | None) -> None:
        super().__init__(f"nasrun {verb}", usage=usage, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; usage: {self.usage}")
