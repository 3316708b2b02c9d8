"""Runs scripts in forks of a process that has imported what most of them need, because importing takes longer than the
scripts."""

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer
from tests.forks import forks
from tests.runner.test_crash import SCRIPTS

Script = Callable[..., Answer]
IMPORTED = (
    "import torch; from nasrun.config import build; from nasrun.runner import run; from nasrun.training import loop"
)


def called(name: str, words: list[str], folder: str) -> tuple[Any, str, str]:
    """The exit code of a script in this process, and what it prints."""
    os.chdir(folder)
    sys.path.insert(0, str(SCRIPTS))
    sys.argv = [str(SCRIPTS / f"{name}.py"), *words]
    output, errors, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
    return code or 0, output.getvalue(), errors.getvalue()


@pytest.fixture(scope="session")
def call_there() -> Iterator[Script]:
    """Calls a script with arguments in a folder, like Python does, without starting Python."""
    with forks(f"{IMPORTED}; from tests.scripts.conftest import called") as process:

        def call(name: str, *words: str | Path, folder: Path) -> Answer:
            return Answer(*process.value(f"called({name!r}, {[*map(str, words)]!r}, {str(folder)!r})"))

        yield call
