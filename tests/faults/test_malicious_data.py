"""Data sets that someone else has made: pictures that unpack without end, pipes, names that are commands or markup."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.datasets.arrays import Arrays
from nasrun.datasets.base import DatasetError
from nasrun.datasets.download import unpack
from nasrun.datasets.files import File
from nasrun.datasets.image_folder import ImageFolder
from nasrun.datasets.pictures import picture_shape, read_picture
from nasrun.reports.tables import markdown

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three small images."""
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def load(folder: Path) -> Any:
    return ImageFolder(path=str(folder), height=4, width=4).load()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side: int) -> bytes:
    """A PNG that claims so many pixels a side: grey, of zeros, some kilobytes long."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10**6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_picture_larger_than_any_photograph_is_refused_unread(folder: Path) -> None:
    for side in (10_000, 100_000, 2**31 - 1):
        (folder / "cat" / "bomb.png").write_bytes(png_bomb(side))
        with pytest.raises(DatasetError, match=r"bomb\.png: more than 89 megapixels; move it away, or") as caught:
            load(folder)
        assert "\n" not in str(caught.value)


def test_text_in_a_picture_does_not_unpack_without_end(folder: Path) -> None:
    content = png_bomb(4)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 10**8))
    (folder / "cat" / "text.png").write_bytes(content[:33] + text + content[33:])
    with pytest.raises(DatasetError, match=r"text\.png: cannot be read as an image"):
        load(folder)


@pytest.mark.parametrize("kind", ["pipe", "loop", "gone", "device", "byte"])
def test_what_is_no_image_file_is_refused_by_name(kind: str, folder: Path) -> None:
    path = folder / "cat" / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "byte":
        path.write_bytes(b"\x89")
    else:
        path.symlink_to({"loop": path, "gone": folder / "nowhere", "device": Path("/dev/zero")}[kind])
    with pytest.raises(DatasetError, match=r"x\.png: (is not a file|cannot be read as an image)"):
        load(folder)


def test_a_link_is_read_as_an_image_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """A folder of links to pictures that lie elsewhere is usual; what they lead to must be a picture all the same."""
    (folder / "cat" / "0.png").rename(tmp_path / "elsewhere.png")
    (folder / "cat" / "0.png").symlink_to(tmp_path / "elsewhere.png")
    assert len(load(folder).train.images) + len(load(folder).validation.images) + len(load(folder).test.images) == 6
    (tmp_path / "elsewhere.png").write_text("a password")
    with pytest.raises(DatasetError, match=r"0\.png: cannot be read as an image") as caught:
        load(folder)
    assert "password" not in str(caught.value)


HOSTILE = ("a\n| b", "\x1b[31mred", "<img src=x onerror=alert(1)>", "..", "'; import os #", '"""')


def test_names_of_classes_are_text(folder: Path, nasrun_inprocess: Any, tmp_path: Path) -> None:
    """From their folders into the model card and the Python file of an export, which then loads; and into `predict`."""
    for number, name in enumerate(sorted(HOSTILE)):
        name = "dots" if name == ".." else name
        (folder / name).mkdir()
        for place in range(3):
            Image.fromarray(np.full((4, 4, 3), 40 * number, dtype=np.uint8)).save(folder / name / f"{place}.png")
    classes = load(folder).classes
    assert len(classes) == 8
    words = "evaluator=train evaluator.epochs=1 evaluator.batch_size=4 evaluator.final_epochs=1 trials=1"
    words += " strategy=random search_space=sequential_cnn search_space.max_depth=3 search_space.filters=[2]"
    words += " search_space.kernels=[1]"
    words += " search_space.dense=2"
    words += f" dataset=image_folder dataset.path={folder} dataset.height=4 dataset.width=4 dataset.validation=0.3"
    words += " hardware=cpu hardware.threads=1 output.console=none output.plots=false hydra.run.dir=run"
    assert nasrun_inprocess(words) == (0, "", "")
    done = nasrun_inprocess("export run --format python")
    assert (done.returncode, done.stderr) == (0, "")
    from runpy import run_path

    assert run_path(str(tmp_path / "run" / "export" / "model.py"))["CLASSES"] == classes
    [card] = (tmp_path / "run" / "export").glob("*.md")
    assert "<img src" not in card.read_text()
    assert "\x1b" not in card.read_text()
    assert len([line for line in card.read_text().splitlines() if line.startswith(("| 0 |", "| 7 |"))]) == 2
    (tmp_path / "an\x1b[2J.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    done = nasrun_inprocess("predict run 'an\x1b[2J.png' --top 8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_cells_of_markdown_hold_no_markup() -> None:
    assert markdown("a\n<b>|c\x1b") == "a &lt;b>\\|c?"


def npz(path: Path, **headers: bytes) -> str:
    """An `.npz` whose arrays have these bytes, packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in headers.items():
            file.writestr(f"{name}.npy", content)
    return str(path)


def npy(shape: tuple[int, ...], kind: str, content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


LABELS = npy((4,), "<i8", np.array([0, 1, 0, 1]).tobytes())


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (npy((10**9, 1000, 1000), "|u1"), LABELS),
        (npy((4, 2, 2), "|u1", bytes(16)), npy((10**12,), "<i8")),
        (npy((4, 2, 2), "|u1", bytes(16)), npy((4,), "<U1000000000")),
        (npy((2**62, 4, 4), "|u1"), LABELS),
        (npy((-1, 4, 4), "|u1"), LABELS),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000, LABELS),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 40) + b"__import__('os').system('touch ran')    ", LABELS),
    ],
    ids=["images", "labels", "words", "overflow", "negative", "nested", "code"],
)
def test_arrays_that_claim_what_is_not_there_are_refused(
    images: bytes, labels: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "x.npz", images=images, labels=labels)
    with pytest.raises(DatasetError, match=r"^dataset\.path=.*x\.npz: ") as caught:
        Arrays(path=path).load()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_names_in_an_npz_lead_nowhere(tmp_path: Path) -> None:
    path = npz(tmp_path / "x.npz", images=npy((4, 2, 2), "|u1", bytes(16)), labels=LABELS, **{"../../evil": b"x"})
    before = sorted(tmp_path.parent.iterdir())
    assert Arrays(path=path).task.outputs == 2
    assert sorted(tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize("shape", [(10**7, 10**7), (10**5, 10**6, 3)])
def test_a_picture_that_claims_what_is_not_there_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(shape, "<f8"))
    assert picture_shape(str(path))[1] > 0
    with pytest.raises(DatasetError, match=r"x\.npy: cannot be read \(") as caught:
        read_picture(str(path))
    assert "\n" not in str(caught.value)


def test_a_downloaded_archive_writes_its_own_files_and_no_others(tmp_path: Path) -> None:
    """Members by their names alone: paths that lead out, links and devices are passed over."""
    import hashlib

    good = b"content"
    wanted = [File("good", len(good), hashlib.sha256(good).hexdigest())]
    archive, cached = tmp_path / "x.tar", tmp_path / "cache"
    cached.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name in ("../evil", "/tmp/nasrun-evil", "set/../../evil", "set/extra", "set/good/../../../evil"):
            member = tarfile.TarInfo(name)
            member.size = len(good)
            tar.addfile(member, io.BytesIO(good))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("set/good")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("set/good")
        member.size = len(good)
        tar.addfile(member, io.BytesIO(good))
    assert unpack(archive, "set", wanted, cached) is None
    assert [path.read_bytes() for path in cached.iterdir()] == [good]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "x.tar"]
    assert not Path("/tmp/nasrun-evil").exists()
