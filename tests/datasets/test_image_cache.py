"""Pictures that are decoded once into a file: the same as in memory, made whole or not at all, found again."""

import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nasrun.datasets import DatasetError, image_cache
from nasrun.datasets.image_folder import ImageFolder
from nasrun.datasets.mapped import MappedImages, in_memory
from nasrun.datasets.overview import overview_of
from nasrun.datasets.record import record_of
from tests import picture_files

ROOT = Path(__file__).resolve().parents[2]


def folder(path: Path, cache: Path | str | None, **options: object) -> ImageFolder:
    """The data set of a folder of pictures, read."""
    data = ImageFolder(path=str(path), height=20, width=16, cache=None if cache is None else str(cache), **options)  # type: ignore[arg-type]
    data.load()
    return data


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with equal pictures, and one that is no picture."""
    place = picture_files.fill(tmp_path / "pictures")
    (place / "cat" / "00.png").write_bytes((place / "dog" / "3.png").read_bytes())
    (place / "emu" / "x.png").write_bytes(b"text")
    return place


def test_a_mapped_data_set_is_the_same_as_one_in_memory(pictures: Path, tmp_path: Path) -> None:
    held = folder(pictures, None, corrupt="skip", train_samples=20)
    for _ in range(2):  # when it is made, and when it is found
        mapped = folder(pictures, tmp_path / "cache", corrupt="skip", train_samples=20)
        assert record_of(mapped) == record_of(held)
        for name in ("train", "validation", "test", "left_out", "whole_training"):
            one, other = (getattr(data.load(), name) for data in (held, mapped))
            assert isinstance(one.images, np.ndarray)
            assert isinstance(other.images, MappedImages)
            assert (one.images == in_memory(other.images)).all()
            assert (one.labels == other.labels).all()
            assert (one.take(np.array([1, 0])).images == other.take(np.array([1, 0])).images[:]).all()
        seen, other_seen = overview_of(held), overview_of(mapped)
        assert seen is not None
        assert other_seen is not None
        assert (seen.images, seen.equal) == (other_seen.images, other_seen.equal)
        [remark] = set(other_seen.notes.remarks) - set(seen.notes.remarks)
        assert remark.startswith(f"decoded pictures: {tmp_path / 'cache'}/")
        assert (mapped.notes.smallest, mapped.notes.equal) == (held.notes.smallest, held.notes.equal)
        assert mapped.notes.passed_over == held.notes.passed_over
        assert mapped.load().nbytes < held.load().nbytes / 10
        assert mapped.load().in_memory().nbytes == held.load().nbytes
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".images"]


def test_a_copy_for_another_process_maps_the_same_file(pictures: Path, tmp_path: Path) -> None:
    splits = folder(pictures, tmp_path / "cache", corrupt="skip").load()
    copy = pickle.loads(pickle.dumps(splits))
    assert len(pickle.dumps(splits)) < 10_000
    assert copy.train.images.file is copy.test.images.file
    assert (copy.train.images[:] == splits.train.images[:]).all()


def test_the_file_follows_from_contents_and_what_changes_pixels(pictures: Path, tmp_path: Path) -> None:
    (pictures / "emu" / "x.png").unlink()
    cache = tmp_path / "cache"

    def files() -> int:
        return len(list(cache.glob("*.images")))

    folder(pictures, cache)
    pictures.rename(tmp_path / "elsewhere")
    for options in ({}, {"split_seed": 1}, {"validation": 0.3}, {"test": 0.3}, {"train_samples": 9}):
        folder(tmp_path / "elsewhere", cache, **options)
    assert files() == 1
    folder(tmp_path / "elsewhere", cache, resize="pad")
    folder(tmp_path / "elsewhere", cache, channels=1)
    assert files() == 3
    before = (tmp_path / "elsewhere" / "dog" / "5.png").stat()
    picture = (tmp_path / "elsewhere" / "dog" / "6.png").read_bytes()
    (tmp_path / "elsewhere" / "dog" / "5.png").write_bytes(picture)
    os.utime(tmp_path / "elsewhere" / "dog" / "5.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert overview_of(folder(tmp_path / "elsewhere", cache)) is not None
    assert files() == 4


def test_few_pictures_are_decoded_into_memory(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(folder(pictures, "auto", corrupt="skip").load().train.images, np.ndarray)
    monkeypatch.setattr(image_cache, "SMALL", 1000)
    assert isinstance(folder(pictures, "auto", corrupt="skip").load().train.images, MappedImages)
    [made] = (tmp_path / "cache" / "images").glob("*.images")  # $NASRUN_CACHE of these tests
    assert f"38 pictures: decoding them once; later runs start from {made}" in capsys.readouterr().err


def test_pictures_that_are_refused_leave_no_file(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"emu/x\.png: cannot be read as an image"):
        folder(pictures, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.parametrize("size", [0, 100, 5000, -1])
def test_a_file_that_is_not_whole_is_made_again(pictures: Path, tmp_path: Path, size: int) -> None:
    wanted = record_of(folder(pictures, tmp_path / "cache", corrupt="skip"))
    [made] = (tmp_path / "cache").glob("*.images")
    content = made.read_bytes()
    made.write_bytes(content[:size])
    assert record_of(folder(pictures, tmp_path / "cache", corrupt="skip")) == wanted
    assert made.read_bytes() == content


def test_what_a_killed_run_left_is_removed_and_not_used(pictures: Path, tmp_path: Path) -> None:
    """Killed while it decodes: the file under its temporary name is there, and the lock is free again."""
    cache = tmp_path / "cache"
    code = (
        "import sys, time; from nasrun.datasets import decoding; from nasrun.datasets.image_folder import ImageFolder\n"
        "from nasrun.datasets.image_files import ImageReader\n"
        "decode = ImageReader.decode\n"
        "def slow(self, path):\n"
        "    time.sleep(0.3)\n"
        "    return decode(self, path)\n"
        "ImageReader.decode = slow\n"
        f"ImageFolder(path={str(pictures)!r}, height=20, width=16, corrupt='skip', cache={str(cache)!r}).load()"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not list(cache.glob("*.partial")):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    [left] = cache.glob("*.partial")
    left.rename(left.with_name("other.partial"))
    assert not list(cache.glob("*.images"))
    folder(pictures, cache, corrupt="skip")
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".images"]


def test_two_runs_make_one_file(pictures: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        found = pool.map(_fingerprint, [(pictures, tmp_path / "cache")] * 3)
    assert len(set(found)) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2


def _fingerprint(places: tuple[Path, Path]) -> str | None:
    return record_of(folder(places[0], places[1], corrupt="skip")).fingerprint


def test_a_full_disk_falls_back_to_memory_and_says_so(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache, "reserve", full)
    monkeypatch.setattr(image_cache, "SMALL", 1000)
    assert isinstance(folder(pictures, "auto", corrupt="skip").load().train.images, np.ndarray)
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nasrun: {tmp_path / 'cache' / 'images'}: cannot hold 0.0 MB of decoded pictures (No space")
    assert line.endswith("they are decoded into memory, in every run; name another folder as dataset.cache=FOLDER")
    assert [path.name for path in (tmp_path / "cache" / "images").iterdir()] == ["lock"]
    monkeypatch.setattr(image_cache, "memory_bytes", lambda: 10_000)
    with pytest.raises(DatasetError, match=r"No space left on device\), nor can the memory; name another folder"):
        folder(pictures, "auto", corrupt="skip")
    with pytest.raises(DatasetError, match=r"^dataset\.cache=.*mine: .* \(No space left on device\); name another"):
        folder(pictures, tmp_path / "mine", corrupt="skip")


def test_a_cache_that_is_no_folder_is_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DatasetError, match=r"^dataset\.cache=.*file: .*; name another folder as dataset\.cache=FOLDER$"
    ):
        folder(pictures, tmp_path / "file", corrupt="skip")


def test_a_cache_that_cannot_be_written_is_read_all_the_same(pictures: Path, tmp_path: Path) -> None:
    folder(pictures, tmp_path / "cache", corrupt="skip")
    (tmp_path / "cache" / "lock").unlink()
    (tmp_path / "cache").chmod(0o555)
    try:
        assert isinstance(folder(pictures, tmp_path / "cache", corrupt="skip").load().train.images, MappedImages)
        assert len(list((tmp_path / "cache").iterdir())) == 1
    finally:
        (tmp_path / "cache").chmod(0o755)
