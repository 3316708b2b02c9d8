"""The options of a class, from the signature of its constructor, and the validation of config sections."""

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nasrun.core.options.errors import ConfigError
from nasrun.core.options.rules import IsPath
from nasrun.core.options.text import first_line, join, nearest
from nasrun.core.options.values import check_value, describe


def options(cls: type) -> dict[str, inspect.Parameter]:
    """The keyword-only constructor arguments of a class, with resolved annotations.

    An argument that is a settings object (a dataclass with keyword-only fields) stands for its fields: they are options
    on the same level as the others, with defaults from the argument's default object. A `**settings` argument stands
    for the options of the class that the attribute `Settings` names; those that the attribute `automatic` lists may
    also be `auto`.
    """
    init = cls.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(init, include_extras=True)
    known: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(init).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and is_dataclass(hints.get(name)):
            known |= _fields(hints[name], parameter.default)
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            known[name] = parameter.replace(annotation=hints.get(name, Any))
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD and hasattr(cls, "Settings"):
            known |= options(cls.Settings)
    for name in getattr(cls, "automatic", ()):
        known[name] = known[name].replace(annotation=known[name].annotation | Literal["auto"])
    return known


def _fields(kind: type, default: Any) -> dict[str, inspect.Parameter]:
    """The options of a settings object."""
    known = options(kind)
    if default is inspect.Parameter.empty:
        return known
    return {name: parameter.replace(default=getattr(default, name)) for name, parameter in known.items()}


def gathered(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a class for some options; options of a settings object are collected into it.

    ValueError, starting with the key, if a settings object rejects them.
    """
    hints = typing.get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    found = dict(values)
    for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
        kind = hints.get(name)
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or not is_dataclass(kind):
            continue
        own = {key: found.pop(key) for key in options(kind) if key in found}  # type: ignore[arg-type]
        if own or parameter.default is inspect.Parameter.empty:
            base = {} if parameter.default is inspect.Parameter.empty else vars(parameter.default)
            found[name] = kind(**{**base, **own})  # type: ignore[operator]
    return found


def paths(cls: type) -> dict[str, IsPath]:
    """The options of a class that name a file or folder."""
    found = {name: _path_rule(parameter.annotation) for name, parameter in options(cls).items()}
    return {name: rule for name, rule in found.items() if rule is not None}


def _path_rule(kind: Any) -> IsPath | None:
    """The `IsPath` rule of an annotation, also inside a union."""
    if get_origin(kind) is Annotated:
        return next((rule for rule in get_args(kind)[1:] if isinstance(rule, IsPath)), None)
    if get_origin(kind) in (Union, types.UnionType):
        return next((rule for rule in map(_path_rule, get_args(kind)) if rule is not None), None)
    return None


def check_section(cls: type, values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Constructor arguments of `cls` for the values of a config section; ConfigError names an invalid key."""
    checked = check_options(cls, values, path)
    try:
        return gathered(cls, checked)
    except ValueError as error:
        raise ConfigError(join(path, first_line(error))) from error


def check_options(cls: type, values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The values of a config section, checked and converted to the types of `cls`; ConfigError names an invalid key."""
    known = options(cls)
    for name in values:
        if name not in known:
            raise ConfigError(f"{join(path, name)}: no such key; {nearest(str(name), known)}")
    for name, parameter in known.items():
        if name not in values and parameter.default is inspect.Parameter.empty:
            raise ConfigError(f"{join(path, name)}: missing; expected {describe(parameter.annotation)}")
    return {name: check_value(known[name].annotation, value, join(path, name)) for name, value in values.items()}
