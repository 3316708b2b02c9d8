"""Parsing of `key=value` words in Hydra's override grammar, with extensions.

nasrun also accepts plain values outside that grammar, such as the path `~/data/Übung (1).npz`, by quoting them.
"""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.config import trackers
from nasrun.config.help import suggest
from nasrun.core.options import ConfigError, TextExpectedError, decoded, first_line, parts_of

_UNREADABLE = "cannot be read; expected key=value (quote characters that are special to the shell)"

_CALL = re.compile(r"(bool|choice|float|glob|int|interval|range|shuffle|sort|str|tag)\(.*\)", re.DOTALL)
"""A value that calls one of Hydra's functions: if it cannot be parsed, it is an error and not plain text."""

_REFERENCE = re.compile(r"\$\{[^{}]*\}")

SHORT = {"objective": "metric", "prescreen": "score"}
"""Sections that accept a short form, with the key that it sets."""


def in_full(words: Sequence[str]) -> list[str]:
    """The words expanded for Hydra.

    `objective=NAME` becomes `objective.metric=NAME` (`SHORT`), because a section cannot be replaced by a name or a
    list. Keys below `vars` may be new. Values outside Hydra's grammar are quoted, separately if there are several.
    `tracker.KEY` becomes `tracker.NAME.KEY` for the selected tracker. Other words are unchanged.
    """
    return trackers.in_full([_in_full(word) for word in words])


def parse(words: Sequence[str]) -> list[Override]:
    """Parse words; ConfigError names a word that is not of the form key=value."""
    parsed = []
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word}: neither a verb nor key=value; {suggest(word)}")
        override = _parsed(word)
        if override is None or not override.key_or_group:
            raise ConfigError(f"{word}: {_UNREADABLE}")
        parsed.append(override)
    return parsed


def text_of(override: Override) -> str:
    """The word from which an override was parsed."""
    assert override.input_line is not None
    return override.input_line


def refuse_several(overrides: Sequence[Override]) -> None:
    """ConfigError for a word with several values, which a single run cannot have."""
    for override in overrides:
        if override.is_sweep_override():
            word = text_of(override)
            raise ConfigError(
                f"{word}: several values are a sweep; add -m (in Python: nasrun.sweep){_as_one(override)}"
            )


def values_of(overrides: Sequence[Override], loader: ConfigLoader) -> dict[str, list[str]]:
    """For each key of a sweep one word per value, in order. If a key is given twice, the later word counts.

    An interval is represented by its ends. `loader` provides the options of the groups.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key, word = override.get_key_element(), text_of(override)
        if not override.is_sweep_override():
            values[key] = [word]
            continue
        override.config_loader = loader
        try:
            listed = _ends(override) if override.is_interval_sweep() else list(override.sweep_string_iterator())
        except (HydraException, ValueError, TypeError) as error:
            raise ConfigError(f"{word}: cannot be swept ({first_line(error)})") from error
        if not listed:
            raise ConfigError(f"{word}: matches nothing")
        value, count = Counter(listed).most_common(1)[0]
        if count > 1 and not override.is_interval_sweep():
            raise ConfigError(f"{word}: has the value {value} twice; leave one of them out")
        values[key] = [f"{key}={value}" for value in listed]
    return values


def refuse_intervals(words: Sequence[str]) -> None:
    """ConfigError for an interval, from which only a sweeper draws, where the values of a sweep are combined."""
    for override in parse(in_full(words)):
        if override.is_interval_sweep():
            values = f"{override.get_key_element()}={','.join(_ends(override))}"
            raise ConfigError(f"{text_of(override)}: needs a sweeper that draws; list values: {values}")


def as_values(words: Sequence[str]) -> dict[str, Any]:
    """A mapping of dotted keys to values from `key=value` words, with references to environment variables resolved."""
    values: dict[str, Any] = {}
    for word in words:
        key, separator, _ = word.partition("=")
        if not separator or not key:
            raise ConfigError(f"{word}: expected key=value")
        (override,) = parse(in_full([word]))
        refuse_several([override])
        try:
            value = OmegaConf.create({"value": override.value()})
            resolved = OmegaConf.to_container(value, resolve=True)["value"]  # type: ignore[call-overload,index]
        except OmegaConfBaseException as error:
            raise ConfigError(f"{word}: cannot be read ({first_line(error)})") from error
        # Environment variables are text.
        values[override.key_or_group] = decoded(resolved) if "${" in word else resolved
    return values


def quoted(word: str) -> str:
    """A word whose value is quoted, so that it is read as one text."""
    key, _, value = word.partition("=")
    # Messages put words in single quotes for the shell; double quotes are easier to read inside.
    quote = Quote.single if '"' in value else Quote.double
    return f"{key}={QuotedString(text=value, quote=quote).with_quotes()}"


def as_typed(error: TextExpectedError, words: Sequence[str]) -> ConfigError:
    """The error with the word as it was typed (Hydra parsed it as another type), and how to type it as text."""
    for word in reversed(words):
        key, _, value = word.lstrip("+").partition("=")
        if key == error.key and "${" not in value:
            return ConfigError(f"{key}={value}: {error.reason}; in quotes: {shlex.quote(quoted(f'{key}={value}'))}")
    return error


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _parsed(word: str) -> Override | None:
    try:
        return _parser().parse_override(word)
    except (OverrideParseException, HydraException):
        return None


def _in_full(word: str) -> str:
    key, separator, value = word.partition("=")
    if not separator or word.startswith("="):
        return word
    if (key == "vars" or key.startswith("vars.")) and _parsed(f"++{key}=0") is not None:
        key = f"++{key}"
    full = f"{key}={_readable(value)}"
    if key in SHORT:
        override = _parsed(full)
        if override is not None and (override.is_sweep_override() or isinstance(override.value(), str | list)):
            return f"{key}.{SHORT[key]}={full.partition('=')[2]}"
    return full


def _readable(value: str) -> str:
    """The value in Hydra's grammar, with quotes around parts that it cannot parse."""
    if not value or _parsed(f"key={value}") is not None or _CALL.fullmatch(value) or _half_reference(value):
        return value
    parts = parts_of(value)
    if len(parts) > 1:
        return ",".join(map(_readable, parts))
    inner = parts_of(value[1:-1])
    if value[0] + value[-1] == "[]":
        return f"[{','.join(map(_readable, inner))}]"
    if value[0] + value[-1] == "{}" and all(":" in part for part in inner):
        pairs = (part.partition(":") for part in inner)
        return "{" + ",".join(f"{name}:{_readable(content.strip())}" for name, _, content in pairs) + "}"
    return quoted(f"={value}")[1:]


def _half_reference(value: str) -> bool:
    """Whether a value contains an unclosed `${`, which is always a mistake."""
    while (rest := _REFERENCE.sub("", value)) != value:
        value = rest
    return "${" in value


def _ends(override: Override) -> list[str]:
    """The ends of an interval, as integers if possible; the sweeper decides which type it draws."""
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    ends = [float(end) for end in (interval.start, interval.end) if end is not None]
    return [str(int(end)) if end.is_integer() else str(end) for end in ends]


def _as_one(override: Override) -> str:
    """How to type several values as one text, if the option might accept one."""
    sweep = override.value()
    if "." not in override.key_or_group or not isinstance(sweep, ChoiceSweep) or not sweep.simple_form:
        return ""
    texts = [value.text if isinstance(value, QuotedString) else value for value in sweep.list]
    if not all(isinstance(text, str) for text in texts):
        return ""
    word = f"{override.get_key_element()}={','.join(map(str, texts))}"
    return f"; as one text: {shlex.quote(quoted(word))}"
