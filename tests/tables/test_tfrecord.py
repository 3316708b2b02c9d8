"""NAS-Bench-101's own files: what is read back, and what is refused and where."""

import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from nasrun.tables.nasbench101 import tfrecord
from nasrun.tables.nasbench101.arrays import halves_of
from nasrun.tables.nasbench101.table import CellIndex
from tests.tables import tfrecord_writer as writer
from tests.tables.support import SPACE, loaded, refused, written
from tests.tables.tfrecord_writer import Written


def test_checksums_of_both_sides_are_those_of_the_standard() -> None:
    # The check value of CRC-32C (RFC 3720, appendix B.4 has its relatives), and a record worked out with it.
    assert writer.crc32c(b"123456789") == 0xE3069283
    import google_crc32c

    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert tfrecord.masked(0xE3069283) == struct.unpack("<I", writer.masked(b"123456789"))[0]
    assert tfrecord.masked(0xE3069283) == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) % 2**32


def test_every_run_is_read_back_exactly(runs: list[Written], tmp_path: Path) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs])
    table = loaded(path)
    assert table.epochs == (4, 12)
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    expected: dict[tuple[str, int], list[Written]] = defaultdict(list)
    for run in runs:
        expected[run.cell, run.epochs].append(run)
    for (_, epochs), repeats in expected.items():
        row = table.find(SPACE, repeats[0].genome)
        assert row is not None
        assert table.parameters("cifar10")[row] == repeats[0].parameters
        trainings = table.trainings("cifar10", epochs)
        assert trainings.test is not None
        place = trainings.of(row)
        # In the order of the file, and to the last bit.
        assert trainings.validation[place].tolist() == [run.evaluations[-1][3] for run in repeats]
        assert trainings.test[place].tolist() == [run.evaluations[-1][4] for run in repeats]
        assert trainings.spent["simulated_seconds"][place].tolist() == [run.evaluations[-1][1] for run in repeats]
    means = [np.mean([run.evaluations[-1][3] for run in repeats]) for (_, e), repeats in expected.items() if e == 12]
    trainings = table.trainings("cifar10", 12)
    assert trainings.best(trainings.validation) == pytest.approx(max(means), rel=1e-15)


def test_other_cells_are_not_there(runs: list[Written], tmp_path: Path) -> None:
    table = loaded(written(tmp_path, [writer.payload(run) for run in runs]))
    keys = {run.cell for run in runs}
    rng = np.random.default_rng(5)
    others = [genome for genome in (SPACE.sample(rng) for _ in range(100)) if SPACE.key(genome) not in keys]
    assert others
    assert all(table.find(SPACE, genome) is None for genome in others)


def test_hashes_that_share_a_half_are_told_apart() -> None:
    digests = sorted(
        bytes([*lead] * 4 + [*tail] * 4) for lead in (b"\0\1", b"\xff\xfe") for tail in (b"\0\2", b"\xff\3")
    )
    index = CellIndex(halves_of(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)))
    assert [index.find(digest.hex()) for digest in digests] == [0, 1, 2, 3]
    assert index.find((digests[1][:8] + bytes(8)).hex()) is None
    assert index.find("f" * 32) is None
    assert index.find("0" * 32) is None


def test_cells_with_other_numbers_of_repeats(runs: list[Written], tmp_path: Path) -> None:
    chosen = [run for run in runs if run.epochs == 4][:4] + [run for run in runs if run.epochs == 12][5:6]
    table = loaded(written(tmp_path, [writer.payload(run) for run in chosen]))
    counts = {run.cell: np.zeros(2, dtype=int) for run in chosen}
    for run in chosen:
        counts[run.cell] += (run.epochs == 4, run.epochs == 12)
    for run in chosen:
        row = table.find(SPACE, run.genome)
        assert row is not None
        places = [table.trainings("cifar10", epochs).of(row) for epochs in (4, 12)]
        assert [place.stop - place.start for place in places] == counts[run.cell].tolist()


def test_records_that_span_chunks(runs: list[Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [writer.payload(run) for run in runs]
    whole = loaded(written(tmp_path, payloads, "whole.tfrecord"))
    for chunk in (1, 7, 11, 12, 13, 16, 500, 1 << 20):
        monkeypatch.setattr(tfrecord, "CHUNK", chunk)
        path = written(tmp_path, payloads[:9] if chunk < 16 else payloads, f"{chunk}.tfrecord")
        table = loaded(path)
        assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        if chunk >= 16:
            for epochs in whole.epochs:
                one, two = whole.trainings("cifar10", epochs), table.trainings("cifar10", epochs)
                assert np.array_equal(one.validation, two.validation)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: writer.message(run, checkpoint="gs://somewhere/model.ckpt-108"),
        # Fields in another order, and some that are not known.
        lambda run: b"\x98\x06\x05" + b"\x1d" + b"abcd" + reordered(run) + b"\xa2\x06\x03xyz",
        # The same doubles, numbered from the last to the first: as long as the usual message.
        lambda run: (
            b"".join(writer.varint(10) + writer.varint(45) + backwards(evaluation) for evaluation in run.evaluations)
            + b"\x10"
            + writer.varint(run.parameters)
        ),
    ],
    ids=["checkpoint paths", "other order", "doubles backwards"],
)
def test_other_ways_to_write_the_same_message(
    runs: list[Written], tmp_path: Path, change: Callable[[Written], bytes]
) -> None:
    table = loaded(written(tmp_path, [writer.payload(run, change(run)) for run in runs]))
    plain = loaded(written(tmp_path, [writer.payload(run) for run in runs], "plain.tfrecord"))
    for epochs in (4, 12):
        one, two = (t.trainings("cifar10", epochs) for t in (table, plain))
        assert np.array_equal(one.validation, two.validation)
        assert one.test is not None
        assert two.test is not None
        assert np.array_equal(one.test, two.test)
        assert np.array_equal(one.spent["simulated_seconds"], two.spent["simulated_seconds"])
    assert np.array_equal(table.parameters("cifar10"), plain.parameters("cifar10"))


def reordered(run: Written) -> bytes:
    """Parameters before the evaluations."""
    message = writer.message(run)
    evaluations = sum(2 + 45 for _ in run.evaluations)
    parameters = b"\x10" + writer.varint(run.parameters)
    return parameters + message[:evaluations] + message[evaluations + len(parameters) :]


def backwards(evaluation: Sequence[float]) -> bytes:
    return b"".join(bytes([number << 3 | 1]) + struct.pack("<d", evaluation[number - 1]) for number in (5, 4, 3, 2, 1))


def test_any_cut_is_refused_with_its_place(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    payloads = [writer.payload(run) for run in runs[:3]]
    sizes = [len(payload) + 16 for payload in payloads]
    whole = written(tmp_path, payloads).read_bytes()
    assert len(whole) == sum(sizes)
    path = tmp_path / "cut.tfrecord"
    for size in [*range(sizes[0] + 1, sizes[0] + 30), sizes[0] + sizes[1] - 1, len(whole) - 1]:
        path.write_bytes(whole[:size])
        number = 2 if size < sizes[0] + sizes[1] else 3
        start = sum(sizes[: number - 1])
        words = f"record {number} (at byte {start:,}) is truncated: the file ends at byte {size:,}"
        assert words in refused(path, cache, "truncated")
    path.write_bytes(b"")
    refused(path, cache, "is empty")


def test_any_flipped_bit_is_refused_with_its_place(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    payloads = [writer.payload(run) for run in runs[:3]]
    start, size = len(payloads[0]) + 16, len(payloads[1]) + 16
    whole = written(tmp_path, payloads).read_bytes()
    path = tmp_path / "flipped.tfrecord"
    for offset in [*range(13), 50, size // 2, *range(size - 6, size)]:
        broken = bytearray(whole)
        broken[start + offset] ^= 1 << offset % 8
        path.write_bytes(broken)
        part = "length" if offset < 12 else "content"
        refused(path, cache, f"record 2 (at byte {start:,}) is damaged: wrong checksum of its {part}")


def changed(run: Written, **values: Any) -> bytes:
    """The payload of a run with some of its parts replaced."""
    parts = dict(
        zip(("cell", "epochs", "adjacency", "operations", "message"), json.loads(writer.payload(run)), strict=True)
    )
    return json.dumps(list((parts | values).values())).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda run: b"\xff\xfe", "is not a training run of NAS-Bench-101"),
        (lambda run: b"{}", "not a JSON list of five"),
        (lambda run: b"[1, 2, 3, 4]", "not a JSON list of five"),
        (lambda run: b"[1, 2, 3, 4, 5]", "no hash of 32"),
        (lambda run: changed(run, cell="f" * 31), "no hash of 32"),
        (lambda run: changed(run, cell="g" * 32), "is not a training run"),
        (lambda run: changed(run, epochs=0), "no number of epochs"),
        (lambda run: changed(run, epochs="108"), "no number of epochs"),
        (lambda run: changed(run, message="A"), "is not a training run"),
        (lambda run: writer.payload(run, b""), "lacks evaluations"),
        (lambda run: writer.payload(run, writer.message(run)[:-4]), "truncated"),
        (lambda run: writer.payload(run, b"\x0a\x03abc\x10\x05"), "is not a training run"),
        (lambda run: writer.payload(run, b"\x0a\x00\x10\x05"), "lacks training time"),
        (lambda run: writer.payload(run, b"\x0b"), "unknown type 3"),
        (lambda run: writer.payload(run, b"\x10" + b"\xff" * 12), "too long"),
        (lambda run: writer.payload(run._replace(parameters=2**31)), "not a positive int32"),
        (lambda run: with_last(run, 3, 1.5), "validation accuracy 1.5"),
        (lambda run: with_last(run, 4, float("nan")), "test accuracy nan"),
        (lambda run: with_last(run, 1, float("inf")), "inf seconds"),
    ],
)
def test_whole_records_of_something_else_are_refused(
    runs: list[Written], tmp_path: Path, cache: Path, content: Callable[[Written], bytes], words: str
) -> None:
    payloads = [writer.payload(runs[0]), content(runs[1])]
    path = written(tmp_path, payloads)
    refused(path, cache, words)
    assert f"record 2 (at byte {len(payloads[0]) + 16:,}) " in refused(path, cache, words)


@settings(deadline=None)
@given(data=st.data())
def test_damaged_messages_raise_nothing_but_value_errors(data: st.DataObject) -> None:
    [run] = writer.runs(2, 1, epochs=(4,), repeats=1)
    message = bytearray(writer.message(run))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    try:
        parsed = tfrecord.parse(writer.payload(run, bytes(message[:cut])))
    except ValueError:
        return
    assert 0 <= parsed.validation <= 1
    assert parsed.parameters < 2**31


@settings(deadline=None)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_payload_is_a_run_or_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        tfrecord.parse(payload)


def with_last(run: Written, place: int, value: float) -> bytes:
    """A run whose last evaluation holds another value."""
    last = [*run.evaluations[-1]]
    last[place] = value
    return writer.payload(run._replace(evaluations=[*run.evaluations[:-1], tuple(last)]))


def test_one_cell_with_two_sizes_is_refused(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    one, other = runs[0], runs[1]._replace(parameters=5)
    assert one.cell == other.cell
    text = refused(written(tmp_path, [writer.payload(one), writer.payload(other)]), cache, "record 2 ")
    assert "gives its cell 5 parameters" in text
