"""The user's own table: a CSV or Parquet file with one row per training run, for any search space.

`trials.csv` of a run is such a table too. All rows are checked when the file is read; messages count rows as a
spreadsheet does, with the heading as row 1.
"""

import csv
import functools
import hashlib
import io
import itertools
import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.options import error_line, nearest, printable, show
from nasrun.core.words import counted
from nasrun.tables.base import BenchmarkTable, TableError, Trainings

ENDINGS = (".csv", ".parquet")
METRICS = {"val_accuracy": "test_accuracy", "val_loss": "test_loss"}
"""Metrics by which networks may be compared (the first one present is used), with the corresponding test metrics."""
SECONDS = "simulated_seconds"
KEYS = ("genome", "epochs", "seed", "dataset", "status", "parameters", SECONDS, "seconds")
"""Columns with a special meaning."""
PASSED_OVER = ("trial", "repeat", "repeats", "parent", "origin", "reuse_of", "error", "flops")
"""Columns of a run's `trials.csv` that are ignored, in addition to those ending in `_std`."""
MOST_CHECKED = 5000
"""Number of rows whose parameters are compared with those computed by the search space."""
SHOWN = 5
"""Maximum number of invalid rows shown in a message."""

Cells = Mapping[str, str]


@dataclass(frozen=True)
class _Rows:
    """The content of a file, with one entry per training run: `architecture` (index into `genomes`), `epochs` (0: not
    given), `dataset`, and numbers by column (`test` may be NaN)."""

    genomes: Sequence[Genome]
    index: Mapping[Hashable, int]
    architecture: np.ndarray
    epochs: np.ndarray
    dataset: np.ndarray
    numbers: Mapping[str, np.ndarray]
    sha256: str


class OwnTable(BenchmarkTable):
    """The training runs in a file.

    Columns: `genome`, in the format of the search space; `val_accuracy` (a fraction) or `val_loss`; optionally the same
    with `test_`, `epochs`, `seed`, `dataset`, `simulated_seconds` or `seconds`. Any other non-empty column is a metric
    and must be numeric. Several rows of one architecture and length are repeats. An architecture without a row, or with
    an empty metric, is unknown.
    """

    space = ""

    def __init__(self, path: Path, space: SearchSpace) -> None:
        """Read the names of the columns. ValueError, starting with `table=`, if the file is not a valid table."""
        self.name, self._path, self._space = path.name, path, space
        try:
            self._columns = _columns(path.resolve(), *_state(path))
        except TableError as error:
            raise ValueError(f"table={show(str(path))}: {error}") from None
        metrics = [name for name in METRICS if name in self._columns]
        if "genome" not in self._columns or not metrics:
            missing = "genome" if "genome" not in self._columns else " or ".join(METRICS)
            near = nearest(missing.partition(" ")[0], self._columns)
            if len(self._columns) == 1 and (found := re.search(r"[;\t|]", self._columns[0])):
                near = f"columns are separated by commas, not by {'tabs' if found.group() == chr(9) else found.group()}"
            raise ValueError(f"table={show(str(path))}: no column {missing}; {near}")
        self.metric = metrics[0]
        self.has_epochs = "epochs" in self._columns
        taken = {*KEYS, *PASSED_OVER, self.metric, METRICS[self.metric]}
        others = [name for name in self._columns if name not in taken and not name.endswith("_std")]
        self._seconds = next((name for name in (SECONDS, "seconds") if name in self._columns), None)
        self.spends = (*others, *([SECONDS] if self._seconds else []))
        self._rows: _Rows | None = None

    @property
    def sha256(self) -> str:
        return self._loaded.sha256

    def load(self) -> None:
        if self._rows is None:
            self._rows = _cached(self._path, self._space, self._read)
            self.epochs = tuple(sorted({int(length) for length in self._rows.epochs}))

    @property
    def _loaded(self) -> _Rows:
        if self._rows is None:
            raise RuntimeError(f"table {self.name}: load() comes first")
        return self._rows

    def trainings(self, dataset: str, epochs: int) -> Trainings:
        rows = self._loaded
        ours = (rows.dataset == dataset) | (rows.dataset == "")
        if not ours.any():
            known = ", ".join(sorted(set(rows.dataset.tolist())))
            raise TableError(f"{self._path}: has no row of dataset={dataset}; it has rows of {known}")
        chosen = np.flatnonzero(ours & (rows.epochs == epochs))
        chosen = chosen[np.argsort(rows.architecture[chosen], kind="stable")]
        starts = np.searchsorted(rows.architecture[chosen], np.arange(len(rows.genomes) + 1))
        test = rows.numbers.get(METRICS[self.metric])
        spent = {name: rows.numbers[name][chosen] for name in self.spends}
        return Trainings(
            starts,
            rows.numbers[self.metric][chosen],
            None if test is None else test[chosen],
            spent,
            "min" if self.metric.endswith("loss") else "max",
        )

    def parameters(self, dataset: str) -> np.ndarray:
        return np.zeros(len(self._loaded.genomes), dtype=int)

    def examples(self, space: SearchSpace, dataset: str) -> Iterator[tuple[Genome, int]]:
        """The architectures of the first rows, if their parameters are in the file."""
        rows = self._loaded
        for place, count in enumerate(rows.numbers.get("parameters", np.array([]))[:MOST_CHECKED].tolist()):
            if count == count:
                yield rows.genomes[int(rows.architecture[place])], int(count)

    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        return self._loaded.index.get(space.key(genome))

    def _read(self) -> _Rows:
        content = _bytes(self._path)
        reader = _Reader(self._space, self.metric, self._columns, self.spends, self._seconds)
        return reader.read(self._path, _table(self._path, content), hashlib.sha256(content).hexdigest())


class _Reader:
    """Reads and checks the rows of a file one by one."""

    def __init__(
        self, space: SearchSpace, metric: str, columns: Sequence[str], spends: Sequence[str], seconds: str | None
    ) -> None:
        self._space, self._metric = space, metric
        self._test = METRICS[metric] if METRICS[metric] in columns else None
        self._seconds = seconds
        self._others = [name for name in spends if name != SECONDS]
        self._columns = columns
        self._index: dict[Hashable, int] = {}
        self._genomes: list[Genome] = []
        self._seen: dict[tuple[int, int, str, str], int] = {}
        self._kept: list[tuple[int, int, str, dict[str, float]]] = []

    def read(self, path: Path, rows: Iterator[tuple[int, Cells | None]], sha256: str) -> _Rows:
        """Raise TableError that names the invalid rows."""
        wrong, count = [], 0
        try:
            for number, cells in rows:
                count += 1
                try:
                    self._row(number, cells)
                except ValueError as error:
                    wrong.append(f"row {number}: {printable(' '.join(str(error).split()))[:200]}")
        except csv.Error as error:
            raise TableError(f"{path}: cannot be read as CSV after {counted(count, 'row')} ({error})") from None
        if wrong:
            more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
            rows_are = f"{len(wrong):,} of {counted(count, 'row')} {'is' if len(wrong) == 1 else 'are'}"
            raise TableError(f"{path}: {rows_are} wrong: {'; '.join(wrong[:SHOWN])}{more}")
        if not self._kept:
            raise TableError(f"{path}: has no row with a {self._metric}")
        names = list(self._kept[0][3])
        return _Rows(
            self._genomes,
            self._index,
            np.array([row[0] for row in self._kept]),
            np.array([row[1] for row in self._kept]),
            np.array([row[2] for row in self._kept]),
            {name: np.array([row[3][name] for row in self._kept]) for name in names},
            sha256,
        )

    def _row(self, number: int, cells: Cells | None) -> None:
        """Add a row; ValueError if it is invalid. Rows of failed, unmeasured or copied trials are skipped."""
        if cells is None:
            raise ValueError("has more or fewer cells than the heading")
        genome = self._genome(cells.get("genome", ""))
        if cells.get("status", "ok") != "ok" or cells.get("reuse_of") or not cells.get(self._metric):
            return
        epochs = _whole(cells, "epochs") if "epochs" in self._columns else 0
        numbers = {self._metric: self._quality(cells, self._metric)}
        if self._test is not None:
            numbers[self._test] = self._quality(cells, self._test) if cells.get(self._test) else math.nan
        numbers |= {name: _number(cells, name) for name in self._others}
        if self._seconds is not None:
            numbers[SECONDS] = _number(cells, self._seconds)
            if numbers[SECONDS] < 0:
                raise ValueError(f"{self._seconds} {show(cells[self._seconds])}: expected a time, at least 0")
        if "parameters" in self._columns:
            numbers["parameters"] = _number(cells, "parameters") if cells.get("parameters") else math.nan
        architecture = self._index.setdefault(self._space.key(genome), len(self._genomes))
        if architecture == len(self._genomes):
            self._genomes.append(genome)
        dataset, seed = cells.get("dataset", ""), cells.get("seed", "")
        if seed:
            first = self._seen.setdefault((architecture, epochs, dataset, seed), number)
            if first != number:
                raise ValueError(f"the same architecture, epochs and seed as row {first}")
        self._kept.append((architecture, epochs, dataset, numbers))

    def _genome(self, text: str) -> Genome:
        if not text:
            raise ValueError("genome is empty")
        plain = (
            text[1:] if text[0] == "'" and text[1:2] in ("=", "+", "-", "@") else text
        )  # the format of nasrun's own CSV
        try:
            genome = self._space.parse(plain)
            self._space.validate(genome)
        except ValueError as error:
            raise ValueError(f"genome {show(text)}: {error}") from None
        return genome

    def _quality(self, cells: Cells, name: str) -> float:
        value = _number(cells, name)
        if name.endswith("accuracy") and not 0 <= value <= 1:
            raise ValueError(f"{name} {show(cells[name])}: expected a fraction, from 0 to 1")
        return value


def _number(cells: Cells, name: str) -> float:
    text = cells.get(name) or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} {show(text)}: expected a number" if text else f"{name} is empty")
    return value


def _whole(cells: Cells, name: str) -> int:
    value = _number(cells, name)
    if value < 1 or value != int(value):
        raise ValueError(f"{name} {show(cells[name])}: expected a whole number, at least 1")
    return int(value)


@functools.lru_cache(maxsize=8)
def _columns(path: Path, changed: int, size: int) -> list[str]:
    """The names of the non-empty columns of a file, and those that it must have."""
    if path.suffix.lower() == ".parquet":
        frame = _parquet(path)
        names, filled = list(map(str, frame.columns)), frame.notna().any().tolist()
    else:
        with _opened(path) as file:
            rows = csv.reader(file)
            names = next(rows, [])
            filled = [False] * len(names)
            for row in rows:
                filled = [known or bool(text) for known, text in itertools.zip_longest(filled, row[: len(names)])]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"two columns have the name {show(twice)}")
    needed = ("genome", *METRICS) if len(names) > 1 else names  # a single column is a header with another separator
    return [name for name, known in zip(names, filled, strict=True) if known or name in needed]


def _table(path: Path, content: bytes) -> Iterator[tuple[int, Cells | None]]:
    """The rows of a file with their numbers, as texts by column name; None: the number of cells does not match."""
    if path.suffix.lower() == ".parquet":
        frame = _parquet(path)
        for number, values in enumerate(frame.itertuples(index=False, name=None), start=2):
            missing = (value is None or value != value for value in values)
            texts = ["" if gone else str(value) for gone, value in zip(missing, values, strict=True)]
            yield number, dict(zip(map(str, frame.columns), texts, strict=True))
        return
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    names = next(rows)
    for number, texts in enumerate(rows, start=2):
        if texts:  # skip empty lines
            yield number, dict(zip(names, texts, strict=True)) if len(texts) == len(names) else None


def _opened(path: Path) -> io.StringIO:
    try:
        return io.StringIO(_bytes(path).decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise TableError(f"is not UTF-8 text (at byte {error.start:,})") from None


def _state(path: Path) -> tuple[int, int]:
    """Modification time and size of a file, to detect changes."""
    try:
        state = path.stat()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None
    return state.st_mtime_ns, state.st_size


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None


def _parquet(path: Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise TableError("needs pandas to be read: pip install pandas pyarrow; or save it as CSV") from None
    try:
        return pandas.read_parquet(path)
    except Exception as error:  # pandas raises various errors
        raise TableError(f"cannot be read as Parquet ({error_line(error)})") from None


_KEPT: dict[tuple[Any, ...], _Rows] = {}
"""Cache of the last file read, because the runs of a sweep use the same one."""


def _cached(path: Path, space: SearchSpace, read: Callable[[], _Rows]) -> _Rows:
    """The result of `read` for the current state of a file and a space, cached."""
    key = (path.resolve(), *_state(path), type(space), repr(space.section))
    if key not in _KEPT or space.section is None:
        rows = read()
        _KEPT.clear()
        _KEPT[key] = rows
    return _KEPT[key]
