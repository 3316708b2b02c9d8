"""Writes files laid out as NAS-Bench-101's: the other side of `tables.nasbench101.tfrecord`, with no code of it."""

import base64
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nasrun.core import Genome, Task
from nasrun.spaces.nasbench101.graph import LABELS, read_cell
from nasrun.spaces.nasbench101.space import NASBench101

OPERATIONS = {"conv3x3": "conv3x3-bn-relu", "conv1x1": "conv1x1-bn-relu", "maxpool3x3": "maxpool3x3"}
TASK = Task("cifar10", 3, 32, 32, 10)
EPOCHS = (4, 12, 36, 108)


class Written(NamedTuple):
    """One training run as it stands in a record; `evaluations` are (epoch, seconds, train, validation, test)."""

    genome: Genome
    cell: str
    adjacency: str
    operations: str
    epochs: int
    evaluations: Sequence[tuple[float, float, float, float, float]]
    parameters: int


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum, byte by byte."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The checksum of `data` as TFRecord writes it."""
    crc = crc32c(data)
    rotated = crc >> 15 | (crc & 0x7FFF) << 17
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def record(payload: bytes) -> bytes:
    """A payload with its length and both checksums."""
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def varint(value: int) -> bytes:
    """An unsigned number as protobuf writes it."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def message(run: Written, checkpoint: str | None = None) -> bytes:
    """The `ModelMetrics` message of a run; `checkpoint` adds a path to every evaluation."""
    written = b""
    for evaluation in run.evaluations:
        inner = b"".join(varint(number << 3 | 1) + struct.pack("<d", x) for number, x in enumerate(evaluation, 1))
        if checkpoint is not None:
            inner += varint(6 << 3 | 2) + varint(len(checkpoint)) + checkpoint.encode()
        written += varint(1 << 3 | 2) + varint(len(inner)) + inner
    total = run.evaluations[-1][1] * 1.2
    return written + varint(2 << 3) + varint(run.parameters) + varint(3 << 3 | 1) + struct.pack("<d", total)


def payload(run: Written, content: bytes | None = None) -> bytes:
    """The JSON of a run; `content` takes the place of its message."""
    encoded = base64.b64encode(message(run) if content is None else content).decode()
    return json.dumps([run.cell, run.epochs, run.adjacency, run.operations, encoded]).encode()


def write(path: Path, payloads: Iterable[bytes]) -> None:
    """A file of such records."""
    with path.open("wb") as file:
        for content in payloads:
            file.write(record(content))


def runs(seed: int, cells: int, epochs: Sequence[int] = EPOCHS, repeats: int = 3) -> Iterator[Written]:
    """Training runs of different cells with their real hashes: each length, and each as often as `repeats` says.

    The repeats of a cell stand together, the lengths do not.
    """
    rng = np.random.default_rng(seed)
    space = NASBench101(operations=list(LABELS))
    drawn: dict[str, Genome] = {}
    while len(drawn) < cells:
        genome = space.sample(rng)
        drawn.setdefault(space.key(genome), genome)
    for length in epochs:
        for key, genome in drawn.items():
            cell = read_cell(space.format(genome), tuple(LABELS), vertices=7, edges=9, chain=False)
            rows = range(len(cell.inputs))
            adjacency = "".join(str(cell.inputs[target] >> source & 1) for source in rows for target in rows)
            operations = ",".join(["input", *[OPERATIONS[name] for name in cell.operations], "output"])
            parameters = space.cost(genome, TASK).parameters
            for _ in range(repeats):
                accuracies = np.sort(rng.random((3, 3)), axis=0)
                seconds = length * (10 + 10 * rng.random())
                evaluations = [
                    (length * part, seconds * part, *map(float, row))
                    for part, row in zip((0.0, 0.5, 1.0), accuracies, strict=True)
                ]
                yield Written(genome, key, adjacency, operations, length, evaluations, parameters)
