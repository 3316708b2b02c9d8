"""The write-ahead log of a run: `journal.jsonl`, append-only, the single source of truth.

Each line is a JSON object whose last key is the CRC-32 of the text before it. An event is passed to the operating
system before it takes effect, so that a killed process loses nothing. It is forced to disk at once after a long trial,
and at least ten times a second otherwise. An incomplete last line is removed before the next append; damage elsewhere
is an error with the line number (`nasrun.runner.salvage` recovers the intact part).

Lines are events (`nasrun.storage.events`).
"""

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from nasrun import __version__
from nasrun.core.options import ConfigError, error_line, shell_command

if TYPE_CHECKING:
    from nasrun.storage.event_base import Event

NAME = "journal.jsonl"
FORMAT = 2
"""The journal format of this version: 1 before nasrun was split into packages (`nasrun.core.renamed`), 2 since then.
Older formats can be read; newer ones are rejected."""
SYNC_SECONDS = 0.1
TOGETHER = 256
"""Number of lines read at a time."""
FSYNC_AFTER_SECONDS = 0.01


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a valid number")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_no_number).decode

Line = dict[str, Any]
"""A line as its JSON object; `nasrun.storage.events` interprets it."""


CLOCK_START = time.time() - time.monotonic()
"""Seconds since 1970 at which the monotonic clock was 0, by the wall clock at the start of this process."""


def now() -> float:
    """Seconds since 1970: wall-clock time at the start of this process, plus monotonic time since then."""
    return CLOCK_START + time.monotonic()


class JournalError(Exception):
    """The journal is damaged or malformed; the text names the file and the line."""


class NewerFormatError(JournalError, ConfigError):
    """The journal is from a newer version of nasrun; the text says what to do."""


class OutputError(OSError):
    """A file of the run cannot be written, or is missing. This is not the fault of an architecture, so no trial
    fails."""


class Journal:
    """Appends events to a journal file, which must be intact (see `repair`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._synced = time.monotonic()

    def append(self, *events: "Event", fsync: bool = False) -> None:
        """Write events, one line each, with a single system call; OSError (disk full) passes through."""
        self.append_all([event.to_json() for event in events], fsync=fsync)

    def append_all(self, lines: Sequence[Line], *, fsync: bool = False) -> None:
        """Write lines with a single system call; OSError (disk full, see also `check`) passes through.

        `fsync`: force the lines to disk before returning, because the recorded work took long.
        """
        text = b"".join(map(line_of, lines))
        written = os.write(self._file, text)
        if written < len(text):
            raise OSError(28, f"only {written} of {len(text)} bytes of a journal event could be written")
        moment = time.monotonic()
        if fsync or moment - self._synced >= SYNC_SECONDS:
            os.fdatasync(self._file)
            self._synced = moment
            self.check()

    def check(self) -> None:
        """OutputError if the open file is no longer the one at its path."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._file)):
            raise OutputError(f"{self._path.parent} was deleted, moved or replaced during the run")

    def close(self) -> None:
        """Force everything to disk and close."""
        try:
            os.fdatasync(self._file)
        finally:
            os.close(self._file)


def line_of(line: Line) -> bytes:
    """The bytes of a line: JSON with the CRC-32 of its text as the last key."""
    text = _encode(line)[:-1].encode()
    return b'%s,"crc":%d}\n' % (text, zlib.crc32(text))


def read(path: Path) -> list[Line]:
    """All lines of a journal, without an incomplete last one; JournalError names a damaged line."""
    return list(lines_of(path))


def lines_of(path: Path) -> Iterator[Line]:
    """The lines one by one, as a generator: there may be millions."""
    return (line for line, _ in _scan(path))


def last_of(path: Path) -> Line | None:
    """The last line, read from the end of the file; None if it is not a complete event."""
    with path.open("rb") as file:
        size, length = file.seek(0, os.SEEK_END), 4096
        while True:
            length = min(length, size)
            file.seek(size - length)
            end = file.read(length)
            place = end.rfind(b"\n", 0, -1)
            if place >= 0 or length == size:
                return parse(end[place + 1 : -1]) if end.endswith(b"\n") else None
            length *= 2


def repair(path: Path) -> Iterator[Line]:
    """The lines of a journal one by one; afterwards an incomplete last line is removed, so that events can be
    appended."""
    whole = 0
    for line, end in _scan(path):
        whole = end
        yield line
    if path.stat().st_size > whole:
        os.truncate(path, whole)


class Reader:
    """Reads the new lines of a growing journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._end, self._lines, self._told, self._inode = 0, 0, 0, -1

    def read(self) -> tuple[Iterator[Line], bool]:
        """The complete lines added since the last call, as an iterator, and whether they start at the beginning of a
        file: on the first call, and after the file was replaced. JournalError names a damaged line when it is reached;
        OSError if there is no file."""
        status = self._path.stat()
        if status.st_ino != self._inode or status.st_size < self._end:
            self._forget()
            self._inode = status.st_ino
        return self._new(), self._end == 0

    def _new(self) -> Iterator[Line]:
        for line, end in _scan(self._path, self._end, self._lines, self._told):
            self._end, self._lines, self._told = end, self._lines + 1, self._told + (line["event"] == "tell")
            yield line


def _scan(path: Path, start: int = 0, before: int = 0, told: int = 0) -> Iterator[tuple[Line, int]]:
    """Lines with the offsets of their ends, from the offset `start` on, which follows `before` lines and `told` trials.
    Lines appended in the meantime are not read."""
    end, number = start, before
    with path.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size
        file.seek(start)
        while end < whole and (texts := list(islice(file, TOGETHER))):
            for text, line in zip(texts, parse_all(texts), strict=True):
                end += len(text)
                number += 1
                if end > whole or not text.endswith(b"\n") or (line is None and end == whole):
                    return
                if line is None:
                    raise JournalError(
                        f"{path}: line {number} is damaged; the {number - 1} events before it are intact, with "
                        f"{told} finished trials; recover them with: "
                        f"{shell_command('resume', '--salvage', path.parent)}"
                    )
                if number == 1:
                    check_format(line, path)
                told += line["event"] == "tell"
                yield line, end


def check_format(header: Line, path: Path) -> None:
    """NewerFormatError if the first event of a journal has a format newer than this version's."""
    written = header.get("format", 1)
    if isinstance(written, int) and written > FORMAT:
        raise NewerFormatError(
            f"{path}: journal format {written}, of nasrun {header.get('nasrun')}; this version, {__version__}, reads "
            f"formats up to {FORMAT}: update nasrun"
        )


def parse(line: bytes) -> Line | None:
    """The JSON object of a line, from its bytes without the newline; None if it is damaged."""
    text = _checked(line)
    return None if text is None else _object_of(text)


def parse_all(lines: Sequence[bytes]) -> Sequence[Line | None]:
    """The JSON objects of several lines, parsed together if all are intact, which takes half the time."""
    texts = [_checked(line[:-1]) for line in lines]
    if None not in texts:
        with contextlib.suppress(ValueError, RecursionError):
            found: list[Line] = _decode(f"[{','.join(map(str, texts))}]")
            # A line written by hand could end one object and start another.
            if len(found) == len(lines) and all(map(_is_event, found)):
                return found
    return [None if text is None else _object_of(text) for text in texts]


def _checked(line: bytes) -> str | None:
    """The JSON object of a line without its checksum; None if the checksum is wrong."""
    text, found, tail = line.rpartition(b',"crc":')
    if not found or not tail.endswith(b"}") or not tail[:-1].isdigit() or int(tail[:-1]) != zlib.crc32(text):
        return None
    try:
        return text.decode() + "}"
    except ValueError:  # the checksum is right, so the line was written by hand
        return None


def _object_of(text: str) -> Line | None:
    try:
        found = _decode(text)
    except (ValueError, RecursionError):
        return None
    return found if _is_event(found) else None


def _is_event(found: object) -> TypeGuard[Line]:
    return isinstance(found, dict) and isinstance(found.get("event"), str)


INVALID = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Errors raised for malformed events."""


@contextlib.contextmanager
def reject_invalid_events(path: Path) -> Iterator[None]:
    """A scope in which events are interpreted; JournalError if they are inconsistent: every line is intact, but nasrun
    did not write them, or not in this order."""
    try:
        yield
    except INVALID as error:
        raise makes_no_sense(path, error) from error


def makes_no_sense(path: Path, error: Exception) -> JournalError:
    """The error for an intact journal that does not describe a run."""
    text = error_line(error)
    return JournalError(f"{path}: does not describe a run ({type(error).__name__}: {text})")


def reread(line: Line) -> Line:
    """A line as it will be read after it has been written."""
    found: Line = _decode(_encode(line))
    return found
