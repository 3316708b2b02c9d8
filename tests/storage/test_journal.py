"""The journal: what is appended is read back; a torn tail is cut off; damage anywhere else is refused."""

import json
import zlib
from pathlib import Path

import pytest

from nasrun.storage import journal

EVENTS = [
    {"event": "run", "seed": 3, "time": 1.5},
    {"event": "ask", "n": 1, "proposals": [{"genome": [3, "N", 8], "origin": "swap", "parent": 0}]},
    {"event": "measure", "trial": 0, "error": 'line\nbreak, "quotes", ,"crc":12} and ünïcode'},
]


def written(path: Path, events: list[dict] = EVENTS) -> Path:
    log = journal.Journal(path)
    for event in events:
        log.append_all([event])
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
        assert list(journal.repair(path)) == EVENTS[:-1]
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
        list(journal.repair(path))
    assert path.read_bytes() == before


def test_numbers_that_json_lacks_are_refused_before_they_are_written(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    before = path.read_bytes()
    log = journal.Journal(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append_all([{"event": "measure", "metrics": {"val_accuracy": float("nan")}}])
    assert path.read_bytes() == before


def many(count: int) -> list[dict]:
    return [{"event": "tell", "trial": number, "time": number / 3} for number in range(count)]


@pytest.mark.parametrize("line", [2, journal.TOGETHER, journal.TOGETHER + 1, 2 * journal.TOGETHER + 3])
def test_damage_far_down_is_refused_with_its_number(tmp_path: Path, line: int) -> None:
    path = written(tmp_path / "journal.jsonl", many(3 * journal.TOGETHER))
    assert journal.read(path) == many(3 * journal.TOGETHER)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b"tell", b"told")
    path.write_bytes(b"".join(lines))
    found = journal.lines_of(path)
    told = f"line {line} is damaged; the {line - 1} events before it are intact, with {line - 1} finished"
    with pytest.raises(journal.JournalError, match=told):
        list(found)
    path.write_bytes(b"".join(lines[:line]))
    assert journal.read(path) == many(line - 1)


@pytest.mark.parametrize(
    "content",
    [
        b'{"event":"tell"},{"event":"tell"',
        b'{"event":3',
        b'{"event":"tell","x":NaN',
        b'["event"],{"event":"tell"',
        b'{"event":"tell"}',
        b'{"event":"\xff"',
    ],
)
def test_lines_that_someone_wrote_by_hand_are_damaged_lines(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "journal.jsonl", many(9))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b'%s,"crc":%d}\n' % (content, zlib.crc32(content))
    path.write_bytes(b"".join(lines))
    with pytest.raises(journal.JournalError, match="line 5 is damaged"):
        journal.read(path)
    assert journal.parse(lines[4][:-1]) is None


@pytest.mark.parametrize("length", [0, 3000, 4000, 5000, 100_000])
def test_the_last_line_is_found_however_long_it_is(tmp_path: Path, length: int) -> None:
    long = {"event": "measure", "error": "x" * length}
    path = written(tmp_path / "journal.jsonl", [*EVENTS, long])
    assert journal.last_of(path) == long
    assert journal.last_of(written(tmp_path / "alone.jsonl", [long])) == long
    path.write_bytes(path.read_bytes()[:-1])
    assert journal.last_of(path) is None
    (tmp_path / "empty.jsonl").touch()
    assert journal.last_of(tmp_path / "empty.jsonl") is None


def test_a_journal_that_grows_is_read_on(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", many(400)[:300])
    reader = journal.Reader(path)

    def new() -> tuple[list[dict], bool]:
        lines, anew = reader.read()
        return list(lines), anew

    assert new() == (many(300), True)
    assert new() == ([], False)
    written(path, many(400)[300:])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])  # as a reader sees it that comes in the midst of a write
    assert new() == (many(400)[300:399], False)
    path.write_bytes(whole)
    assert new() == (many(400)[399:], False)
    path.unlink()
    written(path, many(5))
    assert new() == (many(5), True)
