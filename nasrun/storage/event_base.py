"""The base of journal events: one type per kind of line (listed in `nasrun.storage.events`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from nasrun.storage.journal import Line, now


def given(**values: Any) -> Line:
    """The entries for some keys that are set."""
    return {name: value for name, value in values.items() if value is not None}


def rest(line: Line, *names: str) -> Line:
    """The entries of a line except some keys, and those of every event."""
    return {name: value for name, value in line.items() if name not in ("event", "time", "crc", *names)}


def mapping(value: Any) -> Mapping[str, Any]:
    """The mapping of a line; TypeError if it is something else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected keys with values, not {value!r}")
    return value


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def event(cls: type[T]) -> type[T]:
    """Decorator for the dataclass of an event, which must not be changed.

    Type checkers treat it as frozen. At run time it is not, because frozen ones take three times as long to create, and
    each trial has three. Slots save a kilobyte per trial of a long journal.
    """
    return dataclass(kw_only=True, slots=True)(cls)


@event
class Event:
    """An event of a run. `time`: seconds since 1970; `spent`: seconds spent of a time budget, if recorded."""

    KIND: ClassVar[str]
    """The value of the key `event`."""
    READ: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """The keys of simple events in order, with functions that parse their values."""

    time: float | None = field(default_factory=now)
    spent: float | None = None

    def to_json(self) -> Line:
        """The line of the journal, without its checksum."""
        line: Line = {"event": self.KIND}
        line.update(self._fields())
        line["time"] = self.time
        return line

    def _fields(self) -> Line:
        """The entries between the kind and the time; by default from `_said`."""
        return self._said()

    def _said(self) -> Line:
        """The entries of a simple event that are set."""
        said = {name: value for name in self.READ if (value := getattr(self, name)) is not None}
        return said if self.spent is None else {**said, "spent": self.spent}

    @classmethod
    def from_json(cls, line: Line) -> Self:
        """Parse the event of a line; KeyError, TypeError or ValueError if it is malformed."""
        moment, spent = line.get("time"), line.get("spent")
        values = cls._values(line)
        values["time"] = None if moment is None else float(moment)
        if spent is not None:
            values["spent"] = float(spent)
        return cls(**values)

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        """The fields of the type, except time and spent; by default from `_read`."""
        return cls._read(line)

    @classmethod
    def _read(cls, line: Line) -> dict[str, Any]:
        """The fields of a simple event."""
        return {name: read(line[name]) for name, read in cls.READ.items() if name in line}
