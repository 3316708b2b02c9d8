"""What every event of a journal is: a type with a line of its own (`nasrun.storage.events` lists them)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from nasrun.storage.journal import Line, now


def given(**values: Any) -> Line:
    """Those of some keys that are set."""
    return {name: value for name, value in values.items() if value is not None}


def rest(line: Line, *names: str) -> Line:
    """What a line says beside some keys, and those of every event."""
    return {name: value for name, value in line.items() if name not in ("event", "time", "crc", *names)}


def mapping(value: Any) -> Mapping[str, Any]:
    """Keys with values of a line; TypeError if it is something else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected keys with values, not {value!r}")
    return value


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def event(cls: type[T]) -> type[T]:
    """A dataclass of an event, which nothing may change.

    Type checkers hold to that; at run time it is no frozen one, which takes three times as long to make, three times
    for each trial. It has slots, without which a long journal takes a kilobyte more for each trial.
    """
    return dataclass(kw_only=True, slots=True)(cls)


@event
class Event:
    """Something that happened in a run. `time`: seconds since 1970; `spent`: seconds of a budget of time that were
    spent by then, where the event says so."""

    KIND: ClassVar[str]
    """What the key `event` says."""
    READ: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """The keys of simple events in their order, and how what they say is read."""

    time: float | None = field(default_factory=now)
    spent: float | None = None

    def to_json(self) -> Line:
        """The line of the journal, but for its checksum."""
        line: Line = {"event": self.KIND}
        line.update(self._fields())
        line["time"] = self.time
        return line

    def _fields(self) -> Line:
        """What stands between the kind and the time: here `_said`."""
        return self._said()

    def _said(self) -> Line:
        """What is read of a simple event, as far as it is set."""
        said = {name: value for name in self.READ if (value := getattr(self, name)) is not None}
        return said if self.spent is None else {**said, "spent": self.spent}

    @classmethod
    def from_json(cls, line: Line) -> Self:
        """The event of a line; KeyError, TypeError or ValueError if it does not say what it must."""
        moment, spent = line.get("time"), line.get("spent")
        values = cls._values(line)
        values["time"] = None if moment is None else float(moment)
        if spent is not None:
            values["spent"] = float(spent)
        return cls(**values)

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        """What the fields of the type are, but for time and spent: here `_read`."""
        return cls._read(line)

    @classmethod
    def _read(cls, line: Line) -> dict[str, Any]:
        """Those of a simple event."""
        return {name: read(line[name]) for name, read in cls.READ.items() if name in line}
