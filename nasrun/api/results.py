"""What a run directory holds, from Python: its trials, its best network, ready to be called."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.api.arguments import directory_of
from nasrun.config.given import Given
from nasrun.config.stored_run import open_run
from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError
from nasrun.core.words import counted
from nasrun.reports.summary import whole_summary
from nasrun.reports.tables import csv_text, trial_rows
from nasrun.storage.records import TrialRecord, outcome

if TYPE_CHECKING:
    import torch

    from nasrun.export.network import RunNetwork


@dataclass(frozen=True)
class RunTrial:
    """One trial of a run."""

    number: int
    """From 0, in the order of the proposals."""
    genome: str
    """The architecture, as its space writes it; `Run.space` parses it."""
    status: str
    """`ok`, `failed` or `infeasible`."""
    score: float | None
    """The objective, mean over the repeats that succeeded; None where it failed."""
    metrics: Mapping[str, float]
    """All metrics by name, means over the repeats that succeeded."""
    origin: str
    """The operator that made it: `sample`, `crossover`, the name of a mutation, ..."""
    parent: int | None
    """The trial that it descends from."""
    reuse_of: int | None
    """The trial of the same architecture whose result was taken over."""
    seconds: float
    """The time that all repeats took together; 0 for a duplicate."""
    error: str | None
    """Why it failed, in one line."""


class Run:
    """A run directory, finished or not. What is shown is what its journal held when it was loaded.

    `nasrun.run`, `nasrun.sweep`, `nasrun.resume` and `nasrun.load_run` make it.
    """

    directory: Path
    """Where its files lie."""

    def __init__(self, directory: Path, given: Mapping[str, Given] = {}) -> None:
        self.directory = directory
        self._stored = open_run(directory, given)

    def __repr__(self) -> str:
        found = f", best {self.best.score:.4g}: {self.best.genome}" if self.best is not None else ""
        return f"Run({str(self.directory)!r}: {counted(len(self.trials), 'trial')}{found})"

    @property
    def space(self) -> SearchSpace:
        """Its search space: parses, formats and builds genomes."""
        return self._stored.benchmark.space

    @property
    def config(self) -> dict[str, Any]:
        """Its config, as nested dicts."""
        return self._stored.benchmark.config

    @property
    def finished(self) -> bool:
        """Whether it came to its end; else `nasrun.resume` goes on with it."""
        end = self._stored.records.end
        return end is not None and end.complete

    @cached_property
    def trials(self) -> list[RunTrial]:
        """All trials that were completed, in their order."""
        return [self._trial(record) for record in self._stored.records.trials.values()]

    @property
    def best(self) -> RunTrial | None:
        """What the search came to: the trial that the strategy chose, else the best by the objective; None: none."""
        record = outcome(self._stored.records, self._stored.benchmark.objective)
        return None if record is None else self._trial(record)

    @property
    def final(self) -> Mapping[str, float]:
        """The metrics of the winner after its final training, `test_accuracy` among them; empty before it."""
        return self._stored.records.final_metrics

    @property
    def summary(self) -> Mapping[str, Any]:
        """What `summary.json` holds (`docs/outputs.md`), of a run that is not finished too."""
        return whole_summary(self._stored.records, self.space, self._stored.benchmark.objective)[0]

    def frame(self) -> Any:
        """`trials.csv` as a pandas frame, a row per trial.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        rows = trial_rows(list(self._stored.records.trials.values()), self.space, self._stored.benchmark.objective)
        return pandas.read_csv(io.StringIO(csv_text(rows))).set_index("trial")

    def incumbent(self) -> list[float]:
        """The best score so far after each trial; NaN before the first that succeeded."""
        sign = 1.0 if self._stored.benchmark.objective.mode == "max" else -1.0
        scores = [float("nan") if trial.score is None else sign * trial.score for trial in self.trials]
        best: list[float] = (sign * np.fmax.accumulate(np.array(scores, dtype=float))).tolist()
        return best

    def model(self, trial: int | None = None) -> "Model":
        """The trained network.

        Args:
            trial: the number of a trial whose weights were kept (`output.keep=all`); None: the winner.

        Raises:
            ConfigError: there are no such weights.
        """
        from nasrun.export.network import load_network

        return Model(load_network(self.directory, trial, self._stored))

    def _trial(self, record: TrialRecord) -> RunTrial:
        proposal, objective = record.trial.proposal, self._stored.benchmark.objective
        names = dict.fromkeys(name for one in record.measurements for name in one.metrics)
        means = {name: record.mean(name) for name in names}
        return RunTrial(
            record.trial.number,
            self.space.format(proposal.genome),
            record.status,
            record.mean(objective.metric),
            {name: value for name, value in means.items() if value is not None},
            proposal.origin,
            proposal.parent,
            proposal.reuse_of,
            record.seconds,
            record.error,
        )


class Model:
    """A trained network behind the normalisation of its data; `Run.model` makes it."""

    module: "torch.nn.Module"
    """The torch module: uint8 (batch, channels, height, width) to logits."""
    genome: str
    """The architecture, as its space writes it."""
    classes: Sequence[str]
    """The names of its outputs; empty for regression."""
    parameters: int
    """Its trainable parameters."""
    flops: int
    """Floating-point operations of one forward pass of one image."""

    def __init__(self, network: "RunNetwork") -> None:
        self._network = network
        self.module = network.model
        self.genome = network.genome
        self.classes = network.data.classes
        self.parameters, self.flops = network.cost

    def __call__(self, images: Any) -> np.ndarray:
        """What the network says of images.

        Args:
            images: uint8 (batch, channels, height, width), or one of them without batch, of the size of the data set.

        Returns:
            Probabilities of the classes, float (batch, classes). For regression the values in their own units, float
            (batch, outputs, height, width).

        Raises:
            ValueError: the images are of another type or shape.
        """
        from nasrun.export.network import outputs_of

        task = self._network.task
        array = np.asarray(images)
        array = array[None] if array.ndim == 3 else array
        expected = (task.channels, task.height, task.width)
        if array.dtype != np.uint8 or array.shape[1:] != expected:
            raise ValueError(
                f"images of {array.dtype} {array.shape}: expected uint8 (batch, {', '.join(map(str, expected))})"
            )
        outputs = outputs_of(self.module, array)
        if task.kind == "regression":
            return outputs
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, images: Any) -> list[str]:
        """The name of the most probable class of each image; images as in a call."""
        return [self.classes[place] for place in self(images).argmax(axis=1)]


def load_run(directory: str | Path, **parts: Any) -> Run:
    """The run in a directory, finished or not.

    Args:
        directory: what `nasrun.run` or the command line wrote.
        parts: the objects that the run was started with, if any (`strategy=...`, `search_space=...`).

    Raises:
        ConfigError: it is no path, the directory holds no run, or names classes that may not be imported
            (`NASRUN_ALLOW`).
        JournalError: its journal is damaged; the text says where, and what can be saved.
    """
    folder = directory_of(directory, "the path of a run's directory")
    if not folder.is_dir():
        raise ConfigError(f"{directory}: no such directory")
    return Run(folder, {group: Given(part) for group, part in parts.items() if not isinstance(part, str)})
