"""Validation of arguments of the public functions, with one-line errors."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.config.given import Given
from nasrun.core.home import at_home
from nasrun.core.option_files import option_classes
from nasrun.core.options import ConfigError, brief, show
from nasrun.spaces.recipe_genes import KEY as GENES

GROUPS = ("search_space", "strategy", "evaluator", "dataset")
"""Config groups that can be replaced by objects of the caller."""

NAME_BYTES = 255
"""No file system that nasrun is used on has longer names."""


def given_of(group: str, part: Any) -> Given:
    """An object of the caller, or a class or function that makes one; ConfigError if it is neither."""
    if group not in GROUPS:
        known = f"expected one of {', '.join(GROUPS)}"
        how = f"; other settings are words: ['{group}={show(part)}']" if isinstance(part, int | float) else ""
        raise ConfigError(f"{group}: not expected; {known}{how}")
    if isinstance(part, type) and part.__module__.startswith("nasrun."):
        names = [name for name, kind in option_classes(group).items() if kind is part]
        if names:  # the defaults of a constructor are those of earlier versions' runs
            raise ConfigError(
                f"{group}={part.__name__}: give the name of its option: {group}={' or '.join(map(repr, names))}"
            )
    if isinstance(part, str):
        raise ConfigError(
            f"{group}={show(part)}: leave it out, since the run's record names it; only objects are given"
        )
    if part is None or isinstance(part, int | float | list | tuple | dict):
        raise ConfigError(f"{group}={brief(part)}: expected the name of an option, a class, an object or a function")
    return Given(part)


def refuse_beside(keys: Iterable[str], given: Mapping[str, Given]) -> None:
    """ConfigError if a key is a group that an object replaces, or one of its settings, which the object has already."""
    for key in keys:
        group, _, setting = key.partition(".")
        if group not in given or key.startswith(f"search_space.{GENES}"):  # genes go around any space
            continue
        if not setting:
            raise ConfigError(f"{group}: given twice, as a word and as an object; leave one of them out")
        name = given[group].path.rpartition(".")[2]
        made = name if name.isidentifier() and isinstance(given[group].thing, type) else "MyClass"
        raise ConfigError(
            f"{key}: not used, since {group} is given as an object; give the settings to its constructor, as in "
            f"{group}=lambda *parts: {made}(*parts, {setting}=...)"
        )


def refuse_twice(words: Sequence[str]) -> None:
    """ConfigError if words choose an option of a group twice; of other keys the last one counts, as in a shell."""
    chosen: dict[str, str] = {}
    for word in words:
        group, _, option = word.partition("=")
        if group in GROUPS and chosen.setdefault(group, option) != option:
            raise ConfigError(f"{group}: given twice, as {chosen[group]} and as {option}; leave one of them out")


def keys_in(words: Iterable[str]) -> list[str]:
    """The keys of `key=value` words."""
    return [word.lstrip("+~").partition("=")[0] for word in words]


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


def is_plain(value: Any) -> bool:
    """Whether a config can hold a value."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float)


def plain_number(value: Any) -> Any:
    """A number of numpy as Python's; other values as they are."""
    return value.item() if isinstance(value, np.generic) else value


def directory_of(given: Any, what: str = "the path of a directory") -> Path:
    """A directory, with the home folder in place of a `~` at its start; ConfigError where what is given is no path, or
    no home folder is known. `what`: words for what is expected."""
    if isinstance(given, str) or (isinstance(given, os.PathLike) and isinstance(os.fspath(given), str)):
        directory = at_home(given)
        if "\0" in str(directory) or any(len(os.fsencode(name)) > NAME_BYTES for name in directory.parts):
            raise ConfigError(f"{brief(given)}: not the name of a directory (too long, or has a null byte)")
        return directory
    raise ConfigError(f"{brief(given)}: expected {what}, as in 'outputs/run'")


def keys_of(given: Any, name: str) -> list[str]:
    """Keys of the config, from one of them or several; ConfigError where they are none. `name`: of the argument."""
    keys = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not all(isinstance(key, str) for key in keys):
        raise ConfigError(f"{name}={brief(given)}: expected a key of the config or a list of them, as in ['strategy']")
    return keys


def finite(value: Any, what: str, otherwise: str = "") -> float:
    """A number as float; ValueError, in one line, if it is not a finite number. `otherwise`: advice for the message."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor with several numbers
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{what} is {brief(value)}; expected a finite number{otherwise}")
    return number
