"""Files of published data sets: found in the right place, refused by name where they are not what they should be."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small_sets
from small_sets import NAMES, small_class, small_contents, write

from nasrun.datasets import DatasetError
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.fashion_mnist_mini import FashionMnistMini
from nasrun.datasets.mnist import Mnist

SYSTEM = Path("/usr/share/datasets/fashion-mnist")
CONTENTS = small_contents()
IMAGES, LABELS = NAMES[0], NAMES[1]


@pytest.mark.parametrize("packed", [True, False])
def test_small_set_is_read_as_it_was_written(tmp_path: Path, packed: bool) -> None:
    write(tmp_path / "fashion-mnist", CONTENTS, packed)
    raw = small_class(CONTENTS)(root=str(tmp_path)).read()
    mini = small_sets.mini()
    assert (raw.training.images == mini.training.images[:300]).all()
    assert (raw.training.labels == mini.training.labels[:300]).all()
    assert (raw.test.images == mini.test.images[:100]).all()
    assert (raw.test.labels == mini.test.labels[:100]).all()


def changed(name: str, content: bytes) -> dict[str, bytes]:
    return {**CONTENTS, name: content}


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


WRONG = {
    "magic": (LABELS, struct.pack(">I", 2051) + CONTENTS[LABELS][4:], "magic 2051, not 2049"),
    "counts": (LABELS, struct.pack(">II", 2049, 299) + CONTENTS[LABELS][8:-1], "holds 299 values, not 300"),
    "size": (IMAGES, struct.pack(">4I", 2051, 300, 32, 28), "holds 300 x 32 x 28 values, not 300 x 28 x 28"),
    "truncated": (IMAGES, CONTENTS[IMAGES][:-1], "truncated: 235,215 bytes unpacked, not 235,216"),
    "header": (IMAGES, CONTENTS[IMAGES][:9], "truncated: 9 bytes are not even an IDX header of 16"),
    "empty": (IMAGES, b"", "truncated: 0 bytes"),
    "trailing": (LABELS, CONTENTS[LABELS] + b"\0", "bytes follow after the 308"),
    "content": (IMAGES, flip(CONTENTS[IMAGES], 5000), "wrong content: SHA-256 [0-9a-f]{64} unpacked, not [0-9a-f]{64}"),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("what", WRONG)
def test_wrong_idx_files_are_refused_by_name(tmp_path: Path, what: str, packed: bool) -> None:
    name, content, message = WRONG[what]
    write(tmp_path / "fashion-mnist", changed(name, content), packed)
    with pytest.raises(DatasetError, match=rf"/fashion-mnist/{name}[.gz]*: .*{message}") as error:
        small_class(CONTENTS)(root=str(tmp_path)).load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda packed: packed[:-300], "truncated: the gz file ends too early"),
        (lambda packed: packed[:-3], "truncated: the gz file ends too early"),
        (lambda packed: flip(packed, 0), "not a whole gz file"),
        (lambda packed: flip(packed, len(packed) - 8), "not a whole gz file .*CRC"),
        (lambda packed: packed + b"more", "not a whole gz file"),
    ],
)
def test_spoilt_gz_files_are_refused_by_name(tmp_path: Path, spoil, message: str) -> None:
    folder = write(tmp_path / "fashion-mnist", CONTENTS)
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DatasetError, match=f"^{path}: {message}"):
        small_class(CONTENTS)(root=str(tmp_path)).load()


def test_a_gz_that_unpacks_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    folder = write(tmp_path / "fashion-mnist", CONTENTS)
    (folder / f"{LABELS}.gz").write_bytes(gzip.compress(CONTENTS[LABELS] + bytes(200_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="bytes follow after the 308"):
            small_class(CONTENTS)(root=str(tmp_path)).load()
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_an_explicit_root_must_hold_every_file_and_nothing_else_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "fashion-mnist", CONTENTS)
    monkeypatch.setenv("NASRUN_DATA", str(tmp_path / "data"))
    folder = write(tmp_path / "mine" / "fashion-mnist", CONTENTS)
    (folder / f"{NAMES[2]}.gz").unlink()
    with pytest.raises(
        DatasetError, match=rf"^dataset.root=.*mine: {folder}/{NAMES[2]} \(or .gz\) is missing"
    ) as error:
        small_class(CONTENTS)(root=str(tmp_path / "mine")).load()
    assert "\n" not in str(error.value)
    assert all(name in str(error.value) for name in NAMES)


def test_places_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place holds other bytes under the right names, so the message of the refusal tells which was read."""
    spoilt = changed(LABELS, flip(CONTENTS[LABELS], 20))
    system = tmp_path / "system"
    data = small_class(CONTENTS, system=str(system))
    places = {
        "cache": tmp_path / "cache" / "fashion-mnist",
        "system": system,
        "env": tmp_path / "env" / "fashion-mnist",
        "root": tmp_path / "root" / "fashion-mnist",
    }
    monkeypatch.setenv("NASRUN_DATA", str(tmp_path / "env"))
    for place, folder in places.items():
        write(folder, spoilt)
        root = str(tmp_path / "root") if place == "root" else None
        with pytest.raises(DatasetError, match=f"^{folder}/"):
            data(root=root, mirrors=[]).load()


def test_an_incomplete_data_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASRUN_DATA", str(tmp_path / "env"))
    (write(tmp_path / "env" / "fashion-mnist", CONTENTS) / f"{LABELS}.gz").unlink()
    write(tmp_path / "cache" / "fashion-mnist", CONTENTS, packed=False)
    assert len(small_class(CONTENTS)(mirrors=[]).load().test) == 100


def test_offline_one_line_says_what_goes_where(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        small_class(CONTENTS)(mirrors=[]).load()
    text = str(error.value)
    assert "\n" not in text
    for file in small_class(CONTENTS).published.files:
        assert f"{file.name} ({file.size:,} bytes, SHA-256 {file.sha256})" in text
    assert "$NASRUN_DATA/fashion-mnist/" in text
    assert str(tmp_path / "cache" / "fashion-mnist") in text
    assert "dataset.mirrors is empty" in text


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nasrun.datasets.sources import cache_folder

    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("NASRUN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "nasrun"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "nasrun"


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NASRUN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match=r"/file/fashion-mnist: cannot write the cache .*NASRUN_CACHE"):
        small_class(CONTENTS)(mirrors=[]).load()


def test_real_mnist(shared_data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASRUN_DATA", shared_data)
    splits = Mnist(mirrors=[]).load()
    assert splits.train.images.shape == (54_000, 1, 28, 28)
    assert splits.validation.images.shape == (6_000, 1, 28, 28)
    assert np.bincount(splits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    exact = np.bincount(Mnist(root=shared_data).read().training.labels) / 10
    assert (abs(np.bincount(splits.validation.labels) - exact) < 1).all()
    assert splits.mean == pytest.approx((0.1307,), abs=5e-4)
    assert splits.std == pytest.approx((0.3081,), abs=5e-4)


def test_mnist_in_the_place_of_fashion_mnist_is_refused(shared_data: str, tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").symlink_to(Path(shared_data) / "mnist")
    with pytest.raises(DatasetError, match=r"fashion-mnist/train-images-idx3-ubyte.gz: wrong content"):
        FashionMnist(root=str(tmp_path)).load()


def test_the_shipped_images_are_those_of_the_real_set() -> None:
    if not SYSTEM.is_dir():
        pytest.skip("Fashion-MNIST is not installed here")
    real, mini = FashionMnist(mirrors=[]).read(), FashionMnistMini().read()
    assert real.classes == mini.classes
    for whole, part, number in ((real.training, mini.training, 1000), (real.test, mini.test, 200)):
        first = np.sort(np.concatenate([np.flatnonzero(whole.labels == label)[:number] for label in range(10)]))
        assert (whole.images[first] == part.images).all()
        assert (whole.labels[first] == part.labels).all()


def test_the_shipped_file_is_small_and_has_its_licence() -> None:
    folder = Path(__file__).resolve().parents[2] / "nasrun" / "datasets" / "data"
    assert (folder / "fashion_mnist_mini.xz").stat().st_size < 4_600_000
    licence = (folder / "LICENSE.fashion_mnist_mini").read_text(encoding="utf-8")
    assert "Zalando SE" in licence
    assert "The MIT License" in licence
