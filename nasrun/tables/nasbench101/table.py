"""Tables of NAS-Bench-101 cells, looked up by an MD5 hash that is equal for isomorphic cells.

`EcNas` is shipped with nasrun; `RecordFile` reads the benchmark's original file, supplied by the user. C. Ying et al.,
"NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019 (arXiv 1902.09635).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.tables.base import BenchmarkTable, ShippedTable, TableError, Trainings
from nasrun.tables.nasbench101.arrays import halves_of, starts_of

SPACE = "nasbench101"
MILLION = 1_000_000


class CellIndex:
    """Maps the hash of a cell to its row. Rows are in the order of the hashes."""

    def __init__(self, halves: np.ndarray) -> None:
        """`halves`: uint64 (2, rows), the hashes as two numbers each, the leading half first, in ascending order."""
        self._leading, self._trailing = halves

    def find(self, key: str) -> int | None:
        """The row of a hash of 32 hexadecimal digits; None if there is none."""
        leading, trailing = int(key[:16], 16), int(key[16:], 16)
        row = int(np.searchsorted(self._leading, np.uint64(leading)))
        while row < len(self._leading) and self._leading[row] == leading:
            if self._trailing[row] == trailing:
                return row
            row += 1
        return None


class EcNas(ShippedTable):
    """EC-NAS: all 2,532 cells of up to 5 vertices, trained for 4 epochs on CIFAR-10, with time and energy.

    P. Bakhtiarifard, C. Igel, R. Selvan, "EC-NAS: Energy Consumption Aware Tabular Benchmarks for Neural Architecture
    Search", ICASSP 2024 (arXiv 2210.06015). Every cell was trained once and measured at epochs 0, 2 and 4 (release
    5V9E); the 91 cells of up to 4 vertices three times more, measured at 0, 1 and 4 (4V9E). So lengths 1 and 2 are
    intermediate points of training runs of 4 epochs, and only those 91 cells have length 1. Length 4 has the training
    runs of both releases.

    Arrays: by cell `hash` uint8 (2532, 16) and `parameters`; by training run, in the order of the cells, `cell`,
    `release` (vertices: 4 or 5), `repeat`, and with one column per measurement `epochs`, `train`, `validation`, `test`
    (float32, as published), `seconds` (float32), `energy` and `co2` (integers in millionths of a kWh and of a gram of
    CO2 equivalent, cumulative since the start of training).
    """

    name = "ec_nas"
    space = SPACE
    datasets = ("cifar10",)
    epochs = (1, 2, 4)
    spends = ("simulated_seconds", "energy_kwh", "co2eq_g")

    def _prepare(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._index = CellIndex(halves_of(arrays["hash"]))

    def trainings(self, dataset: str, epochs: int) -> Trainings:
        held = self.arrays
        training, column = np.nonzero(held["epochs"] == epochs)

        def picked(name: str, unit: int = 1) -> np.ndarray:
            return held[name][training, column].astype(np.float64) / unit

        spent = {"simulated_seconds": picked("seconds"), "energy_kwh": picked("energy", MILLION)}
        spent["co2eq_g"] = picked("co2", MILLION)
        starts = starts_of(held["cell"][training], len(held["hash"]))
        return Trainings(starts, picked("validation"), picked("test"), spent)

    def parameters(self, dataset: str) -> np.ndarray:
        return self.arrays["parameters"]

    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        return self._index.find(str(space.key(genome)))


class RecordFile(BenchmarkTable):
    """`nasbench_only108.tfrecord`, `nasbench_full.tfrecord`, or any file of such records.

    The file is read and checked once; its content is stored in the cache, which later runs memory-map. If its size or
    modification time changes, it is read again.
    """

    space = SPACE
    datasets = ("cifar10",)
    spends = ("simulated_seconds",)

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._folder: Path | None = None
        self._sha256 = ""

    @property
    def sha256(self) -> str:
        return self._sha256

    def load(self) -> None:
        from nasrun.tables.nasbench101.cache import cached

        if self._folder is not None:
            return
        folder = cached(self._path)
        try:
            facts = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TableError(f"{folder}: cannot be read ({error}); delete this folder") from None
        self._index = CellIndex(_mapped(folder / "hashes.npy"))
        self._parameters = _mapped(folder / "parameters.npy")
        self.epochs, self._sha256, self._folder = tuple(facts["epochs"]), facts["sha256"], folder

    def trainings(self, dataset: str, epochs: int) -> Trainings:
        if self._folder is None:
            raise RuntimeError(f"table {self.name}: load() comes first")
        validation, test, seconds = _mapped(self._folder / f"trainings-{epochs}.npy")
        starts = _mapped(self._folder / f"starts-{epochs}.npy")
        return Trainings(starts, validation, test, {"simulated_seconds": seconds})

    def parameters(self, dataset: str) -> np.ndarray:
        return self._parameters

    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        return self._index.find(str(space.key(genome)))


def _mapped(path: Path) -> np.ndarray:
    """A memory-mapped array file, as a plain array, because slices of NumPy's memmap cost microseconds."""
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
        raise TableError(f"{path}: cannot be read ({error}); delete its folder") from None
    return mapped
