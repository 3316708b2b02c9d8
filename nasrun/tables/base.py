"""The interface of benchmark tables: one row per architecture, with one or more training runs each."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from typing import Literal

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError

ROUNDING = 1e-12
SAMPLES = 100
"""Number of random architectures tried to find one in the table, to compare the networks of space and table."""


class TableError(ConfigError):
    """A table cannot be used. The text is one line: the file, the problem, and what is expected."""


@dataclass(frozen=True)
class Trainings:
    """All training runs of one data set and length, ordered by row.

    `starts`: integers (rows + 1,); the training runs of row `i` are `starts[i]` to `starts[i + 1]`, possibly none.
    `validation`, `test`: float64 (training runs,), accuracies as fractions; `test` is None if the table has one
    accuracy per training run, and NaN for an untested one. `spent`: by name of the metric, float64 (training runs,):
    costs and other metrics. `mode`: whether higher or lower values are better.
    """

    starts: np.ndarray
    validation: np.ndarray
    test: np.ndarray | None
    spent: Mapping[str, np.ndarray]
    mode: Literal["max", "min"] = "max"

    def of(self, row: int) -> slice:
        """The slice of the training runs of a row."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))

    def best(self, values: np.ndarray) -> float:
        """The best mean over a row of `validation` or `test`, for rows with a number for each training run."""
        sign = 1.0 if self.mode == "max" else -1.0
        rows = np.flatnonzero(np.diff(self.starts))
        first = self.starts[rows]
        means = sign * np.add.reduceat(values, first) / (self.starts[rows + 1] - first)
        top = np.nanmax(means)
        close = rows[means >= top - ROUNDING * abs(top)]  # means are rounded more than once
        return sign * max(sign * mean(values[self.of(row)]) for row in close)

    def regret(self, values: np.ndarray, row: slice) -> float:
        """How much worse the mean of a row is than the best one; at least 0."""
        gap = self.best(values) - mean(values[row])
        return gap if self.mode == "max" else 0.0 - gap


def mean(values: np.ndarray) -> float:
    """The mean of a few numbers, rounded once; equal numbers have exactly their own value as mean."""
    return exact_mean(values.tolist())


class BenchmarkTable(ABC):
    """Published accuracies of the architectures of one search space. Nothing is read before `load`."""

    name: str
    """The name in `evaluator.table`."""
    space: str
    """Name (module) of the search space whose genomes the rows describe; empty: any."""
    datasets: tuple[str, ...] = ()
    """Names of the data sets in the table; empty: any, or those named in its rows."""
    epochs: tuple[int, ...] = ()
    """Training lengths in epochs, in ascending order; empty if known only after `load`."""
    metric: str = "val_accuracy"
    """The metric by which networks are compared."""
    has_epochs: bool = True
    """Whether it has the number of epochs; if not, its single length is 0."""
    spends: tuple[str, ...] = ()
    """Names of the metrics in `Trainings.spent`, the same for all lengths."""
    resolution: float | None = None
    """The resolution of accuracies in the table, as a fraction; None: unknown."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """SHA-256 of the file in hex, after `load`, to compare tables of runs."""

    @abstractmethod
    def load(self) -> None:
        """Read the table; TableError if its file is missing or damaged. A second call does nothing."""

    @abstractmethod
    def trainings(self, dataset: str, epochs: int) -> Trainings:
        """The training runs on one of `datasets` with one of the lengths `epochs`."""

    @abstractmethod
    def parameters(self, dataset: str) -> np.ndarray:
        """Number of trainable parameters of each row's network: integers (rows,)."""

    @abstractmethod
    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        """The row of a genome of `space`; None if it is not in the table."""

    def examples(self, space: SearchSpace, dataset: str) -> Iterator[tuple[Genome, int]]:
        """Architectures with their number of parameters in the table; empty if it is not reliable."""
        return iter(())


class ShippedTable(BenchmarkTable):
    """A table shipped with nasrun, as a file of NumPy arrays (`.npz`) in `nasrun/tables/data`."""

    _arrays: Mapping[str, np.ndarray] | None = None
    _sha256 = ""

    @property
    def sha256(self) -> str:
        return self._sha256

    def load(self) -> None:
        if self._arrays is not None:
            return
        file = files("nasrun.tables") / "data" / f"{self.name}.npz"
        try:
            content = file.read_bytes()
            with np.load(BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # a damaged zip file raises from zipfile, zlib and numpy
            raise TableError(f"{file}: cannot be read ({error}); install nasrun again") from None
        self._sha256 = hashlib.sha256(content).hexdigest()
        self._arrays = arrays
        self._prepare(arrays)

    def _prepare(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Prepare what `find` needs from the arrays of the file."""

    def examples(self, space: SearchSpace, dataset: str) -> Iterator[tuple[Genome, int]]:
        """The first of some random architectures that the table contains."""
        rng = np.random.default_rng(0)
        for genome in (space.sample(rng) for _ in range(SAMPLES)):
            row = self.find(space, genome)
            if row is not None:
                yield genome, int(self.parameters(dataset)[row])
                return

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of the file by name; the table's module documents their content."""
        if self._arrays is None:
            raise RuntimeError(f"table {self.name}: load() comes first")
        return self._arrays
