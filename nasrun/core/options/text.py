"""Keys and values as shown in messages and typed on the command line."""

import difflib
import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

BRIEF = 60
"""Maximum number of characters of an object in a message."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` for the known word closest to `word`, else the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else "none are known here"


def show(value: Any) -> str:
    """A config value as typed on the command line, shortened if it is long."""
    text = printable(" ".join(typed(value).split()))
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """The text with line breaks and control characters replaced by "?"."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def shell_command(*words: object) -> str:
    """A nasrun command that can be pasted into a shell, for messages."""
    return shlex.join(["nasrun", *(f"./{word}" if _looks_like_a_flag(word) else str(word) for word in words)])


def _looks_like_a_flag(word: object) -> bool:
    """Whether a word is a path that would be read as a flag."""
    return isinstance(word, PurePath) and str(word).startswith("-")


def typed(value: Any) -> str:
    """A config value as typed on the command line."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{typed(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(typed, value)) + "]"
    return {"True": "true", "False": "false", "None": "null"}.get(repr(value), str(value))


def join(path: str, name: Any) -> str:
    """The dotted path of a key."""
    return f"{path}.{name}" if path else str(name)


def flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested keys flattened to dotted ones, with their values."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, join(path, name)) if isinstance(value, Mapping) else {join(path, name): value}
    return found


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def error_line(error: object, most: int = 200) -> str:
    """The whole text of an error in one line of at most `most` characters, or the name of its type."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def type_and_text(error: BaseException) -> str:
    """The type and the text of an error in one line, for errors of code that is not nasrun's."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")


def brief(value: object) -> str:
    """An object as part of a message: its representation, shortened to `BRIEF` characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 3]}..."


def parts_of(value: str) -> list[str]:
    """Split a value at its commas, except those inside brackets or quotes."""
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
