"""A clock that is set back or forward while a run goes on, or between a stop and its resume."""

import csv
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.storage.records import read_run
from tests.faults.runs import QUICK, Process, cut, results, run

YEAR = 365 * 24 * 3600.0
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

# The clock of the wall in one process: what it says jumps with every trial, back or far ahead.
JUMPING = """
import sys, time
real, calls = time.time, 0
def jumping():
    global calls
    calls += 1
    return real() + (-1) ** calls * calls * 1e6
time.time = jumping
from nasrun.cli.main import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole") / "run", "trials=2000")


@pytest.mark.parametrize("kind", ["replaced", *(["library"] if LIBRARY else [])])
def test_a_clock_that_jumps_changes_nothing(kind: str, whole: Path, tmp_path: Path) -> None:
    """With a clock that is replaced in the process, and with libfaketime if installed."""
    words = (*QUICK, "trials=2000", "hydra.run.dir=run")
    started = time.monotonic()
    if kind == "replaced":
        process = Process(tmp_path, *words, program=[sys.executable, "-c", JUMPING])
    else:
        clock = tmp_path / "clock"
        clock.write_text("+0")
        process = Process(
            tmp_path,
            *words,
            LD_PRELOAD=str(LIBRARY),
            FAKETIME_TIMESTAMP_FILE=str(clock),
            FAKETIME_NO_CACHE="1",
            DONT_FAKE_MONOTONIC="1",
        )
        for told, jump in ((1, "-3d"), (400, "+900d"), (800, "-20y"), (1200, "+0")):
            process.wait_for(tmp_path / "run", "tell", told)
            clock.write_text(jump)
    assert process.end() == (0, "")
    elapsed = time.monotonic() - started
    assert results(tmp_path / "run") == results(whole)
    events = journal.read(tmp_path / "run" / journal.NAME)
    assert all(one["time"] <= other["time"] for one, other in pairwise(events))
    assert 0 < json.loads((tmp_path / "run" / "summary.json").read_text())["wall_seconds"] <= elapsed


@pytest.mark.parametrize("jump", [-30 * YEAR, 30 * YEAR])
def test_a_clock_that_is_set_between_stop_and_resume(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run(tmp_path / "run", "trials=30")
    wanted = results(directory)
    cut(directory, "tell", 12)
    monkeypatch.setattr(journal, "CLOCK_START", journal.CLOCK_START + jump)
    resume(directory, {})
    assert results(directory) == wanted
    assert 0 < json.loads((directory / "summary.json").read_text())["wall_seconds"] < 60
    seconds = read_run(directory).told_at
    assert all(0 <= one <= other < 60 for one, other in pairwise(seconds))


def test_journals_whose_times_go_backwards_are_read(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    """As older versions wrote them: a time that goes back takes nothing away from the times before it."""
    for name, sign in (("back", -1), ("zigzag", 1)):
        directory = run(tmp_path / name, "trials=30", f"seed={sign + 1}")
        events = journal.read(directory / journal.NAME)
        for position, event in enumerate(events):
            event["time"] = 1e9 + sign * position * (-1) ** position - (position if sign < 0 else 0)
        (directory / journal.NAME).write_bytes(b"".join(map(journal.line_of, events)))
        assert read_run(directory).wall_seconds >= 0
        seconds = read_run(directory).told_at
        assert all(0 <= one <= other for one, other in pairwise(seconds))
    before = results(tmp_path / "zigzag")
    for words in ("report zigzag", "compare back zigzag"):
        assert nasrun_inprocess(words).returncode == 0
    assert results(tmp_path / "zigzag") == before
    with (tmp_path / "compare" / "curves_seconds.csv").open() as file:
        assert min(float(row["seconds"]) for row in csv.DictReader(file)) >= 0
