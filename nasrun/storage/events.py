"""The events of a journal as types: what each says, and how it is written down.

`Event.to_json` gives the line of an event, `event_of` reads one; nothing else knows the keys. `nasrun.storage.records`
folds the events of a run into what came of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from nasrun.core import Genome, Measurement, Proposal
from nasrun.storage.journal import FORMAT, Line, now, reject_invalid_events


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a run. `time`: seconds since 1970; `spent`: seconds of a budget of time that were
    spent by then, where the event says so."""

    KIND: ClassVar[str]
    """What the key `event` says."""

    time: float | None = field(default_factory=now)
    spent: float | None = None

    def to_json(self) -> Line:
        """The line of the journal, but for its checksum."""
        return {"event": self.KIND, **self._fields(), "time": self.time}

    def _fields(self) -> Line:
        """What stands between the kind and the time."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, line: Line) -> Self:
        """The event of a line; KeyError, TypeError or ValueError where it does not say what it must."""
        return cls(**cls._values(line), time=_number(line.get("time")), spent=_number(line.get("spent")))

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        """What the fields of the type are, but for time and spent."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The header of a journal: what was started. What earlier versions did not record is None or empty.

    `facts`: what the evaluator decided for good. `choices`: the option of each group. `plan`: the first plan of a run
    within a budget of time. `data`: the record of the data set (`nasrun.datasets.record`); `paths`: the keys that are
    paths (`nasrun.storage.paths`); `code`: the classes of the user's own and the SHA-256 of their files; `sweep`: its
    folder and the number of the job. `line`: what it was read from, by
    which trackers know the run again; None where it is still to be written.
    """

    KIND = "run"

    format: int = FORMAT
    nasrun: str | None = None
    seed: int = 0
    trials: int = 0
    environment: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    paths: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None
    line: Line | None = field(default=None, repr=False, compare=False)

    def _fields(self) -> Line:
        started = {name: getattr(self, name) for name in ("format", "nasrun", "seed", "trials", "environment", "facts")}
        timed = {} if self.plan is None else {"plan": self.plan, "spent": self.spent}
        recorded = _given(sweep=self.sweep, data=self.data, paths=self.paths, code=self.code)
        return {**started, **timed, "choices": self.choices, **recorded}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        found = {name: _mapping(line.get(name) or {}) for name in ("environment", "facts", "choices")}
        found |= {name: _mapping(line[name]) for name in ("plan", "sweep", "data") if name in line}
        # Who wrote the paths is of no account: what makes no sense there counts as none.
        found |= {"paths": line["paths"]} if isinstance(line.get("paths"), Mapping) else {}
        found |= {"code": line["code"]} if isinstance(line.get("code"), Mapping) else {}
        written = {"format": line.get("format", 1), "nasrun": line.get("nasrun")}
        return {**found, **written, "seed": line.get("seed", 0), "trials": line.get("trials", 0), "line": line}

    def mentions(self) -> dict[str, Any]:
        """What `environment.json` holds: the environment, the facts, and what is recorded beside them."""
        recorded = _given(code=self.code, data=self.data, paths=self.paths, sweep=self.sweep)
        return {**self.environment, **self.facts, "choices": self.choices, **recorded}


@dataclass(frozen=True, kw_only=True)
class Asked(Event):
    """The strategy was asked for up to `n` proposals. `first`: the number of the first trial that they became."""

    KIND = "ask"

    n: int
    first: int | None
    proposals: Sequence[Proposal]

    def _fields(self) -> Line:
        return {"n": self.n, "first": self.first, "proposals": [proposal_to_json(one) for one in self.proposals]}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        proposals = [proposal_from_json(fields) for fields in line["proposals"]]
        return {"n": int(line.get("n", len(proposals))), "first": line.get("first"), "proposals": proposals}


@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    """One repeat of a trial was measured."""

    KIND = "measure"

    measurement: Measurement

    def _fields(self) -> Line:
        return measurement_to_json(self.measurement)

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"measurement": measurement_from_json(line)}


@dataclass(frozen=True, kw_only=True)
class Told(Event):
    """The strategy was told what a trial came to."""

    KIND = "tell"

    trial: int

    def _fields(self) -> Line:
        return {"trial": self.trial, **_given(spent=self.spent)}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"trial": line["trial"]}


@dataclass(frozen=True, kw_only=True)
class SharedTrained(Event):
    """Shared weights were trained for an epoch, the `version`-th, and lie on disk."""

    KIND = "shared"

    version: int
    metrics: Mapping[str, float]
    seconds: float

    def _fields(self) -> Line:
        return {"version": self.version, "metrics": dict(self.metrics), "seconds": self.seconds}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"version": int(line["version"]), "metrics": _mapping(line["metrics"]), "seconds": line["seconds"]}


@dataclass(frozen=True, kw_only=True)
class SpeedMeasured(Event):
    """How long an epoch of a genome's network takes, by the clock of the budget."""

    KIND = "speed"

    genome: Genome
    epoch_seconds: float

    def _fields(self) -> Line:
        return {"genome": self.genome, "epoch_seconds": self.epoch_seconds}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"genome": tuple(line["genome"]), "epoch_seconds": float(line["epoch_seconds"])}


@dataclass(frozen=True, kw_only=True)
class PlanChanged(Event):
    """From now on the run goes by another plan (`nasrun.strategies.timed.plan`). `reason`: why; None for the first."""

    KIND = "plan"

    plan: Mapping[str, Any]
    reason: str | None = None

    def _fields(self) -> Line:
        return {**self.plan, **_given(spent=self.spent, reason=self.reason)}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"plan": _rest(line, "spent", "reason"), "reason": line.get("reason")}


@dataclass(frozen=True, kw_only=True)
class SegmentBegun(Event):
    """A segment of the winner's final training within a budget of time: it ends at `epochs`, the schedule at `horizon`.
    `last`: what the segment before it told."""

    KIND = "segment"

    number: int
    epochs: int
    horizon: int
    last: Mapping[str, Any] | None = None

    def _fields(self) -> Line:
        segment = {"number": self.number, "epochs": self.epochs, "horizon": self.horizon}
        return {**segment, **_given(last=self.last, spent=self.spent)}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {**{name: int(line[name]) for name in ("number", "epochs", "horizon")}, "last": line.get("last")}


@dataclass(frozen=True, kw_only=True)
class FinalTested(Event):
    """The winner was trained once more and tested.

    `told`: trials that the strategy had been told by then. `chosen`: the strategy chose the winner, not the objective.
    `result`: what `Evaluator.final` returned, and of a run within a budget of time what that came to (`budget_seconds`,
    `clock`, `spent`, `choice`).
    """

    KIND = "final"

    trial: int | None = None
    told: int | None = None
    chosen: bool = False
    result: Mapping[str, Any]

    def _fields(self) -> Line:
        return {"trial": self.trial, "told": self.told, **({"chosen": True} if self.chosen else {}), **self.result}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        trial = {"trial": line.get("trial"), "told": line.get("told"), "chosen": bool(line.get("chosen"))}
        return {**trial, "result": _rest(line, *trial)}

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of the winner, `test_accuracy` among them; empty where the evaluator gave none."""
        found: Mapping[str, float] = self.result.get("metrics") or {}
        return found

    @property
    def seconds(self) -> float:
        """What the final training and the test took."""
        return float(self.result.get("seconds", 0.0))


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """The run goes on. `changes`: dotted keys of its config, with their new values. `damaged`: the `line` of the
    journal that was damaged and the `file` that it was saved to, where the run was salvaged. `code`: that of the user's
    own classes from now on, where it is another one, and the `folder` that it lies in."""

    KIND = "resume"

    changes: Mapping[str, Any]
    damaged: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None

    def _fields(self) -> Line:
        return {"changes": dict(self.changes), **_given(damaged=self.damaged, code=self.code)}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        damaged = {"damaged": _mapping(line["damaged"])} if "damaged" in line else {}
        code = {"code": line["code"]} if isinstance(line.get("code"), Mapping) else {}
        return {"changes": _mapping(line.get("changes", {})), **damaged, **code}


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The run is over; `complete` is False where it gave up."""

    KIND = "end"

    reason: str | None = None
    complete: bool = False

    def _fields(self) -> Line:
        return {"reason": self.reason, "complete": self.complete}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"reason": line.get("reason"), "complete": bool(line.get("complete"))}


@dataclass(frozen=True, kw_only=True)
class Unknown(Event):
    """An event of a later version that changes nothing about what this one knows."""

    kind: str
    line: Line

    def to_json(self) -> Line:
        return self.line

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"kind": line["event"], "line": line}


KINDS: Mapping[str, type[Event]] = {
    kind.KIND: kind
    for kind in (
        RunStarted,
        Asked,
        Measured,
        Told,
        SharedTrained,
        SpeedMeasured,
        PlanChanged,
        SegmentBegun,
        FinalTested,
        Resumed,
        Ended,
    )
}
"""The types of events, by what the key `event` says."""


def event_of(line: Line) -> Event:
    """The event that a line of a journal tells of; see `Event.from_json`."""
    return KINDS.get(line["event"], Unknown).from_json(line)


def events_of(lines: Iterable[Line], path: Path) -> list[Event]:
    """The events of the lines of a journal; JournalError, which names its `path`, where one makes no sense."""
    with reject_invalid_events(path):
        return [event_of(line) for line in lines]


def proposal_to_json(proposal: Proposal) -> Line:
    """A proposal as a JSON object; fields at their defaults are left out."""
    defaults = Proposal._field_defaults
    fields: Line = {"genome": proposal.genome}
    for name, value in zip(Proposal._fields[1:], proposal[1:], strict=True):
        if value != defaults[name]:
            fields[name] = value
    return fields


def proposal_from_json(fields: Line) -> Proposal:
    """The proposal that `proposal_to_json` wrote."""
    partners = tuple(fields.get("partners", ()))
    # Earlier versions gave children of what was turned down a parent of -1.
    parent = None if fields.get("parent") == -1 else fields.get("parent")
    return Proposal(**{**fields, "genome": tuple(fields["genome"]), "partners": partners, "parent": parent})


def measurement_to_json(measurement: Measurement) -> Line:
    """A measurement as a JSON object; fields at their defaults are left out."""
    defaults = Measurement._field_defaults
    named = zip(Measurement._fields, measurement, strict=True)
    return {name: value for name, value in named if name not in defaults or value != defaults[name]}


def measurement_from_json(fields: Line) -> Measurement:
    """The measurement that `measurement_to_json` wrote; keys that belong to the event alone are passed over."""
    measurement = Measurement(**{name: fields[name] for name in Measurement._fields if name in fields})
    if measurement.metrics and not all(map(math.isfinite, measurement.metrics.values())):
        raise ValueError(f"a metric of trial {measurement.trial} is no finite number")
    return measurement


def _given(**values: Any) -> Line:
    """Those of some keys that are set."""
    return {name: value for name, value in values.items() if value is not None}


def _rest(line: Line, *names: str) -> Line:
    """What a line says beside some keys, and those of every event."""
    return {name: value for name, value in line.items() if name not in ("event", "time", "crc", *names)}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected keys with values, not {value!r}")
    return value
