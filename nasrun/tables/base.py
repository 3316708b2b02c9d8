"""What every benchmark table is: architectures in rows, and for each row the trainings that were made of it."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError

ROUNDING = 1e-12


class TableError(ConfigError):
    """A table that cannot be used. Its text is one line: the file, what is wrong with it, and what would be right."""


@dataclass(frozen=True)
class Trainings:
    """All trainings of one data set and length, row after row.

    `starts`: integers (rows + 1,); the trainings of row `i` are those from `starts[i]` up to `starts[i + 1]`, which may
    be none. `validation`, `test`: float64 (trainings,), accuracies as fractions; `test` is None where the table holds
    one accuracy per training. `spent`: by the name of the metric, float64 (trainings,): what a training took.
    """

    starts: np.ndarray
    validation: np.ndarray
    test: np.ndarray | None
    spent: Mapping[str, np.ndarray]

    def of(self, row: int) -> slice:
        """Where the trainings of a row stand."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))

    def best(self, values: np.ndarray) -> float:
        """The highest mean of a row, of `validation` or of `test`."""
        rows = np.flatnonzero(np.diff(self.starts))
        first = self.starts[rows]
        means = np.add.reduceat(values, first) / (self.starts[rows + 1] - first)
        close = rows[means >= means.max() - ROUNDING * abs(means.max())]  # these means are rounded more than once
        return max(mean(values[self.of(row)]) for row in close)


def mean(values: np.ndarray) -> float:
    """The mean of a few numbers, rounded once: that of equal ones is the number itself."""
    return exact_mean(values.tolist())


class BenchmarkTable(ABC):
    """Accuracies of the architectures of one search space, measured by others. Nothing is read before `load`."""

    #: The name in `evaluator.table`.
    name: str
    #: Name of the search space, which is that of its module, to whose genomes the rows belong.
    space: str
    #: Names of the data sets that the table knows.
    datasets: tuple[str, ...]
    #: Training lengths in epochs, rising; empty where they are known only after `load`.
    epochs: tuple[int, ...] = ()
    #: Names of the metrics in `Trainings.spent`, the same for all lengths.
    spends: tuple[str, ...] = ()
    #: The smallest difference between two accuracies that the table can tell, as a fraction; None: not known.
    resolution: float | None = None

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Of the file, in hex, after `load`: equal where two runs saw the same table."""

    @abstractmethod
    def load(self) -> None:
        """Read the table; TableError where its file is missing or damaged. A second call does nothing."""

    @abstractmethod
    def trainings(self, dataset: str, epochs: int) -> Trainings:
        """The trainings on one of `datasets` with one of the lengths `epochs`."""

    @abstractmethod
    def parameters(self, dataset: str) -> np.ndarray:
        """Trainable parameters of each row's network: integers (rows,)."""

    @abstractmethod
    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        """The row of a genome of `space`, None where the table has none."""


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

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of the file, by name; the module of the table says what they hold."""
        if self._arrays is None:
            raise RuntimeError(f"table {self.name}: load() comes first")
        return self._arrays
