"""The journal: what is appended is read back; a torn tail is cut off; damage anywhere else is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core import Measurement, Proposal
from nasrun.storage import journal

EVENTS = [
    {"event": "run", "seed": 3, "time": 1.5},
    {"event": "ask", "n": 1, "proposals": [{"genome": [3, "N", 8], "origin": "swap", "parent": 0}]},
    {"event": "measure", "trial": 0, "error": 'line\nbreak, "quotes", ,"crc":12} and ünïcode'},
]


def written(path: Path, events: list[dict] = EVENTS) -> Path:
    log = journal.Journal(path)
    for event in events:
        log.append(**event)
    log.close()
    return path


def test_reads_back_what_was_appended(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    assert journal.read(path) == EVENTS
    assert all("crc" in json.loads(line) for line in path.read_text().splitlines())


def test_a_tail_cut_anywhere_loses_only_the_last_event(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl").read_bytes()
    before = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(before, len(whole)):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(whole[:end])
        assert journal.read(path) == EVENTS[:-1]
        assert journal.repair(path) == EVENTS[:-1]
        assert path.read_bytes() == whole[:before]
        written(path, EVENTS[-1:])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [1, 2])
@pytest.mark.parametrize("offset", [0, 5, -2])
def test_a_changed_byte_in_an_earlier_line_is_refused_with_its_number(tmp_path: Path, line: int, offset: int) -> None:
    path = written(tmp_path / "journal.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = bytearray(lines[line - 1])
    damaged[offset if offset >= 0 else len(damaged) + offset - 1] ^= 1
    lines[line - 1] = bytes(damaged)
    path.write_bytes(b"".join(lines))
    before = path.read_bytes()
    with pytest.raises(journal.JournalError, match=rf"line {line} is damaged; the {line - 1} events before"):
        journal.repair(path)
    assert path.read_bytes() == before


def test_numbers_that_json_lacks_are_refused_before_they_are_written(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    before = path.read_bytes()
    log = journal.Journal(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append("measure", metrics={"val_accuracy": float("nan")})
    assert path.read_bytes() == before


tokens = st.one_of(st.integers(-5, 600), st.text(max_size=8))
metrics = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3)


@given(
    st.builds(
        Proposal,
        st.lists(tokens, max_size=9).map(tuple),
        metrics,
        st.none() | st.integers(1, 9),
        st.none() | st.integers(0, 99),
        st.sampled_from(["none", "continue", "inherit"]),
        st.text(max_size=9),
        st.none() | st.integers(0, 99),
    )
)
def test_proposals_survive_json(proposal: Proposal) -> None:
    text = json.dumps(journal.proposal_to_json(proposal))
    assert journal.proposal_from_json(json.loads(text)) == proposal


@given(
    st.builds(
        Measurement,
        st.integers(0, 99),
        st.integers(0, 9),
        st.sampled_from(["ok", "failed", "infeasible"]),
        metrics,
        st.none() | st.text(max_size=20),
        st.floats(0, 1e6),
        st.lists(metrics, max_size=3),
    )
)
def test_measurements_survive_json(measurement: Measurement) -> None:
    event = json.loads(json.dumps(journal.measurement_to_json(measurement)))
    restored = journal.measurement_from_json({"event": "measure", "time": 1.0, **event})
    assert restored._replace(history=list(restored.history)) == measurement
