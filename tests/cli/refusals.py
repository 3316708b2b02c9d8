"""How a mistake is answered: exit code 2, one line on stderr, nothing on stdout, nothing created or changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_line(answer: Any, fragments: tuple[str, ...]) -> None:
    """The answer is one line that contains these parts."""
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert re.fullmatch(r"nasrun: [^\n]+\n", answer.stderr), answer.stderr
    for fragment in fragments:
        assert fragment in answer.stderr
    assert "Traceback" not in answer.stderr


def check_refused(row: tuple[str, ...], folder: Path, call: Callable[[str], Any]) -> None:
    """The command, the first entry of the row, answers with one line that contains the other entries, and leaves the
    folder unchanged."""
    before = snapshot(folder)
    assert_one_line(call(row[0]), row[1:])
    assert snapshot(folder) == before
