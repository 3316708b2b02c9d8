"""The contents of the documentation: its pages, their links and anchors, and their commands as a shell parses them."""

import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, *sorted(DOCS.rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAMS = ("nasrun", "python", "pip")
_SHELL = re.compile(rf"^\s*(?:{'|'.join(_PROGRAMS)}|\./scripts/\w+) ?", re.MULTILINE)
_INLINE = re.compile(rf"`((?:{'|'.join(_PROGRAMS)}|\./scripts/\w+) [^`]+)`")
_PATTERN = re.compile(r"\.\.\.|\b(?:NAME|KEY|VALUE|OPTION|GROUP)\b|nasrun \w+$")
"""Marks code in a sentence that is not a command: a pattern of such commands, or a verb."""
_COMMAND, _TEXT = "\x1e", "\x1d"
"""What stands behind the words of a command, each of which ends in a zero, and behind the commands of a text."""
_RECORDER = f"""#!/bin/sh
{{ printf '%s\\0' "${{0#$PLACE/}}" "$@"; printf '{_COMMAND}'; }} >>"$RECORD"
"""


class Command(NamedTuple):
    """A command of a page: the program, as it was called, and its words."""

    page: str
    program: str
    words: tuple[str, ...]


def fences(page: Path) -> list[tuple[str, str]]:
    """The blocks of code of a page, each with its language, which may be ""."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def extension_files() -> dict[str, str]:
    """The files that docs/extending.md shows, by the names that it gives them."""
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL | re.MULTILINE))


def write_extensions(folder: Path) -> None:
    """Write these files into a folder."""
    for name, text in extension_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """What a page links to."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        count = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in found)
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


def sessions(page: Path) -> list[list[tuple[str, str]]]:
    """The blocks of a page in which commands stand after a `$ `: each command, and what is printed below it."""
    blocks = [text for language, text in fences(page) if not language and text.startswith("$ ")]
    parts = [re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in blocks]
    return [[(part.partition("\n")[0], part.partition("\n")[2]) for part in block] for block in parts]


@cache
def commands() -> list[Command]:
    """The commands of all pages, but for those of `sessions`, each once, in order."""
    texts = [(page, text) for page in PAGES for text in _shell_texts(page)]
    found: dict[tuple[str, ...], Command] = {}
    for (page, _), called in zip(texts, _called([text for _, text in texts]), strict=True):
        for program, *words in called:
            command = Command(str(page.relative_to(ROOT)), program, tuple(words))
            found.setdefault(command[1:], command)
    return list(found.values())


def _shell_texts(page: Path) -> list[str]:
    """The blocks of a page that are for a shell, and the commands in its sentences."""
    blocks = [text for language, text in fences(page) if not language and _SHELL.search(text)]
    inline = [" ".join(text.split()) for text in _INLINE.findall(prose(page))]
    return [
        *(text for text in blocks if not text.startswith("$ ")),
        *(text for text in inline if not _PATTERN.search(text)),
    ]


def _called(texts: list[str]) -> list[list[list[str]]]:
    """The words of the commands that a shell calls in each text: quotes, variables, loops, comments are its business.

    Nothing but `_PROGRAMS` and scripts is there to be called; each writes down its words.
    """
    with tempfile.TemporaryDirectory() as place:
        for name in (*_PROGRAMS, *(f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file())):
            program = Path(place, name)
            program.parent.mkdir(exist_ok=True)
            program.write_text(_RECORDER)
            program.chmod(0o755)
        record = Path(place, "record")
        environment = {"PATH": f"{place}:/usr/bin:/bin", "PLACE": place, "RECORD": str(record), "LANG": "C.UTF-8"}
        script = "".join(f"(set -eu\n{text}\n)\nprintf '{_TEXT}' >>\"$RECORD\"\n" for text in texts)
        subprocess.run(["bash", "-e", "-c", script], cwd=place, env={**os.environ, **environment}, check=True)
        called = [text.split(_COMMAND)[:-1] for text in record.read_text(encoding="utf-8").split(_TEXT)[:-1]]
    return [[command.split("\0")[:-1] for command in text] for text in called]
