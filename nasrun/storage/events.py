"""The events of a journal as types: what each says, and how it is written down.

`Event.to_json` gives the line of an event, `event_of` reads one; nothing else knows the keys. `nasrun.storage.records`
folds the events of a run into what came of it.
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
"""What an event says of a known network."""


@event
class RunStarted(Event):
    """The header of a journal: what was started. What earlier versions did not record is None or empty.

    `facts`: what the evaluator decided for good. `choices`: the option of each group. `plan`: the first plan of a run
    within a budget of time. `data`: the record of the data set (`nasrun.datasets.record`); `paths`: the keys that are
    paths (`nasrun.storage.paths`); `code`: the classes of the user's own and the SHA-256 of their files; `sweep`: its
    folder and the number of the job. `line`: what it was read from, by
    which trackers know the run again; None if it is still to be written.
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
        # Who wrote the paths is of no account: what makes no sense there counts as none.
        found |= {"paths": line["paths"]} if isinstance(line.get("paths"), Mapping) else {}
        found |= {"code": line["code"]} if isinstance(line.get("code"), Mapping) else {}
        written = {"format": line.get("format", 1), "nasrun": line.get("nasrun")}
        return {**found, **written, "seed": line.get("seed", 0), "trials": line.get("trials", 0), "line": line}

    def mentions(self) -> dict[str, Any]:
        """What `environment.json` holds: the environment, the facts, and what is recorded beside them."""
        recorded = given(code=self.code, data=self.data, paths=self.paths, sweep=self.sweep)
        return {**self.environment, **self.facts, "choices": self.choices, **recorded}


@event
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
    """The strategy was told what a trial came to."""

    KIND = "tell"
    READ = {"trial": int}

    trial: int


@event
class SharedTrained(Event):
    """Shared weights were trained for an epoch, the `version`-th, and lie on disk. `derived`: what architecture weights
    came to, where there are such."""

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
    """How long an epoch of a genome's network takes, by the clock of the budget."""

    KIND = "speed"
    READ = {"genome": tuple, "epoch_seconds": float}

    genome: Genome
    epoch_seconds: float


@event
class PlanChanged(Event):
    """From now on the run goes by another plan (`nasrun.strategies.timed.plan`). `reason`: why; None for the first."""

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
    """A segment of the winner's final training within a budget of time: it ends at `epochs`, the schedule at `horizon`.
    `last`: what the segment before it told. `threads`: with how many it is trained, where the run has a choice."""

    KIND = "segment"
    READ = {"number": int, "epochs": int, "horizon": int, "last": mapping, "threads": int}

    number: int
    epochs: int
    horizon: int
    last: Mapping[str, Any] | None = None
    threads: int | None = None


@event
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
        return {**trial, "result": rest(line, *trial)}

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of the winner, `test_accuracy` among them; empty if the evaluator gave none."""
        found: Mapping[str, float] = self.result.get("metrics") or {}
        return found

    @property
    def trained_for(self) -> int:
        """Epochs of the final training, those before a longer one included; 0 where there was none."""
        return int(self.result.get("final_epochs", len(self.result.get("history") or ())))

    @property
    def seconds(self) -> float:
        """What the final training and the test took."""
        return float(self.result.get("seconds", 0.0))


@event
class BaselinePlanned(Event):
    """A known network is to be trained for as long as the winner was: for so many `epochs`, as the winner for
    `winner_epochs`. `network`: its `name`, `genome`, `parameters` and `flops`. `epoch_seconds`, `winner_epoch_seconds`:
    what an epoch takes either."""

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
    """A known network beside the winner was tested. `network`: as it was planned. `result`: its `metrics`, `seconds`,
    `epochs`, `winner_epochs`; `same` where it is the winner itself, an `error` where its training failed."""

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
    """The run goes on. `changes`: dotted keys of its config, with their new values. `damaged`: the `line` of the
    journal that was damaged and the `file` that it was saved to, where the run was salvaged. `code`: that of the user's
    own classes from now on, where it is another one, and the `folder` that it lies in."""

    KIND = "resume"
    READ = {"changes": mapping, "damaged": mapping, "code": mapping}

    changes: Mapping[str, Any] = field(default_factory=dict)
    damaged: Mapping[str, Any] | None = None
    code: Mapping[str, Any] | None = None


@event
class Ended(Event):
    """The run is over; `complete` is False if it gave up."""

    KIND = "end"
    READ = {"reason": str, "complete": bool}

    reason: str | None = None
    complete: bool = False


@event
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
        BaselinePlanned,
        BaselineTested,
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
    return list(each_event_of(lines, path))


def each_event_of(lines: Iterable[Line], path: Path) -> Iterator[Event]:
    """The same one after the other."""
    for line in lines:
        try:
            event = event_of(line)
        except INVALID as error:
            raise makes_no_sense(path, error) from error
        yield event
