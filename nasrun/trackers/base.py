"""The interface of trackers, and the data passed to them."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrun.core import Objective
from nasrun.core.options import ConfigError
from nasrun.storage.records import TrialRecord

FILES = ("trials.csv", "measurements.csv", "history.csv", "genomes.txt", "summary.json", "best.json", "report.html")
"""Files of a finished run that trackers with a file store copy, in addition to the folder `best`."""


@dataclass(frozen=True)
class TrackedRun:
    """Information on a run before its first trial.

    `id`: unique, and the same in every resume. `sweep`: the name of the sweep's folder with its parent, and `job` the
    number in it; None outside of a sweep. `folder`: the folder of the sweep, else the parent of the run directory.
    `config`: dotted keys, without those that a resume may change. `started`: seconds since 1970.
    """

    directory: Path
    id: str
    sweep: str | None
    job: int | None
    folder: Path
    strategy: str
    seed: int
    config: Mapping[str, Any]
    objective: Objective
    started: float

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.directory.absolute().name

    @property
    def tags(self) -> dict[str, str]:
        """Tags to find and group runs."""
        tags = {"strategy": self.strategy, "seed": str(self.seed)}
        if self.sweep is not None:
            tags |= {"sweep": self.sweep, "job": str(self.job)}
        return tags


@dataclass(frozen=True)
class TrackedTrial:
    """A told trial.

    `metrics`: means over successful repeats. `settings`: the genome token by token, training settings, operator.
    `best`: the best objective so far, None before the first success; `improved`: whether this trial improved it.
    `time`: time of the tell in seconds since 1970.
    """

    record: TrialRecord
    genome: str
    metrics: Mapping[str, float]
    settings: Mapping[str, str | int | float | bool]
    best: float | None
    improved: bool
    time: float
    objective: str = field(repr=False)

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.record.trial.number

    @property
    def values(self) -> dict[str, float]:
        """All numbers of the trial by name: `trial/<metric>`, `trial/ok`, `trial/seconds`, `best/<objective>`."""
        values = {f"trial/{name}": float(value) for name, value in self.metrics.items()}
        values |= {"trial/ok": float(self.record.status == "ok"), "trial/seconds": self.record.seconds}
        if self.best is not None:
            values[f"best/{self.objective}"] = self.best
        return values


class Tracker(ABC):
    """Writes the history of a run to a destination where other programs display it.

    It is called only by `nasrun.trackers.observer`, which reports an exception in one line and lets the run continue.
    The constructor checks its options and that its library is installed (`require`), without importing or writing
    anything. Imported libraries must not affect global random generators or output, or leave threads or processes after
    `close`.
    """

    active: bool = True
    """Whether the tracker needs calls; False if the run's own tables are sufficient."""

    @abstractmethod
    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        """The run starts or continues; `trials` are all earlier told trials, each of which must then be stored exactly
        once.

        Data left by an earlier, killed process are identified by `run.id` or `run.directory`.
        """

    @abstractmethod
    def log(self, trials: Sequence[TrackedTrial]) -> None:
        """Record newly told trials."""

    @abstractmethod
    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run has finished and its files are written; `summary` is the content of `summary.json`."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources; called once at every end, after `finish` if the run finished."""


def require(option: str, *modules: str) -> None:
    """ConfigError if a module that a tracker needs is not installed. Nothing is imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"tracker={option} needs {module}: pip install 'nasrun[{option}]'")
