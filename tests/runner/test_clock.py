"""The start of a time budget."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasrun.runner.clock import BEGAN, process_start

ROOT = Path(__file__).resolve().parents[2]
TOLD = "from nasrun.runner.clock import process_start; print(process_start().wall)"
TOLERANCE = 0.4
"""Seconds: the system counts in hundredths, and a busy one may do other things between two looks at a clock."""


def began(*command: str, **environment: str) -> float:
    """The start time that a process reports for itself."""
    env = {name: value for name, value in os.environ.items() if name != BEGAN} | environment
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)


def test_a_process_begins_when_it_is_started() -> None:
    before = time.monotonic()
    assert before - TOLERANCE <= began(sys.executable, "-c", TOLD) <= time.monotonic()


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="the system does not say when a process began")
def test_setting_up_the_environment_is_no_part_of_a_budget(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "nasrun", tmp_path / "scripts" / "nasrun")
    done = f'{sys.executable} -c "import time; print(time.monotonic())" >{tmp_path}/done'
    for name, line in (
        ("scripts/setup", f"sleep 1; {done}"),
        (".venv/bin/nasrun", f"exec {sys.executable} -c '{TOLD}'"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    when = began(str(tmp_path / "scripts" / "nasrun"))
    assert when >= float((tmp_path / "done").read_text()) - TOLERANCE


@pytest.mark.parametrize("said", ["0", "-5", "nan", "inf", "1e18", "soon", ""])
def test_what_cannot_be_is_not_believed(said: str) -> None:
    before = time.monotonic()
    assert before - TOLERANCE <= began(sys.executable, "-c", TOLD, **{BEGAN: said}) <= time.monotonic()


def test_a_process_that_was_started_later_began_later(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = process_start().wall
    monkeypatch.setenv(BEGAN, "1.0")  # long before this process
    assert abs(process_start().wall - mine) <= TOLERANCE
