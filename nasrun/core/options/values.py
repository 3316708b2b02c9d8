"""Conversion of a value from a YAML file or the command line to the type of an annotation."""

import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nasrun.core.options.errors import ConfigError, TextExpectedError
from nasrun.core.options.rules import NotEmpty
from nasrun.core.options.text import nearest, show

_TOO_LARGE = 10**308
"""Integers from here on may not fit a float."""

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def check_value(kind: Any, value: Any, path: str) -> Any:
    """`value` converted to `kind`; ConfigError if it has another type or is out of range."""
    if value == "???":
        raise ConfigError(f"{path}: not set; give it as {path}=... ({describe(kind)})")
    try:
        return _convert(kind, value)
    except ValueError as error:
        if isinstance(value, str) or not _takes_text(kind):
            raise ConfigError(f"{path}={show(value)}: {error}") from None
        raise TextExpectedError(path, value, str(error)) from None


def from_text(kind: Any, value: Any) -> Any:
    """The value with its strings parsed, such as "3" to 3, where `kind` does not accept text.

    For values from environment variables, which are always text. Strings that cannot be parsed stay unchanged.
    """
    if isinstance(value, list):
        parts = [argument for argument in _members(kind) if get_origin(argument) is list]
        return [from_text(get_args(parts[0])[0], item) for item in value] if parts else value
    named = any(get_origin(member) is Literal and value in get_args(member) for member in _members(kind))
    return value if named or _takes_text(kind) else decoded(value)


def decoded(value: Any) -> Any:
    """A string parsed as JSON number, boolean, list or null; anything else unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _takes_text(kind: Any) -> bool:
    return any(member in (str, Any) for member in _members(kind))


def _members(kind: Any) -> list[Any]:
    """The members of a union without their rules; any other type is its own single member."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [one for member in get_args(kind) for one in _members(member)]
    return [kind]


def _convert(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        value = _convert(arguments[0], value)
        for rule in arguments[1:]:
            reason = rule.refuse(value) if value is not None else None
            if reason:
                raise ValueError(reason)
        return value
    if origin is Literal:
        if type(value) not in {type(member) for member in arguments}:
            raise ValueError(f"expected {describe(kind)}")
        if value not in arguments:
            raise ValueError(f"unknown; {nearest(str(value), map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value)
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected {describe(kind)}")
        return origin(_convert(arguments[0], item) for item in value)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected {describe(kind)}")
        return {_convert(arguments[0], k): _convert(arguments[1], v) for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _TOO_LARGE else float("inf")
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"expected {describe(kind)}")
    if kind is float and not abs(value) < float("inf"):
        raise ValueError("expected a finite number")
    return value


def _convert_union(members: tuple[Any, ...], value: Any) -> Any:
    """The value converted by the first member that accepts it; if none does, the error of the most specific one."""
    reasons = []
    for member in members:
        try:
            return _convert(member, value)
        except ValueError as error:
            reasons.append(str(error))
    told = [reason for reason in reasons if not reason.startswith("expected")]
    if len(told) == 1 and told[0].startswith("unknown; known") and len(set(members) - {type(None)}) > 1:
        told = []  # the list of words would omit the numbers or lists that are also allowed
    raise ValueError(told[0] if told else f"expected {' or '.join(describe(member) for member in members)}")


def describe(kind: Any) -> str:
    """A description of the allowed values of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        rules = [rule.refuse(float("-inf")) for rule in arguments[1:] if not isinstance(rule, NotEmpty)]
        return " ".join([describe(arguments[0]), *(f"({rule})" for rule in rules if rule)])
    if origin is Literal:
        return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in arguments)
    if origin in (list, tuple):
        return f"a list in [ ], each entry {describe(arguments[0])}"
    if origin is dict:
        return "keys with values"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
