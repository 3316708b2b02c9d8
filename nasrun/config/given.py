"""Objects of a program that calls nasrun, which replace options that a config names by class."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig

from nasrun.core.options import ConfigError, first_line
from nasrun.storage.stored_config import MARK

T = TypeVar("T")


class Section(dict[str, Any]):
    """A config section that represents an object; it is stored as the path of the object's class.

    `thing`: the object, or a callable that receives the runner's constructor arguments.
    """

    def __init__(self, content: Mapping[str, Any], thing: Any) -> None:
        super().__init__(content)
        self.thing = thing

    def make(self, group: str, base: type[T], runtime: Sequence[Any]) -> T:
        """The object, an instance of `base`; classes and functions are called with `runtime`. ConfigError if it is not
        one."""
        made = self.thing
        wrong = isinstance(made, type) and not issubclass(made, base)
        if not isinstance(made, base) and callable(made) and not wrong:
            try:
                made = made(*runtime)
            except ValueError as error:
                raise ConfigError(f"{group}: {first_line(error)}") from error
            except TypeError as error:  # an abstract class, or other arguments than those that it is called with
                raise ConfigError(f"{group}={self['_target_']}: {first_line(error)}; see docs/api.md") from error
        if not isinstance(made, base):
            path = self["_target_"]
            raise ConfigError(
                f"{group}={path}: expected {_article(base)} {base.__name__}, or a callable that makes one; "
                "see docs/api.md"
            )
        return made


class Given:
    """An object, or a class or function that makes one, for one config group.

    Importable classes are stored in the config like any other. For other objects the config records that they exist
    only in the program that started the run.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        named = (
            thing if isinstance(thing, type) or (callable(thing) and hasattr(thing, "__qualname__")) else type(thing)
        )
        self.path = f"{named.__module__}.{named.__qualname__}"
        importable = isinstance(thing, type) and named.__module__ != "__main__" and _found(self.path) is thing
        self.section = Section({"_target_": self.path, **({} if importable else {MARK: True})}, thing)


def check_same(config: DictConfig, given: Mapping[str, Given]) -> None:
    """ConfigError if an object is given for a group whose class the stored config of a run names, and is of another."""
    for group, one in given.items():
        stored = config.get(group)
        if isinstance(stored, DictConfig) and not stored.get(MARK) and stored.get("_target_") != one.path:
            name = stored.get("_target_")
            raise ConfigError(f"{group}={one.path}: leave it out; the run's record names {name}")


def _found(path: str) -> Any:
    """What an imported module has at a path; None if it has nothing there."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _article(base: type) -> str:
    return "an" if base.__name__[0] in "AEIOU" else "a"
