"""The write-ahead log of a run: `journal.jsonl`, append-only, the single source of truth.

One JSON object per line, the last key of which is the CRC-32 of what stands before it. An event reaches the operating
system before it is acted on, so that a killed process loses nothing; it is forced to disk at once after a trial that
was fsync, and at least ten times a second otherwise. A last line that was cut short is removed before the next append;
damage anywhere else is refused with its line number (`nasrun.runner.salvage` saves what is whole).

What is in the lines are events (`nasrun.storage.events`).
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
from nasrun.core.options import ConfigError, shell_command

if TYPE_CHECKING:
    from nasrun.storage.event_base import Event

NAME = "journal.jsonl"
FORMAT = 2
"""The format of the journals that this version writes: 1 before the modules of nasrun lay in packages
(`nasrun.core.renamed`), 2 since then. Older ones are read too; one that is newer is refused."""
SYNC_SECONDS = 0.1
TOGETHER = 256
"""Lines that are read at a time."""
FSYNC_AFTER_SECONDS = 0.01


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number that is ever written")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_no_number).decode

Line = dict[str, Any]
"""A line as its JSON object; `nasrun.storage.events` knows what it says."""


_START = time.time() - time.monotonic()


def now() -> float:
    """Seconds since 1970: the clock of the wall when this process began, and since then one that nobody can set."""
    return _START + time.monotonic()


class JournalError(Exception):
    """A journal that cannot be trusted; the text names the file and the line."""


class NewerFormatError(JournalError, ConfigError):
    """A journal that a newer version of nasrun wrote; the text says so, and what to do."""


class OutputError(OSError):
    """A run's own files cannot be written, or are gone: no architecture is to blame, so that no trial fails of it."""


class Journal:
    """Appends events to a journal file; the file must be whole (see `repair`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._synced = time.monotonic()

    def append(self, *events: "Event", fsync: bool = False) -> None:
        """Write events, a line each, with a single system call; OSError (disk full) passes through."""
        self.append_all([event.to_json() for event in events], fsync=fsync)

    def append_all(self, lines: Sequence[Line], *, fsync: bool = False) -> None:
        """Write lines with a single system call; OSError (disk full, see also `check`) passes through.

        `fsync`: what the events record took long to make, so it is forced to disk before this returns.
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
        """OutputError where the file that is written to is no longer the one under its name."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._file)):
            raise OutputError(f"{self._path.parent} was deleted, moved or replaced while the run was going on")

    def close(self) -> None:
        """Force everything to disk and close."""
        try:
            os.fdatasync(self._file)
        finally:
            os.close(self._file)


def line_of(line: Line) -> bytes:
    """The bytes of a line: JSON, with the CRC-32 of its own text as the last key."""
    text = _encode(line)[:-1].encode()
    return b'%s,"crc":%d}\n' % (text, zlib.crc32(text))


def read(path: Path) -> list[Line]:
    """All lines of a journal, without a last line that was cut short; JournalError names a damaged line."""
    return list(lines_of(path))


def lines_of(path: Path) -> Iterator[Line]:
    """The same one after the other: there may be millions."""
    return (line for line, _ in _scan(path))


def last_of(path: Path) -> Line | None:
    """The last line, read from the end alone; None if that is no whole event."""
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
    """The lines of a journal one after the other; behind them a last line that was cut short is cut off, so that it can
    be appended to."""
    whole = 0
    for line, end in _scan(path):
        whole = end
        yield line
    if path.stat().st_size > whole:
        os.truncate(path, whole)


class Reader:
    """Reads a journal that may still grow: at each time what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._end, self._lines, self._told, self._inode = 0, 0, 0, -1

    def read(self) -> tuple[Iterator[Line], bool]:
        """The whole lines that were added since the last time, one after the other, and whether they are the first of a
        file: at first, and where another one took its place. JournalError names a damaged line, when it is reached;
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
    """Lines and the offset at which each ends, from the offset `start` on, in front of which there are so many lines
    (`before`) and trials (`told`). What is appended meanwhile is not read."""
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
                        f"{path}: line {number} is damaged; the {number - 1} events before it are whole and hold "
                        f"{told} finished trials; save what is whole: "
                        f"{shell_command('resume', '--salvage', path.parent)}"
                    )
                if number == 1:
                    check_format(line, path)
                told += line["event"] == "tell"
                yield line, end


def check_format(header: Line, path: Path) -> None:
    """NewerFormatError where the first event of a journal says that this version cannot know what it holds."""
    written = header.get("format", 1)
    if isinstance(written, int) and written > FORMAT:
        raise NewerFormatError(
            f"{path}: journal format {written}, of nasrun {header.get('nasrun')}; this version, {__version__}, reads "
            f"formats up to {FORMAT}: update nasrun"
        )


def parse(line: bytes) -> Line | None:
    """One line as its JSON object, from its bytes without the end; None if it is not whole."""
    text = _checked(line)
    return None if text is None else _object_of(text)


def parse_all(lines: Sequence[bytes]) -> Sequence[Line | None]:
    """The same of several lines with their ends: in one go where all are whole, which takes half the time."""
    texts = [_checked(line[:-1]) for line in lines]
    if None not in texts:
        with contextlib.suppress(ValueError, RecursionError):
            found: list[Line] = _decode(f"[{','.join(map(str, texts))}]")
            # A line could end one object and begin another, where someone wrote it by hand.
            if len(found) == len(lines) and all(map(_is_event, found)):
                return found
    return [None if text is None else _object_of(text) for text in texts]


def _checked(line: bytes) -> str | None:
    """The JSON object of a line without its checksum; None if it is not that of the checksum."""
    text, found, tail = line.rpartition(b',"crc":')
    if not found or not tail.endswith(b"}") or not tail[:-1].isdigit() or int(tail[:-1]) != zlib.crc32(text):
        return None
    try:
        return text.decode() + "}"
    except ValueError:  # the checksum fits, so that someone wrote it by hand
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
"""What comes of events that make no sense."""


@contextlib.contextmanager
def reject_invalid_events(path: Path) -> Iterator[None]:
    """A scope in which events are taken for what they say; JournalError if that makes no sense: each line is whole,
    but nasrun did not write them, or not in this order."""
    try:
        yield
    except INVALID as error:
        raise makes_no_sense(path, error) from error


def makes_no_sense(path: Path, error: Exception) -> JournalError:
    """The error of a journal that is whole, but does not tell of a run."""
    text = " ".join(str(error).split())[:200]
    return JournalError(f"{path}: does not tell of a run ({type(error).__name__}: {text})")


def reread(line: Line) -> Line:
    """A line as it is read when it has been written."""
    found: Line = _decode(_encode(line))
    return found
