"""What stays of NAS-Bench-101's own files in the cache, and what later runs make of it."""

import builtins
import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.tables import TableError, choose
from nasrun.tables.nasbench101 import cache as nasbench101_cache
from tests.tables import tfrecord_writer as writer
from tests.tables.support import SPACE, kept, loaded, written
from tests.tables.tfrecord_writer import Written


def test_the_published_files_are_compared(
    runs: list[Written],
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    payloads = [writer.payload(run) for run in runs if run.epochs == 4]
    path = written(tmp_path, payloads, "nasbench_only108.tfrecord")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded(path)
    assert "not one of the published files; its 60 records of 20 cells have valid checksums" in capsys.readouterr().err
    # As if the published file had these records.
    monkeypatch.setattr(nasbench101_cache, "CELLS", 20)
    again = written(tmp_path, payloads, "again.tfrecord")
    with pytest.raises(TableError, match=f"as many records as nasbench_only108.tfrecord has, but SHA-256 {sha256}"):
        loaded(again)
    monkeypatch.setattr(nasbench101_cache, "PUBLISHED", {"nasbench_only108.tfrecord": (sha256, 1)})
    loaded(again)
    assert "not one of the published" not in capsys.readouterr().err


def test_the_published_checksums() -> None:
    assert {name: entry[0][:8] for name, entry in nasbench101_cache.PUBLISHED.items()} == {
        "nasbench_only108.tfrecord": "4c39c393",
        "nasbench_full.tfrecord": "3d64db81",
    }
    assert all(len(sha256) == 64 for sha256, _ in nasbench101_cache.PUBLISHED.values())


def test_later_loads_take_the_cache(
    runs: list[Written],
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs])
    first = loaded(path)
    assert capsys.readouterr().err.count("\n") == 2
    [folder] = kept(cache)

    def untouched(*_: Any) -> None:
        raise AssertionError("the file was read again")

    with monkeypatch.context() as patch:
        patch.setattr(nasbench101_cache, "read_runs", untouched)
        second = loaded(path)
    assert capsys.readouterr().err == ""
    assert second.sha256 == first.sha256
    assert np.array_equal(first.trainings("cifar10", 12).validation, second.trainings("cifar10", 12).validation)
    # Changed, the file is read anew, and what was kept of it before goes.
    writer.write(path, [writer.payload(run) for run in runs[:30]])
    assert loaded(path).sha256 != first.sha256
    assert len(kept(cache)) == 1
    assert kept(cache) != [folder]
    # The same size at another time is another file, too.
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    before = kept(cache)
    loaded(path)
    assert len(kept(cache)) == 1
    assert kept(cache) != before


def test_a_link_is_the_file_that_it_leads_to(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs[:6]])
    link = tmp_path / "link.tfrecord"
    link.symlink_to(path)
    assert loaded(path).sha256 == loaded(link).sha256
    assert len(kept(cache)) == 1


def test_a_killed_reader_leaves_nothing_that_counts(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs])
    loaded(path)
    [name] = kept(cache)
    (cache / "tables" / name).rename(cache / "tables" / f"{name}.tmp")  # as if killed before the last step
    loaded(path)
    assert kept(cache) == [name]


def test_a_folder_that_is_damaged_is_named(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs[:6]])
    loaded(path)
    [name] = kept(cache)
    trainings = next((cache / "tables" / name).glob("trainings-*.npy"))
    trainings.write_bytes(trainings.read_bytes()[:-8])
    table = loaded(path)
    with pytest.raises(TableError, match=r"trainings-4\.npy: cannot be read .*; delete its folder$"):
        table.trainings("cifar10", 4)
    (cache / "tables" / name / "hashes.npy").write_bytes(b"")
    with pytest.raises(TableError, match=r"hashes\.npy: cannot be read .*; delete its folder$"):
        loaded(path)
    (cache / "tables" / name / "table.json").write_bytes(b"")
    with pytest.raises(TableError, match=f"{name}: cannot be read .*; delete this folder$"):
        loaded(path)


def test_a_cache_that_cannot_be_written_is_named(
    runs: list[Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs[:6]])
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "taken"))
    with pytest.raises(TableError, match=r"cannot write the cache .*; let \$NASRUN_CACHE name another folder$"):
        loaded(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.tfrecord"
    with pytest.raises(TableError, match=r"gone\.tfrecord: cannot be read \(No such file or directory\)$"):
        loaded(path)
    with pytest.raises(ValueError, match=r"^table=gone\.tfrecord: no such table, and no such file"):
        choose("gone.tfrecord", SPACE)


def test_without_the_library_one_line_says_what_to_install(
    runs: list[Written], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs[:6]])
    other = written(tmp_path, [writer.payload(run) for run in runs[:6]], "other.tfrecord")
    loaded(path)
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("google_crc32c"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TableError, match=r"google-crc32c is needed: pip install nasrun\[nasbench\]$"):
        loaded(other)
    loaded(path)  # what is in the cache needs no checksums


def _load_in_process(path: Path, answers: Any) -> None:
    answers.put(loaded(path).sha256)


def test_processes_that_come_at_once_share_one_reading(runs: list[Written], tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path, [writer.payload(run) for run in runs])
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_load_in_process, args=(path, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert found == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(kept(cache)) == 1
