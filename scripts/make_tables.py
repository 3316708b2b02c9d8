"""Make the benchmark tables in nasrun/tables/data from the raw ones; the same bytes each time (with the same zlib).

    python scripts/make_tables.py FOLDER [OUTPUT]

FOLDER holds `nasbench201/nasbench201.csv.gz`, `nasbench101/ec_nas_5v_4epochs.json.gz` and `asnn/*.csv`. The stored
values are exact: each number is compared with the raw one, and the script stops if one differs.
"""

import argparse
import csv
import gzip
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.tables import asnn, nasbench201
from nasrun.tables.nasbench101 import table as nasbench101

Arrays = dict[str, np.ndarray]


def scaled(values: Iterable[str], unit: int, kind: type) -> np.ndarray:
    """Decimal numbers as whole numbers of `1 / unit`; ValueError if one is not whole or does not fit."""
    exact = [Decimal(value) * unit for value in values]
    found = np.array([int(value) for value in exact], dtype=np.int64)
    if any(value != int(value) for value in exact) or np.any(found.astype(kind) != found):
        raise ValueError(f"not all values are whole numbers of 1/{unit} that fit {kind.__name__}")
    return found.astype(kind)


def make_nasbench201(folder: Path) -> Arrays:
    """The columns of the CSV file, operations as a code; its other columns are left out."""
    with gzip.open(folder / "nasbench201" / "nasbench201.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    if [int(row["index"]) for row in rows] != list(range(len(nasbench201.OPERATIONS) ** nasbench201.EDGES)):
        raise ValueError("nasbench201: the rows are not those of the benchmark in its order")
    codes = [nasbench201.code_of(tuple(re.findall(r"\|?(\w+)~\d\|", row["arch"]))) for row in rows]
    if None in codes or len(set(codes)) != len(codes):
        raise ValueError("nasbench201: an architecture is unknown, or occurs twice")
    arrays: Arrays = {"code": np.array(codes, dtype=np.uint16)}
    for dataset in nasbench201.NasBench201.datasets:
        arrays[f"parameters_{dataset}"] = scaled([row[f"params_{dataset}"] for row in rows], 1, np.int32)
        for epochs in nasbench201.NasBench201.epochs:
            for name, short in (("validation", "val"), ("test", "test")):
                # The raw values are percent.
                values = [row[f"{dataset}_{short}_{epochs}"] for row in rows]
                arrays[f"{name}_{dataset}_{epochs}"] = scaled(values, nasbench201.UNITS // 100, np.int32)
    return arrays


def single(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Numbers as float32, in which they were recorded; ValueError if that is not exact."""
    found = np.array(values, dtype=np.float64)
    if np.any(found.astype(np.float32) != found):
        raise ValueError("not all values are single-precision numbers")
    return found.astype(np.float32)


def millionths(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Numbers of six decimals, with binary rounding errors of sums, as whole millionths."""
    found = np.array(values, dtype=np.float64) * nasbench101.MILLION
    whole = np.rint(found)
    if np.any(abs(found - whole) > 1e-6):
        raise ValueError("not all values have six decimals")
    return whole.astype(np.int32)


def make_ec_nas(folder: Path) -> Arrays:
    """All cells, and all training runs with their three measurements."""
    with gzip.open(folder / "nasbench101" / "ec_nas_5v_4epochs.json.gz", "rt") as file:
        cells: list[dict[str, Any]] = json.load(file)["cells"]
    cells.sort(key=lambda cell: cell["hash"])
    runs = [(row, run) for row, cell in enumerate(cells) for run in cell["runs"]]

    def measured(name: str) -> list[list[float]]:
        return [[evaluation[name] for evaluation in run["evaluations"]] for _, run in runs]

    hashes = b"".join(bytes.fromhex(cell["hash"]) for cell in cells)
    return {
        "hash": np.frombuffer(hashes, dtype=np.uint8).reshape(-1, 16),
        "parameters": np.array([cell["params"] for cell in cells], dtype=np.int32),
        "cell": np.array([row for row, _ in runs], dtype=np.uint16),
        "release": np.array([int(run["release"][0]) for _, run in runs], dtype=np.uint8),
        "repeat": np.array([run["repeat"] for _, run in runs], dtype=np.uint8),
        "epochs": np.array(measured("epoch")).astype(np.uint8),
        "train": single(measured("train_accuracy")),
        "validation": single(measured("validation_accuracy")),
        "test": single(measured("test_accuracy")),
        "seconds": single(measured("training_time_s")),
        "energy": millionths(measured("energy_kwh")),
        "co2": millionths(measured("co2eq_g")),
    }


def make_asnn(folder: Path) -> Arrays:
    """The paper's three tables, one below the other."""
    parts, widths, accuracies = [], [], []
    for part, name in enumerate(asnn.PARTS):
        with (folder / "asnn" / f"{name}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                parts.append(part)
                widths.append([int(row.get(column) or 0) for column in ("L1", "L2", "L3")])
                accuracies.append(scaled([row[f"E{n}"] for n in range(1, 11)], asnn.UNITS, np.uint16))
    return {
        "part": np.array(parts, dtype=np.uint8),
        "widths": np.array(widths, dtype=np.uint16),
        "accuracies": np.stack(accuracies),
    }


MAKERS = {nasbench201.NasBench201: make_nasbench201, nasbench101.EcNas: make_ec_nas, asnn.Asnn: make_asnn}


def packed(arrays: Arrays) -> bytes:
    """The content of an .npz file; numpy writes no times into it."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def main() -> None:
    """Write all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "nasrun" / "tables" / "data"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds the raw tables")
    parser.add_argument("output", type=Path, nargs="?", default=default, metavar="OUTPUT", help="nasrun/tables/data")
    arguments = parser.parse_args()
    for kind, make in MAKERS.items():
        content = packed(make(arguments.folder))
        path = arguments.output / f"{kind.name}.npz"
        path.write_bytes(content)
        print(f"{path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
