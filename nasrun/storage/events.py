"""The events of a journal as types, with their JSON format.

`Event.to_json` gives the line of an event, `event_of` parses one; no other code knows the keys.
`nasrun.storage.records` reduces the events of a run to its results.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from nasrun.core import Derivation, Genome, Measurement, Proposal
from nasrun.storage.event_base import Event, event, given, mapping, rest
from nasrun.storage.journal import FORMAT, INVALID, Line, makes_no_sense
from nasrun.storage.trial_json import measurement_from_json, measurement_to_json, proposal_from_json, proposal_to_json

NETWORK = ("name", "genome", "parameters", "flops")
"""The description of a known network in an event."""


@event
class RunStarted(Event):
    """The header of a journal: the started run. Fields that earlier versions did not record are None or empty.

    `facts`: the evaluator's decisions for the whole run. `choices`: the option of each group. `plan`: the first plan of
    a run with a time budget. `data`: the record of the data set (`nasrun.datasets.record`); `paths`: the keys that are
    paths (`nasrun.storage.paths`); `code`: the classes of the user's own and the SHA-256 of their files; `sweep`: its
    folder and the number of the job. `line`: the line from which it was read, by which trackers identify the run; None
    if not yet written.
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
        recorded = given(sweep=self.sweep, data=self.data, paths=self.paths, code=self.code)
        return {**started, **timed, "choices": self.choices, **recorded}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        found = {name: mapping(line.get(name) or {}) for name in ("environment", "facts", "choices")}
        found |= {name: mapping(line[name]) for name in ("plan", "sweep", "data") if name in line}
        # The paths may be from someone else; invalid ones count as missing.
        found |= {"paths": line["paths"]} if isinstance(line.get("paths"), Mapping) else {}
        found |= {"code": line["code"]} if isinstance(line.get("code"), Mapping) else {}
        written = {"format": line.get("format", 1), "nasrun": line.get("nasrun")}
        return {**found, **written, "seed": line.get("seed", 0), "trials": line.get("trials", 0), "line": line}

    def mentions(self) -> dict[str, Any]:
        """The content of `environment.json`: the environment, the facts, and further records."""
        recorded = given(code=self.code, data=self.data, paths=self.paths, sweep=self.sweep)
        return {**self.environment, **self.facts, "choices": self.choices, **recorded}


@event
class Asked(Event):
    """The strategy was asked for up to `n` proposals. `first`: the number of the first resulting trial."""

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


@event
class Measured(Event):
    """One repeat of a trial was measured."""

    KIND = "measure"

    measurement: Measurement

    def _fields(self) -> Line:
        return measurement_to_json(self.measurement)

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"measurement": measurement_from_json(line)}


@event
class Told(Event):
    """The strategy was told the result of a trial."""

    KIND = "tell"
    READ = {"trial": int}

    trial: int


@event
class SharedTrained(Event):
    """Shared weights were trained for epoch number `version` and written to disk. `derived`: the derivation from
    architecture weights, if there are any."""

    KIND = "shared"
    READ = {"version": int, "metrics": mapping, "seconds": float}

    version: int
    metrics: Mapping[str, float]
    seconds: float
    derived: Derivation | None = None

    def _fields(self) -> Line:
        derived = {} if self.derived is None else {"derived": self.derived._asdict()}
        return {**self._said(), **derived}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        found = cls._read(line)
        if "derived" in line:
            rows = tuple(tuple(map(float, row)) for row in line["derived"]["weights"])
            found["derived"] = Derivation(tuple(line["derived"]["genome"]), rows)
        return found


@event
class SpeedMeasured(Event):
    """The duration of an epoch of a genome's network, by the clock of the budget."""

    KIND = "speed"
    READ = {"genome": tuple, "epoch_seconds": float}

    genome: Genome
    epoch_seconds: float


@event
class PlanChanged(Event):
    """The run switched to another plan (`nasrun.strategies.timed.plan`). `reason`: why; None for the first."""

    KIND = "plan"

    plan: Mapping[str, Any]
    reason: str | None = None

    def _fields(self) -> Line:
        return {**self.plan, **given(spent=self.spent, reason=self.reason)}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        return {"plan": rest(line, "spent", "reason"), "reason": line.get("reason")}


@event
class SegmentBegun(Event):
    """A segment of the winner's final training with a time budget: it ends at `epochs`, the schedule at `horizon`.
    `last`: the result of the previous segment. `threads`: the number of threads, if the run has a choice."""

    KIND = "segment"
    READ = {"number": int, "epochs": int, "horizon": int, "last": mapping, "threads": int}

    number: int
    epochs: int
    horizon: int
    last: Mapping[str, Any] | None = None
    threads: int | None = None


@event
class FinalTested(Event):
    """The winner was trained again and tested.

    `told`: number of trials told to the strategy so far. `chosen`: the strategy, not the objective, selected the
    winner. `result`: the return value of `Evaluator.final`, and with a time budget its outcome (`budget_seconds`,
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
        return {**trial, "result": rest(line, *trial)}

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of the winner, such as `test_accuracy`; empty if the evaluator reported none."""
        found: Mapping[str, float] = self.result.get("metrics") or {}
        return found

    @property
    def trained_for(self) -> int:
        """Total epochs of the final training, including those before an extension; 0 if there was none."""
        return int(self.result.get("final_epochs", len(self.result.get("history") or ())))

    @property
    def seconds(self) -> float:
        """Seconds of the final training and the test."""
        return float(self.result.get("seconds", 0.0))


@event
class BaselinePlanned(Event):
    """The plan to train a known network for as long as the winner: for `epochs` epochs, the winner for `winner_epochs`.
    `network`: its `name`, `genome`, `parameters` and `flops`. `epoch_seconds`, `winner_epoch_seconds`: their seconds
    per epoch."""

    KIND = "baseline_plan"

    network: Mapping[str, Any]
    epochs: int
    winner_epochs: int
    epoch_seconds: float
    winner_epoch_seconds: float

    def _fields(self) -> Line:
        epochs = {"epochs": self.epochs, "winner_epochs": self.winner_epochs}
        seconds = {"epoch_seconds": self.epoch_seconds, "winner_epoch_seconds": self.winner_epoch_seconds}
        return {**self.network, **epochs, **seconds}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        counts = {name: int(line[name]) for name in ("epochs", "winner_epochs")}
        seconds = {name: float(line[name]) for name in ("epoch_seconds", "winner_epoch_seconds")}
        return {**counts, **seconds, "network": rest(line, "spent", *counts, *seconds)}


@event
class BaselineTested(Event):
    """The known network was tested. `network`: as planned. `result`: its `metrics`, `seconds`, `epochs`,
    `winner_epochs`; `same` if it is the winner itself, an `error` if its training failed."""

    KIND = "baseline"

    network: Mapping[str, Any]
    result: Mapping[str, Any]

    def _fields(self) -> Line:
        return {**self.network, **self.result}

    @classmethod
    def _values(cls, line: Line) -> dict[str, Any]:
        network = {name: line[name] for name in NETWORK}
        return {"network": network, "result": rest(line, "spent", *network)}


@event
class Resumed(Event):
    """The run was resumed. `changes`: dotted keys of its config with new values. `damaged`: the damaged `line` of the
    journal and the `file` with a copy of the journal, if the run was salvaged. `code`: the changed code of the user's
    own classes, with its `folder`."""

    KIND = "resume"
    READ = {"changes": mapping, "damaged": mapping, "code": mapping}

    changes: Mapping[str, Any] = field(default_factory=dict)
    damaged: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None


@event
class Ended(Event):
    """The run ended; `complete` is False if it gave up."""

    KIND = "end"
    READ = {"reason": str, "complete": bool}

    reason: str | None = None
    complete: bool = False


@event
class Unknown(Event):
    """An event of a later version that is irrelevant to this one."""

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
        BaselinePlanned,
        BaselineTested,
        Resumed,
        Ended,
    )
}
"""The types of events by the value of the key `event`."""


def event_of(line: Line) -> Event:
    """Parse the event of a journal line; see `Event.from_json`."""
    return KINDS.get(line["event"], Unknown).from_json(line)


def events_of(lines: Iterable[Line], path: Path) -> list[Event]:
    """The events of the lines of a journal; JournalError, which names its `path`, if one is malformed."""
    return list(each_event_of(lines, path))


def each_event_of(lines: Iterable[Line], path: Path) -> Iterator[Event]:
    """The events one by one, as a generator."""
    for line in lines:
        try:
            event = event_of(line)
        except INVALID as error:
            raise makes_no_sense(path, error) from error
        yield event
