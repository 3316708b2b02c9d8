"""Reads NAS-Bench-101's original files, TFRecords of JSON with protobuf messages, without TensorFlow.

C. Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019 (arXiv 1902.09635). A
record is: the length of its payload (uint64, little-endian), the masked CRC-32C of these 8 bytes (uint32), the payload,
the masked CRC-32C of the payload. A payload is one training run as a JSON list: hash of the cell, epochs, adjacency,
operations, and a `ModelMetrics` message in base64. The checksums need google-crc32c (`nasrun[nasbench]`), which is
imported only here.
"""

import binascii
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from nasrun.tables.base import TableError

CHUNK = 1 << 20
"""Bytes read at a time."""

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
_MASK_DELTA = 0xA282EAD8

_EVALUATION = struct.Struct("<BdBdBdBdBd")
"""The usual format of an `EvaluationData` message: five doubles in the order of their field numbers."""
_EVALUATION_TAGS = (0x09, 0x11, 0x19, 0x21, 0x29)
_TRAINING_TIME, _VALIDATION, _TEST = 2, 4, 5

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Digest(Protocol):
    """Receives the bytes of a file as they are read."""

    def update(self, data: bytes, /) -> None: ...


class Run(NamedTuple):
    """The final state of a training run.

    `cell`: MD5 of the cell, 16 bytes. `epochs`: length of the training run. `parameters`: number of trainable ones.
    `validation`, `test`: accuracies as fractions. `seconds`: training time.
    """

    cell: bytes
    epochs: int
    parameters: int
    validation: float
    test: float
    seconds: float


def read_runs(path: Path, digest: Digest) -> Iterator[tuple[int, int, Run]]:
    """The number (from 1), the position in bytes and the content of every record of a file, in constant memory.

    `digest` receives every byte. TableError names the record and position at which the file is damaged, truncated or
    invalid. OSError passes through.
    """
    for number, (position, payload) in enumerate(_payloads(path, digest), 1):
        try:
            run = parse(payload)
        except ValueError as error:
            raise damaged(path, number, position, f"is not a training run of NAS-Bench-101 ({error})") from None
        yield number, position, run


def damaged(path: Path, number: int, position: int, reason: str) -> TableError:
    """The error for a file, which names the invalid record."""
    return TableError(f"{path}: record {number:,} (at byte {position:,}) {reason}")


def _payloads(path: Path, digest: Digest) -> Iterator[tuple[int, bytes]]:
    """The position and the payload of every record, with both checksums verified."""
    crc32c = _crc32c(path)
    number = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        pending, start = b"", 0
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            pending, at = pending + chunk, 0
            while at + _HEAD.size <= len(pending):
                length, check = _HEAD.unpack_from(pending, at)
                if masked(crc32c(pending[at : at + 8])) != check:
                    raise damaged(path, number + 1, start + at, "is damaged: wrong checksum of its length")
                end = at + _HEAD.size + length + _TAIL.size
                if start + end > size:
                    raise _cut_short(path, number + 1, start + at, size)
                if end > len(pending):
                    break
                payload = pending[at + _HEAD.size : end - _TAIL.size]
                if (masked(crc32c(payload)),) != _TAIL.unpack_from(pending, end - _TAIL.size):
                    raise damaged(path, number + 1, start + at, "is damaged: wrong checksum of its content")
                number += 1
                yield start + at, payload
                at = end
            pending, start = pending[at:], start + at
    if pending:
        raise _cut_short(path, number + 1, start, size)
    if not number:
        raise TableError(f"{path}: is empty; expected the records of NAS-Bench-101")


def _cut_short(path: Path, number: int, position: int, size: int) -> TableError:
    return damaged(path, number, position, f"is truncated: the file ends at byte {size:,}")


def _crc32c(path: Path) -> Callable[[bytes], int]:
    try:
        from google_crc32c import value
    except ImportError:
        raise TableError(f"{path}: to read it once, google-crc32c is needed: pip install nasrun[nasbench]") from None
    crc32c: Callable[[bytes], int] = value
    return crc32c


def masked(crc: int) -> int:
    """The form in which TFRecord stores a CRC: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def parse(payload: bytes) -> Run:
    """The training run of a payload; ValueError, in one line, if it is invalid."""
    content = json.loads(payload.decode())
    if not isinstance(content, list) or len(content) != 5:
        raise ValueError("not a JSON list of five")
    cell, epochs, _, _, encoded = content
    if not isinstance(cell, str) or len(cell) != 32 or not isinstance(encoded, str):
        raise ValueError("no hash of 32 hexadecimal digits or no message")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or not 1 <= epochs < 1 << 31:
        raise ValueError("no number of epochs")
    try:
        parameters, (seconds, validation, test) = _metrics(binascii.a2b_base64(encoded))
    except (IndexError, struct.error):
        raise ValueError("its protobuf message is truncated") from None
    if not (0 <= validation <= 1 and 0 <= test <= 1 and 0 <= seconds < float("inf")):
        raise ValueError(f"validation accuracy {validation}, test accuracy {test}, {seconds} seconds")
    return Run(bytes.fromhex(cell), epochs, parameters, validation, test, seconds)


def _metrics(message: bytes) -> tuple[int, tuple[float, float, float]]:
    """Number of trainable parameters, and the last evaluation of a `ModelMetrics` message."""
    evaluation, parameters = None, None
    for number, kind, value in _fields(message):
        if number == 1 and kind == _BYTES:
            evaluation = value
        elif number == 2 and kind == _VARINT:
            parameters = value
    if not isinstance(evaluation, bytes) or not isinstance(parameters, int):
        raise ValueError("its protobuf message lacks evaluations or parameters")
    if parameters >= 1 << 31:
        raise ValueError("its number of parameters is not a positive int32")
    return parameters, _evaluation(evaluation)


def _evaluation(message: bytes) -> tuple[float, float, float]:
    """Training time in seconds, validation and test accuracy of an `EvaluationData` message."""
    if len(message) == _EVALUATION.size:
        unpacked = _EVALUATION.unpack(message)
        if unpacked[::2] == _EVALUATION_TAGS:
            return unpacked[3], unpacked[7], unpacked[9]
    found = {number: value for number, kind, value in _fields(message) if kind == _FIXED64}
    try:
        [seconds, validation, test] = [_DOUBLE.unpack(found[n])[0] for n in (_TRAINING_TIME, _VALIDATION, _TEST)]  # type: ignore[arg-type]
    except KeyError:
        raise ValueError("an evaluation lacks training time, validation or test accuracy") from None
    return seconds, validation, test


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of every field of a protobuf message (protobuf's "Encoding", wire format).

    A value is an int for a varint, else its bytes. ValueError, IndexError or struct.error if it is damaged.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield tag >> 3, kind, number
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"its protobuf message has a field of unknown type {kind}")
        if at + length > end:
            raise IndexError
        yield tag >> 3, kind, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The varint at a position, and the position after it."""
    byte = message[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("its protobuf message has a number that is too long")
