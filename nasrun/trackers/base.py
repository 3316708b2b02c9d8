"""What a tracker is, and what it is told."""

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
"""Files of a finished run that trackers with a store for files take over, besides the folder `best`."""


@dataclass(frozen=True)
class TrackedRun:
    """The run, as it is known before the first trial.

    `id`: the same in every resume, and no other run's. `sweep`: the name of the sweep's folder, with the one above it,
    and `job` its number there; None outside of a sweep. `folder`: that of the sweep, else the one that the run
    directory lies in. `config`: dotted keys, without those that a resume may change. `started`: seconds since 1970.
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
        """By what runs are found and grouped."""
        tags = {"strategy": self.strategy, "seed": str(self.seed)}
        if self.sweep is not None:
            tags |= {"sweep": self.sweep, "job": str(self.job)}
        return tags


@dataclass(frozen=True)
class TrackedTrial:
    """A trial that was told.

    `metrics`: means over the repeats that succeeded. `settings`: what was chosen for it: the genome token by token,
    training settings, operator. `best`: the best objective up to here, None if nothing succeeded yet; `improved`:
    by this trial. `time`: when it was told, in seconds since 1970.
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
    """Writes the history of a run to where other programs show it.

    Nothing but `nasrun.trackers.observer` calls it, which says an exception in one line and lets the run go on. The
    constructor checks its options and that its library is there (`require`), and imports and writes nothing. What is
    imported is kept out of the global generators, the output and, once closed, the threads and processes of the run.
    """

    active: bool = True
    """Whether there is anything to be told: not where the tables of the run are all that is wanted."""

    @abstractmethod
    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        """The run starts or goes on; `trials` are all those told before, which must then be there exactly once.

        What an earlier, killed process left of this run is known by `run.id` or `run.directory`.
        """

    @abstractmethod
    def log(self, trials: Sequence[TrackedTrial]) -> None:
        """Trials that were told since."""

    @abstractmethod
    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run is finished and its files are written; `summary` is what `summary.json` holds."""

    @abstractmethod
    def close(self) -> None:
        """End everything that was begun; called once at every end, after `finish` if the run came to it."""


def require(option: str, *modules: str) -> None:
    """ConfigError if a module that a tracker needs is not installed. Nothing is imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"tracker={option} needs {module}: pip install 'nasrun[{option}]'")
