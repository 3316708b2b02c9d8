"""Objects of a program that calls nasrun, in the place of options that a config names by class."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from nasrun.core.options import ConfigError, first_line

T = TypeVar("T")

MARK = "_given_"
"""The key of a stored section whose object only the program has that started the run."""


class Section(dict[str, Any]):
    """A section of a checked config that stands for an object: written down as where its class lies.

    `thing`: the object, or what is called with the arguments that the runner hands to a constructor.
    """

    def __init__(self, content: Mapping[str, Any], thing: Any) -> None:
        super().__init__(content)
        self.thing = thing

    def make(self, group: str, base: type[T], runtime: Sequence[Any]) -> T:
        """The object, a kind of `base`; classes and functions are called with `runtime`. ConfigError if it is none."""
        made = self.thing
        if not isinstance(made, base) and callable(made):
            try:
                made = made(*runtime)
            except ValueError as error:
                raise ConfigError(f"{group}: {first_line(error)}") from error
        if not isinstance(made, base):
            path = self["_target_"]
            raise ConfigError(f"{group}={path}: expected a {base.__name__}, or what makes one; see docs/api.md")
        return made


class Given:
    """A class, an object or a function that makes one, for one group of options.

    Classes that other programs can import are written into the config like any; of other things the config says that
    only the program that started the run has them.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        named = (
            thing if isinstance(thing, type) or (callable(thing) and hasattr(thing, "__qualname__")) else type(thing)
        )
        self.path = f"{named.__module__}.{named.__qualname__}"
        importable = isinstance(thing, type) and "<" not in self.path and named.__module__ != "__main__"
        self.section = Section({"_target_": self.path, **({} if importable else {MARK: True})}, thing)
