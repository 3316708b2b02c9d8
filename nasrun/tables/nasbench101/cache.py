"""Converts a file of NAS-Bench-101 records to a folder of arrays in the cache, which `RecordFile` memory-maps.

The folder has `hashes.npy` and `parameters.npy`, with rows in the order of the hashes; for each training length
`starts-<epochs>.npy` and `trainings-<epochs>.npy`, which is float64 (3, trainings): validation accuracy, test accuracy,
seconds; and `table.json`. It is created atomically.
"""

import hashlib
import json
import os
import shutil
import sys
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.core.locks import locked
from nasrun.datasets.sources import cache_folder
from nasrun.tables.base import TableError
from nasrun.tables.nasbench101.arrays import halves_of, starts_of
from nasrun.tables.nasbench101.tfrecord import damaged, read_runs

FORMAT = 1
"""Version of the layout, part of the folder's name."""

CELLS, REPEATS = 423_624, 3
PUBLISHED = {
    "nasbench_only108.tfrecord": ("4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1", 1),
    "nasbench_full.tfrecord": ("3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c", 4),
}
"""Published files by name, with SHA-256 and number of training lengths."""


def cached(path: Path) -> Path:
    """The folder with the content of a file of records, created if needed.

    TableError, in one line, if the file is missing, damaged or invalid; nothing is stored then.
    """
    folder = folder_of(path)
    if folder.is_dir():
        return folder
    root, prefix = folder.parent, folder.name.rpartition("-")[0]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f"{prefix}.lock", path.name, "reads"):
            if not folder.is_dir():  # another process may have created it in the meantime
                for old in [entry for entry in root.iterdir() if entry.name.startswith(f"{prefix}-")]:
                    shutil.rmtree(old)
                print(f"{path.name}: reading it once; later runs start from {folder}", file=sys.stderr)
                runs, sha256 = _read(path)
                write_folder(runs, {"source": str(path), "sha256": sha256}, folder)
    except OSError as error:
        reason = error.strerror or error
        raise TableError(f"{root}: cannot write the cache ({reason}); let $NASRUN_CACHE name another folder") from None
    return folder


def folder_of(path: Path) -> Path:
    """The cache folder of a file, which depends on its path, size and modification time."""
    try:
        real = path.resolve(strict=True)
        state = real.stat()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None
    now = f"{FORMAT} {state.st_size} {state.st_mtime_ns}"
    # The part before the last "-" is the same for all states of a file, so that old folders can be found.
    return cache_folder() / "tables" / f"{real.stem}-{_short(str(real))}-{_short(now)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(path: Path) -> tuple["Runs", str]:
    """The training runs of a file, and its SHA-256 in hex."""
    runs = Runs()
    digest = hashlib.sha256()
    try:
        for number, position, run in read_runs(path, digest):
            try:
                runs.add(*run)
            except ValueError as error:
                raise damaged(path, number, position, str(error)) from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None
    sha256 = digest.hexdigest()
    _compare(path, sha256, runs)
    return runs, sha256


def write_folder(runs: "Runs", facts: dict[str, Any], folder: Path) -> None:
    """Write a folder under a temporary name, then rename it."""
    temporary = folder.with_name(f"{folder.name}.tmp")
    temporary.mkdir()
    try:
        runs.write(temporary)
        facts = {**facts, "epochs": sorted(runs.by_epochs), "records": runs.count}
        (temporary / "table.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        _sync(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    """Force the files of a folder to disk, so that the renamed folder is complete even after a power failure."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _compare(path: Path, sha256: str, runs: "Runs") -> None:
    """Compare a file with the published ones: one with as many records must be identical; others are accepted with a
    message."""
    if sha256 in {known for known, _ in PUBLISHED.values()}:
        return
    for name, (known, lengths) in PUBLISHED.items():
        if runs.count == CELLS * REPEATS * lengths:
            raise TableError(
                f"{path}: wrong content: as many records as {name} has, but SHA-256 {sha256}, not {known}; "
                "download it again"
            )
    print(
        f"{path.name}: not one of the published files; its {runs.count:,} records of {len(runs.cells):,} cells "
        f"have valid checksums (SHA-256 {sha256})",
        file=sys.stderr,
    )


class Runs:
    """The training runs of a file as flat arrays: 28 bytes each, plus about 150 per cell."""

    def __init__(self) -> None:
        self.count = 0
        self.cells: dict[bytes, int] = {}
        self.by_epochs: dict[int, tuple[array[int], array[float], array[float], array[float]]] = {}
        self._parameters = array("q")

    def add(self, cell: bytes, epochs: int, parameters: int, validation: float, test: float, seconds: float) -> None:
        """Add a run; ValueError if it contradicts an earlier one of the same cell."""
        self.count += 1
        number = self.cells.setdefault(cell, len(self.cells))
        if number == len(self._parameters):
            self._parameters.append(parameters)
        elif self._parameters[number] != parameters:
            raise ValueError(f"gives its cell {parameters:,} parameters, an earlier one {self._parameters[number]:,}")
        columns = self.by_epochs.get(epochs)
        if columns is None:
            columns = self.by_epochs[epochs] = (array("i"), array("d"), array("d"), array("d"))
        numbers, validations, tests, times = columns
        numbers.append(number)
        validations.append(validation)
        tests.append(test)
        times.append(seconds)

    def write(self, folder: Path) -> None:
        """Write the arrays with rows in the order of the hashes, and runs of a row in the order of the file."""
        halves = halves_of(np.frombuffer(b"".join(self.cells), dtype=np.uint8).reshape(-1, 16))
        order = np.lexsort(halves[::-1])
        row_of = np.empty(len(order), dtype=np.int64)
        row_of[order] = np.arange(len(order))
        np.save(folder / "hashes.npy", halves[:, order])
        np.save(folder / "parameters.npy", np.frombuffer(self._parameters, dtype=np.int64)[order])
        for epochs, (numbers, *columns) in self.by_epochs.items():
            rows = row_of[np.frombuffer(numbers, dtype=np.int32)]
            place = np.argsort(rows, kind="stable")
            np.save(folder / f"starts-{epochs}.npy", starts_of(rows[place], len(order)))
            values = np.stack([np.frombuffer(column, dtype=np.float64)[place] for column in columns])
            np.save(folder / f"trainings-{epochs}.npy", values)
