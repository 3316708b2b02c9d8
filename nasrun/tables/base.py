"""What every benchmark table is: architectures in rows, and for each row the trainings that were made of it."""

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
"""Architectures drawn in search of one that a table holds, to compare the networks of space and table."""


class TableError(ConfigError):
    """A table that cannot be used. Its text is one line: the file, what is wrong with it, and what would be right."""


@dataclass(frozen=True)
class Trainings:
    """All trainings of one data set and length, row after row.

    `starts`: integers (rows + 1,); the trainings of row `i` are those from `starts[i]` up to `starts[i + 1]`, which may
    be none. `validation`, `test`: float64 (trainings,), accuracies as fractions; `test` is None if the table holds
    one accuracy per training, and NaN of a training that was not tested. `spent`: by the name of the metric, float64
    (trainings,): what a training took, or was measured besides. `mode`: which values are the better ones.
    """

    starts: np.ndarray
    validation: np.ndarray
    test: np.ndarray | None
    spent: Mapping[str, np.ndarray]
    mode: Literal["max", "min"] = "max"

    def of(self, row: int) -> slice:
        """Where the trainings of a row stand."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))

    def best(self, values: np.ndarray) -> float:
        """The best mean of a row, of `validation` or of `test`, if it has a number for each training."""
        sign = 1.0 if self.mode == "max" else -1.0
        rows = np.flatnonzero(np.diff(self.starts))
        first = self.starts[rows]
        means = sign * np.add.reduceat(values, first) / (self.starts[rows + 1] - first)
        top = np.nanmax(means)
        close = rows[means >= top - ROUNDING * abs(top)]  # these means are rounded more than once
        return sign * max(sign * mean(values[self.of(row)]) for row in close)

    def regret(self, values: np.ndarray, row: slice) -> float:
        """How much worse the mean of a row's trainings is than the best one, at least 0."""
        gap = self.best(values) - mean(values[row])
        return gap if self.mode == "max" else 0.0 - gap


def mean(values: np.ndarray) -> float:
    """The mean of a few numbers, rounded once: that of equal ones is the number itself."""
    return exact_mean(values.tolist())


class BenchmarkTable(ABC):
    """Accuracies of the architectures of one search space, measured by others. Nothing is read before `load`."""

    name: str
    """The name in `evaluator.table`."""
    space: str
    """Name of the search space, which is that of its module, to whose genomes the rows belong; empty: any."""
    datasets: tuple[str, ...] = ()
    """Names of the data sets that the table knows; empty: any, or those that its rows name."""
    epochs: tuple[int, ...] = ()
    """Training lengths in epochs, rising; empty if they are known only after `load`."""
    metric: str = "val_accuracy"
    """What networks are compared by."""
    has_epochs: bool = True
    """Whether it says how many epochs a training had; if not, its one length is 0."""
    spends: tuple[str, ...] = ()
    """Names of the metrics in `Trainings.spent`, the same for all lengths."""
    resolution: float | None = None
    """The smallest difference between two accuracies that the table can tell, as a fraction; None: not known."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Of the file, in hex, after `load`: equal where two runs saw the same table."""

    @abstractmethod
    def load(self) -> None:
        """Read the table; TableError if its file is missing or damaged. A second call does nothing."""

    @abstractmethod
    def trainings(self, dataset: str, epochs: int) -> Trainings:
        """The trainings on one of `datasets` with one of the lengths `epochs`."""

    @abstractmethod
    def parameters(self, dataset: str) -> np.ndarray:
        """Trainable parameters of each row's network: integers (rows,)."""

    @abstractmethod
    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        """The row of a genome of `space`, None if the table has none."""

    def examples(self, space: SearchSpace, dataset: str) -> Iterator[tuple[Genome, int]]:
        """Architectures with the parameters that the table says they have; none where it says nothing certain."""
        return iter(())


class ShippedTable(BenchmarkTable):
    """A table that comes with nasrun, as a file of numpy arrays (`.npz`) in `nasrun/tables/data`."""

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
        """Make what `find` needs from the arrays of the file."""

    def examples(self, space: SearchSpace, dataset: str) -> Iterator[tuple[Genome, int]]:
        """The first architecture that the table holds, of a few that are drawn."""
        rng = np.random.default_rng(0)
        for genome in (space.sample(rng) for _ in range(SAMPLES)):
            row = self.find(space, genome)
            if row is not None:
                yield genome, int(self.parameters(dataset)[row])
                return

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of the file, by name; the module of the table says what they hold."""
        if self._arrays is None:
            raise RuntimeError(f"table {self.name}: load() comes first")
        return self._arrays
