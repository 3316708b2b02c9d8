"""Downloads, from a web server on loopback."""

import gzip
import hashlib
import io
import multiprocessing
import socket
import tarfile
import time
from pathlib import Path

import pytest
from small_sets import (
    NAMES,
    TEST,
    TRAINING,
    served,
    serving,
    small_cifar,
    small_cifar_contents,
    small_class,
    small_class_of,
    small_contents,
)

from nasrun.datasets import DatasetError, download
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.files import Published

CONTENTS = small_contents()
PATHS = list(served(CONTENTS))
SmallFashion = small_class(CONTENTS)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part(cache: Path, url: str) -> Path:
    return cache / f"part-{hashlib.sha256(url.encode()).hexdigest()[:8]}-{url.rsplit('/', 1)[1]}"


def test_a_download_fills_the_cache_and_happens_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(served(CONTENTS, "/base/")) as server:
        for _ in range(2):
            splits = SmallFashion(mirrors=[f"{server.url}/base/"]).load()
            assert (len(splits.whole_training), len(splits.test)) == (TRAINING, TEST)
        assert [path for path, _ in server.log] == list(served(CONTENTS, "/base/"))
    assert names_in(tmp_path / "cache" / "fashion-mnist") == sorted(f"{name}.gz" for name in NAMES)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("downloading http://127.0.0.1:") == 4


def test_the_public_homes_are_used_unless_mirrors_replace_them() -> None:
    with serving(served(CONTENTS)) as home, serving(served(CONTENTS)) as mirror:
        small_class(CONTENTS, homes=(home.url,))(mirrors=[mirror.url]).load()
        assert (len(home.log), len(mirror.log)) == (0, 4)
    with serving(served(CONTENTS)) as home:
        # The cache already has it: the home is asked for nothing.
        small_class(CONTENTS, homes=(home.url,))().load()
        assert not home.log


def test_homes_without_mirrors() -> None:
    with serving(served(CONTENTS)) as home:
        small_class(CONTENTS, homes=(home.url,))().load()
        assert len(home.log) == 4


@pytest.mark.parametrize("fault", ["wrong content", "truncated", "not found", "not gz", "too large"])
def test_the_next_mirror_is_tried(fault: str, tmp_path: Path) -> None:
    bad = served(CONTENTS)
    first = PATHS[0]
    if fault == "wrong content":
        bad[first] = gzip.compress(CONTENTS[NAMES[0]][:-1] + b"\x01")
    elif fault == "truncated":
        bad[first] = bad[first][:-100]
    elif fault == "not found":
        del bad[first]
    elif fault == "not gz":
        bad[first] = b"<html>please log in</html>"
    else:
        bad[first] += bytes(2 << 20)
    with serving(bad) as spoilt, serving(served(CONTENTS)) as good:
        SmallFashion(mirrors=[spoilt.url, good.url]).load()
        assert [path for path, _ in spoilt.log] == [first]  # a home that failed is asked last for what follows
        assert [path for path, _ in good.log] == PATHS
    assert names_in(tmp_path / "cache" / "fashion-mnist") == sorted(f"{name}.gz" for name in NAMES)


def test_each_mirror_that_failed_is_told_in_one_line(tmp_path: Path) -> None:
    with serving({}) as empty, serving({PATHS[0]: gzip.compress(b"other")}) as other:
        with pytest.raises(DatasetError) as error:
            SmallFashion(mirrors=[empty.url, other.url]).load()
        text = str(error.value)
        assert f"{empty.url}{PATHS[0]}: HTTP 404" in text
        assert f"{other.url}{PATHS[0]}: wrong content" in text
        assert len(empty.log) == len(other.log) == 1
    assert "\n" not in text
    assert names_in(tmp_path / "cache" / "fashion-mnist") == []


def test_a_connection_that_ends_early_is_resumed_the_next_time(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "fashion-mnist"
    with serving(served(CONTENTS), cut={PATHS[0]}) as server:
        url = server.url + PATHS[0]
        with pytest.raises(DatasetError, match=r"the connection ended after [\d,]+ of [\d,]+ bytes"):
            SmallFashion(mirrors=[server.url]).load()
        kept = part(cache, url).stat().st_size
        assert kept == len(server.contents[PATHS[0]]) // 2
        SmallFashion(mirrors=[server.url]).load()
        assert server.log[1] == (PATHS[0], f"bytes={kept}-")
        assert not part(cache, url).exists()


@pytest.mark.parametrize("leftover", ["a beginning of another file", "as long as the file"])
def test_a_leftover_that_does_not_fit_is_thrown_away(tmp_path: Path, leftover: str) -> None:
    cache = tmp_path / "cache" / "fashion-mnist"
    cache.mkdir(parents=True)
    with serving(served(CONTENTS)) as server:
        size = 1000 if leftover.startswith("a beginning") else len(server.contents[PATHS[0]])
        part(cache, server.url + PATHS[0]).write_bytes(bytes(size))
        SmallFashion(mirrors=[server.url]).load()
        assert [asked for path, asked in server.log if path == PATHS[0]] == [f"bytes={size}-", None]


def _load(table: Published, mirror: str) -> None:
    """Top-level, so that another process can run it."""
    assert len(small_class_of(table)(mirrors=[mirror]).load().test) == TEST


def test_two_processes_download_once() -> None:
    with serving(served(CONTENTS), delay=0.2) as server:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_load, args=(SmallFashion.published, server.url)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert sorted(path for path, _ in server.log) == sorted(PATHS)


def test_servers_that_do_not_answer_cost_their_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener with a full queue takes no connection, as a firewall that drops packets."""
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"  # bound but not listening
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            silent = [f"http://127.0.0.1:{address[1]}/{number}" for number in range(20)]
            start = time.monotonic()
            usable, reasons = download.reachable([*silent, refusing])
            # One after the other they would take ten seconds.
            assert time.monotonic() - start < 5
            for filler in fillers:
                filler.close()
    assert usable == []
    assert len(reasons) == 21
    assert reasons[-1] == f"{refusing}: Connection refused"


@pytest.mark.parametrize("mirror", ["ftp://somewhere/", "/a/folder", "https://"])
def test_mirrors_that_are_no_web_addresses_are_refused(mirror: str) -> None:
    with pytest.raises(ValueError, match=f"^mirrors={mirror}: must be an address"):
        FashionMnist(mirrors=[mirror])


def tar_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


CIFAR = small_cifar_contents()


def cifar_tar(**changes: bytes) -> bytes:
    members = {f"cifar-10-batches-py/{name}": content for name, content in {**CIFAR, **changes}.items()}
    return tar_of({"cifar-10-batches-py/readme.html": b"hello", "../../escaped": b"out", **members})


def test_an_archive_is_unpacked_into_the_cache(tmp_path: Path) -> None:
    with serving({"/cifar-10-python.tar.gz": cifar_tar()}) as server:
        for _ in range(2):
            splits = small_cifar(CIFAR)(mirrors=[server.url]).load()
            assert splits.test.images.shape == (40, 3, 32, 32)
        assert len(server.log) == 1
    assert names_in(tmp_path / "cache" / "cifar-10-batches-py") == sorted(CIFAR)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (cifar_tar(test_batch=CIFAR["test_batch"][:-1] + b"!"), "test_batch: wrong content"),
        (cifar_tar(data_batch_2=b"short"), "data_batch_2 has 5 bytes, not"),
        (cifar_tar()[:-2000], "not a whole tar file"),
        (b"<html>moved</html>", "not a whole tar file"),
        (tar_of({"readme": b"nothing else"}), "cifar-10-batches-py/data_batch_1 is not in it"),
    ],
)
def test_a_wrong_archive_is_refused_and_the_next_mirror_tried(tmp_path: Path, archive: bytes, message: str) -> None:
    with serving({"/cifar-10-python.tar.gz": archive}) as bad:
        with pytest.raises(DatasetError, match=rf"{bad.url}/cifar-10-python.tar.gz: .*{message}"):
            small_cifar(CIFAR)(mirrors=[bad.url]).load()
        with serving({"/cifar-10-python.tar.gz": cifar_tar()}) as good:
            small_cifar(CIFAR)(mirrors=[bad.url, good.url]).load()
    assert names_in(tmp_path / "cache" / "cifar-10-batches-py") == sorted(CIFAR)
