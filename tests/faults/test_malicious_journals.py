"""Journals that someone else has made: what makes no sense in them ends in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.faults.foreign_runs import Call, change_journal


def nested(event: Line) -> None:
    """JSON of a depth that a parser's stack does not hold, in a place where anything may stand."""
    if event["event"] == "run":
        event["choices"] = deep


deep: Any = []
for _ in range(800):
    deep = [deep]
CHANGES: dict[str, Callable[[Line], None]] = {
    "a trial that is its own original": lambda event: [p.update(reuse_of=0) for p in event.get("proposals", [])],
    "no such trial": lambda event: event.update(trial=10**30) if "trial" in event else None,
    "no proposals": lambda event: event.update(proposals=None) if "proposals" in event else None,
    "genomes that are none": lambda event: [p.update(genome=[10**30, "x"]) for p in event.get("proposals", [])],
    "metrics that are none": lambda event: event.update(metrics=["x"]) if "metrics" in event else None,
    "metrics of words": lambda event: event.update(metrics={"val_accuracy": "=1+1"}) if "metrics" in event else None,
    "no status": lambda event: event.update(status={"ok": 1}) if "status" in event else None,
    "times that are none": lambda event: event.update(time="yesterday"),
    "events without a kind": lambda event: event.update(event=None),
    "nested": nested,
    "history": lambda event: event.update(history=[{"epoch": 10**400}]) if "metrics" in event else None,
}


@pytest.mark.parametrize("verb", ["resume", "report"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_journal_that_makes_no_sense_ends_in_a_line(
    verb: str, name: str, given: Path, nasrun_inprocess: Call
) -> None:
    change_journal(given, CHANGES[name])
    done = nasrun_inprocess(f"{verb} given")
    assert len(done.stderr.splitlines()) == (1 if done.returncode else 0)
    assert done.returncode in (0, 1, 2)
    if name not in ("nested", "history"):
        assert done.returncode, name


@pytest.mark.parametrize("text", ['{"event":"x","time":Infinity', '{"event":' + "[" * 10**5, '{"event":' + "9" * 5000])
def test_json_that_no_reader_takes_is_damage(text: str, given: Path, nasrun_inprocess: Call) -> None:
    import zlib

    path = given / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b'%s,"crc":%d}\n' % (text.encode(), zlib.crc32(text.encode()))
    path.write_bytes(b"".join(lines))
    done = nasrun_inprocess("report given")
    assert done.returncode in (1, 2)
    assert "journal.jsonl: line 2 is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_journal_cannot_have_a_thousand_million_trials_proposed(given: Path, nasrun_inprocess: Call) -> None:
    change_journal(given, lambda event: event.update(n=10**9) if event["event"] == "ask" else None)
    done = nasrun_inprocess("resume given")
    assert done.returncode == 1
    assert "asks for 1000000000 trials at once" in done.stderr
