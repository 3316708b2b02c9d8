"""Access to a run directory from Python: its trials and its trained network."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.api.arguments import directory_of, given_of
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
    """The architecture in the format of its space; `Run.space` parses it."""
    status: str
    """`ok`, `failed` or `infeasible`."""
    score: float | None
    """The objective, as mean over successful repeats; None if the trial failed."""
    metrics: Mapping[str, float]
    """All metrics by name, as means over successful repeats."""
    origin: str
    """The operator that created it: `sample`, `crossover`, the name of a mutation, ..."""
    parent: int | None
    """The parent trial."""
    reuse_of: int | None
    """The trial of the same architecture whose result was copied."""
    seconds: float
    """Total duration of all repeats in seconds; 0 for a duplicate."""
    error: str | None
    """The reason of a failure, in one line."""


class Run:
    """A finished or unfinished run, with the content of its journal at the time of loading.

    Created by `nasrun.run`, `nasrun.sweep`, `nasrun.resume` and `nasrun.load_run`.
    """

    directory: Path
    """The run directory, as an absolute path."""

    def __init__(self, directory: Path, given: Mapping[str, Given] = {}) -> None:
        self.directory = directory.absolute()
        self._stored = open_run(directory, given)

    def __repr__(self) -> str:
        found = f", best {self.best.score:.4g}: {self.best.genome}" if self.best is not None else ""
        return f"Run({str(self.directory)!r}: {counted(len(self.trials), 'trial')}{found})"

    @property
    def space(self) -> SearchSpace:
        """The search space, which parses, formats and builds genomes."""
        return self._stored.benchmark.space

    @property
    def config(self) -> dict[str, Any]:
        """The config, as nested dicts."""
        return self._stored.benchmark.config

    @property
    def finished(self) -> bool:
        """Whether the run is finished; otherwise `nasrun.resume` continues it."""
        end = self._stored.records.end
        return end is not None and end.complete

    @cached_property
    def trials(self) -> list[RunTrial]:
        """All completed trials, in order."""
        return [self._trial(record) for record in self._stored.records.trials.values()]

    @property
    def best(self) -> RunTrial | None:
        """The result of the search: the trial selected by the strategy, else the best by the objective; None: no
        trial."""
        record = outcome(self._stored.records, self._stored.benchmark.objective)
        return None if record is None else self._trial(record)

    @property
    def final(self) -> Mapping[str, float]:
        """Metrics of the winner after its final training, such as `test_accuracy`; empty before it."""
        return self._stored.records.final_metrics

    @property
    def summary(self) -> Mapping[str, Any]:
        """The content of `summary.json` (`docs/outputs.md`), also for an unfinished run."""
        return whole_summary(self._stored.records, self.space, self._stored.benchmark.objective)[0]

    def frame(self) -> Any:
        """`trials.csv` as a pandas DataFrame, with one row per trial.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        rows = trial_rows(list(self._stored.records.trials.values()), self.space, self._stored.benchmark.objective)
        return pandas.read_csv(io.StringIO(csv_text(rows))).set_index("trial")

    def incumbent(self) -> list[float]:
        """The best score so far after each trial; NaN before the first success."""
        sign = 1.0 if self._stored.benchmark.objective.mode == "max" else -1.0
        scores = [float("nan") if trial.score is None else sign * trial.score for trial in self.trials]
        best: list[float] = (sign * np.fmax.accumulate(np.array(scores, dtype=float))).tolist()
        return best

    def model(self, trial: int | None = None) -> "Model":
        """The trained network.

        Args:
            trial: the number of a trial whose weights were kept (`output.keep=all`); None: the winner.

        Raises:
            ConfigError: these weights do not exist.
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
    """A trained network including the normalisation of its data; created by `Run.model`."""

    module: "torch.nn.Module"
    """The torch module, from uint8 (batch, channels, height, width) to logits."""
    genome: str
    """The architecture in the format of its space."""
    classes: Sequence[str]
    """The names of its outputs; empty for regression."""
    parameters: int
    """Number of trainable parameters."""
    flops: int
    """Floating-point operations of one forward pass of one image."""

    def __init__(self, network: "RunNetwork") -> None:
        self._network = network
        self.module = network.model
        self.genome = network.genome
        self.classes = network.data.classes
        self.parameters, self.flops = network.cost

    def __call__(self, images: Any) -> np.ndarray:
        """Predict images.

        Args:
            images: uint8 (batch, channels, height, width), or a single image without batch axis, in the size of the
                data set.

        Returns:
            Probabilities of the classes, float (batch, classes). For regression the values in original units, float
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
        """The name of the most probable class of each image; for the format of images see `__call__`."""
        return [self.classes[place] for place in self(images).argmax(axis=1)]


def load_run(directory: str | Path, **parts: Any) -> Run:
    """Load a finished or unfinished run from its directory.

    Args:
        directory: a run directory written by `nasrun.run` or the command line.
        parts: the search space and the evaluator with which the run was started, if they were objects of a program.

    Raises:
        ConfigError: what is given is no path, or the directory has no run, or names classes that must not be
            imported (`NASRUN_ALLOW`).
        JournalError: its journal is damaged; the text says where, and what can be recovered.
    """
    folder = directory_of(directory, "the path of a run's directory")
    if not folder.is_dir():
        raise ConfigError(f"{directory}: no such directory")
    return Run(folder, {group: given_of(group, part) for group, part in parts.items()})
