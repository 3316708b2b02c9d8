"""Objects of a program that calls nasrun, which replace options that a config names by class."""

import hashlib
import sys
from collections.abc import Mapping, Sequence, Set
from functools import partial
from types import CodeType, FunctionType
from typing import Any, TypeVar

import numpy as np
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
        if made is base:
            raise ConfigError(f"{group}={self['_target_']}: is the interface; give a class that is derived from it")
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
    only in the program that started the run, and their fingerprint, by which a sweep finds its runs.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        named = (
            thing if isinstance(thing, type) or (callable(thing) and hasattr(thing, "__qualname__")) else type(thing)
        )
        self.path = f"{named.__module__}.{named.__qualname__}"
        importable = isinstance(thing, type) and named.__module__ != "__main__" and _found(self.path) is thing
        self.section = Section({"_target_": self.path, **({} if importable else {MARK: fingerprint(thing)})}, thing)


DEEPEST = 6
"""Levels of objects in objects that a fingerprint describes."""


def fingerprint(thing: Any) -> str:
    """Tells objects of the same class, and functions of the same place, apart; the same in every process.

    Of a function: its code, defaults, and the plain values that it refers to. Of an object: its attributes.
    """
    return hashlib.sha256(repr(_described(thing)).encode()).hexdigest()[:12]


def _described(thing: Any, depth: int = 0) -> Any:
    """A description of plain values; of what lies deeper than `DEEPEST`, and of other objects, the class alone."""
    if thing is None or isinstance(thing, str | bytes | int | float):
        return thing
    if depth == DEEPEST:
        return _path(type(thing))
    if isinstance(thing, list | tuple):
        return [_described(one, depth + 1) for one in thing]
    if isinstance(thing, Mapping):
        return sorted(repr(_described(pair, depth)) for pair in thing.items())
    if isinstance(thing, Set):
        return sorted(repr(_described(one, depth + 1)) for one in thing)
    if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        return thing.shape, str(thing.dtype), hashlib.sha256(thing.tobytes()).hexdigest()
    if isinstance(thing, type):
        return _path(thing)
    if isinstance(thing, CodeType):
        return thing.co_code, thing.co_names, _described(thing.co_consts, depth + 1)
    if isinstance(thing, FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        # Of the names in its code plain values alone: other objects may change from call to call.
        named = [thing.__globals__.get(name) for name in thing.__code__.co_names]
        used = [*cells, *(value for value in named if isinstance(value, str | bytes | int | float))]
        return [_described(one, depth + 1) for one in (thing.__code__, thing.__defaults__, thing.__kwdefaults__, used)]
    if isinstance(thing, partial):
        return [_described(one, depth + 1) for one in (thing.func, thing.args, thing.keywords)]
    return _path(type(thing)), _described(getattr(thing, "__dict__", {}), depth + 1)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


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
