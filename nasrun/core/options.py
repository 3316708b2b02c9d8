"""Options and their types: the signature of a class is the schema of its YAML.

Whatever a class lets its YAML set are the keyword-only arguments of its constructor, and the fields of those that are
settings objects; their annotations say what is allowed: `int`, `float`, `bool`, `str`, `Literal[...]`, `list[...]`,
`tuple[..., ...]`, unions with None or others, and `Annotated[...]` with one of the ranges below. This module imports
nothing of nasrun.
"""

import difflib
import inspect
import json
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from omegaconf import DictConfig


class ConfigError(Exception):
    """A config that cannot be run. Its text is one line: the key, the bad value, and what would be right."""


class TextExpectedError(ConfigError):
    """A value that is no text where text may stand. `key`: the dotted key; `reason`: what is wrong with the value."""

    def __init__(self, key: str, value: Any, reason: str) -> None:
        quotes = "" if value is None else f"; in quotes: {shlex.quote(_in_quotes(key, value))}"
        super().__init__(f"{key}={show(value)}: {reason}{quotes}")
        self.key, self.reason = key, reason


@dataclass(frozen=True)
class AtLeast:
    """A number of at least `low`."""

    low: float

    def refuse(self, value: Any) -> str | None:
        return None if value >= self.low else f"must be at least {self.low}"


@dataclass(frozen=True)
class Above:
    """A number above `low`."""

    low: float

    def refuse(self, value: Any) -> str | None:
        return None if value > self.low else f"must be above {self.low}"


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included unless `open_high`."""

    low: float
    high: float
    open_high: bool = False

    def refuse(self, value: Any) -> str | None:
        if self.low == self.high:
            return None if value == self.low else f"must be {self.low}"
        inside = self.low <= value < self.high if self.open_high else self.low <= value <= self.high
        top = f"below {self.high}" if self.open_high else f"{self.high}"
        return None if inside else f"must be from {self.low} to {top}"


@dataclass(frozen=True)
class NotEmpty:
    """A list or string with something in it, and nothing twice."""

    def refuse(self, value: Any) -> str | None:
        if not value:
            return "must not be empty"
        if isinstance(value, list) and len(set(value)) < len(value):
            return "must not hold the same entry twice"
        return None


@dataclass(frozen=True)
class IsPath:
    """Text that names a file or folder. A run that is opened again finds one that was given relative to the working
    directory (`nasrun.storage.paths`). `names`: words that are no path but stand for something else."""

    names: tuple[str, ...] = ()

    def refuse(self, value: Any) -> str | None:
        return None


Positive = Annotated[int, AtLeast(1)]
FilePath = Annotated[str, IsPath()]
Fraction = Annotated[float, Between(0, 1)]

_TOO_LARGE = 10**308
"""Whole numbers from here on may not fit a float."""

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known word closest to `word`, else the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else "none are known here"


def options(cls: type) -> dict[str, inspect.Parameter]:
    """The keyword-only constructor arguments of a class, with resolved annotations.

    An argument that is a settings object (a dataclass with keyword-only fields) stands for its fields: these are the
    options, on the same level as the others, and their defaults are those of the object that is the argument's own.
    A `**settings` argument stands for the options of the class that the attribute `Settings` names; those that the
    attribute `automatic` lists may also be `auto`.
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
    """The options that a settings object stands for."""
    known = options(kind)
    if default is inspect.Parameter.empty:
        return known
    return {name: parameter.replace(default=getattr(default, name)) for name, parameter in known.items()}


def gathered(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor of a class for some options: those of a settings object are gathered in it.

    ValueError, beginning with the key, where a settings object refuses them.
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
    """The `IsPath` of an annotation, also where it is a member of a union."""
    if get_origin(kind) is Annotated:
        return next((rule for rule in get_args(kind)[1:] if isinstance(rule, IsPath)), None)
    if get_origin(kind) in (Union, types.UnionType):
        return next((rule for rule in map(_path_rule, get_args(kind)) if rule is not None), None)
    return None


def check_section(cls: type, values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The arguments of the constructor of `cls` for the values of one config group; ConfigError names a bad key."""
    checked = check_options(cls, values, path)
    try:
        return gathered(cls, checked)
    except ValueError as error:
        raise ConfigError(join(path, first_line(error))) from error


def check_options(cls: type, values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The values of one config group, checked and converted to the types of `cls`; ConfigError names a bad key."""
    known = options(cls)
    for name in values:
        if name not in known:
            raise ConfigError(f"{join(path, name)}: no such key; {nearest(str(name), known)}")
    for name, parameter in known.items():
        if name not in values and parameter.default is inspect.Parameter.empty:
            raise ConfigError(f"{join(path, name)}: missing; expected {describe(parameter.annotation)}")
    return {name: check_value(known[name].annotation, value, join(path, name)) for name, value in values.items()}


def check_value(kind: Any, value: Any, path: str) -> Any:
    """`value` as `kind`; ConfigError where it is of another type or outside of the range."""
    if value == "???":
        raise ConfigError(f"{path}: not set; give it as {path}=... ({describe(kind)})")
    try:
        return _convert(kind, value)
    except ValueError as error:
        if isinstance(value, str) or not _takes_text(kind):
            raise ConfigError(f"{path}={show(value)}: {error}") from None
        raise TextExpectedError(path, value, str(error)) from None


def from_text(kind: Any, value: Any) -> Any:
    """The value with the texts in it read as what they say, such as 3 for "3", where `kind` takes no text.

    For what comes from a variable of the environment, which holds text only. What cannot be read stays as it is.
    """
    if isinstance(value, list):
        parts = [argument for argument in _members(kind) if get_origin(argument) is list]
        return [from_text(get_args(parts[0])[0], item) for item in value] if parts else value
    named = any(get_origin(member) is Literal and value in get_args(member) for member in _members(kind))
    return value if named or _takes_text(kind) else decoded(value)


def decoded(value: Any) -> Any:
    """A text as the number, truth value, list or null that it says (as in JSON); anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _takes_text(kind: Any) -> bool:
    return any(member in (str, Any) for member in _members(kind))


def _members(kind: Any) -> list[Any]:
    """The members of a union, ranges left out; of any other type, itself."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [one for member in get_args(kind) for one in _members(member)]
    return [kind]


def _in_quotes(path: str, value: Any) -> str:
    """An option as it is typed where its value is to be taken as text."""
    text = _typed(value)
    return f"{path}='{text}'" if '"' in text else f'{path}="{text}"'


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
    """The first member that takes the value; where none does, what the member of the value's own kind says."""
    reasons = []
    for member in members:
        try:
            return _convert(member, value)
        except ValueError as error:
            reasons.append(str(error))
    told = [reason for reason in reasons if not reason.startswith("expected")]
    if len(told) == 1 and told[0].startswith("unknown; known") and len(set(members) - {type(None)}) > 1:
        told = []  # the few words beside a number or a list are not all that may stand there
    raise ValueError(told[0] if told else f"expected {' or '.join(describe(member) for member in members)}")


def describe(kind: Any) -> str:
    """What a value of this type looks like, in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        rules = [rule.refuse(float("-inf")) for rule in arguments[1:] if not isinstance(rule, NotEmpty)]
        return " ".join([describe(arguments[0]), *(f"that {rule}" for rule in rules if rule)])
    if origin is Literal:
        return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in arguments)
    if origin in (list, tuple):
        return f"a list in [ ], each entry {describe(arguments[0])}"
    if origin is dict:
        return "keys with values"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def show(value: Any) -> str:
    """A config value as it is typed on the command line, cut where it is long."""
    text = printable(" ".join(_typed(value).split()))
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """The text without line breaks and without what a terminal would obey, as in names of files: "?" in its place."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def shell_command(*words: object) -> str:
    """A command of nasrun's that can be pasted into a shell, for messages that say what to type."""
    return shlex.join(["nasrun", *(f"./{word}" if _looks_like_a_flag(word) else str(word) for word in words)])


def _looks_like_a_flag(word: object) -> bool:
    """Whether a word is a path that would be taken for a flag."""
    return isinstance(word, PurePath) and str(word).startswith("-")


def _typed(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_typed(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_typed, value)) + "]"
    return {"True": "true", "False": "false", "None": "null"}.get(repr(value), str(value))


def join(path: str, name: Any) -> str:
    """The dotted path of a key."""
    return f"{path}.{name}" if path else str(name)


def flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones, with their values."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, join(path, name)) if isinstance(value, Mapping) else {join(path, name): value}
    return found


def plain(config: "DictConfig") -> dict[str, Any]:
    """A config as plain dicts and lists, interpolations resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        content = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {first_line(error)}") from error
    assert isinstance(content, dict)
    return {str(name): value for name, value in content.items()}


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def parts_of(value: str) -> list[str]:
    """The parts of a value between its commas, but for those inside of brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for character in value:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and not parts[-1].strip():
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if character == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts
