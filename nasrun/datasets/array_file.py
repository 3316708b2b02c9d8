"""Reads a user's `.npz` file: the roles of its arrays, and their content. Nothing in it is executed."""

import zipfile
import zlib
from collections.abc import Callable
from typing import IO, TypeVar

import numpy as np

from nasrun.core.home import at_home
from nasrun.datasets.array_names import PREFIXES, AmbiguousNamesError, roles_of
from nasrun.datasets.base import DatasetError

_Value = TypeVar("_Value")


class ArrayFile:
    """An open `.npz` file with images and labels, as a context manager.

    `names`: the array of each role (`images`, `test_labels`, ...). `others`: arrays without a role. DatasetError, in
    one line that starts with `dataset.path=`, if the file is missing or damaged, or lacks an array.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        place = at_home(path)
        if place.is_dir():
            raise self.error("a folder; of image files it is dataset=image_folder, of arrays name the .npz file in it")
        if not place.is_file():
            raise self.error("no such file; it must be an .npz file with the arrays images and labels")
        try:
            self._file = zipfile.ZipFile(place)
        except (zipfile.BadZipFile, OSError) as error:
            raise self.error(
                f"not a whole .npz file ({error}); write it with numpy.savez(path, images=..., labels=...)"
            ) from None
        self.names, self.others = self._roles()

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def error(self, text: str) -> DatasetError:
        """Create an error about this file."""
        return DatasetError(f"dataset.path={self._path}: {text}")

    def _roles(self) -> tuple[dict[str, str], list[str]]:
        names = {name.removesuffix(".npy") for name in self._file.namelist()}
        try:
            roles, others = roles_of(names)
        except AmbiguousNamesError as error:
            raise self.error(f"the arrays {error}") from None
        for prefix in PREFIXES.values():
            pair = (f"{prefix}images", f"{prefix}labels")
            missing = [name for name in pair if name not in roles]
            if missing and (not prefix or len(missing) == 1):
                raise self.error(f"has no array {missing[0]!r}, only {', '.join(sorted(names)) or 'nothing'}")
        return roles, others

    def header(self, role: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading its values."""
        return self._member(role, _shape_and_type)

    def values(self, role: str) -> np.ndarray:
        """Read an array from the file."""
        return self._member(role, lambda stream: np.lib.format.read_array(stream, allow_pickle=False))

    def _member(self, role: str, read: Callable[[IO[bytes]], _Value]) -> _Value:
        """Apply `read` to the bytes of an array; DatasetError if they are damaged or contain objects."""
        name = self.names[role]
        try:
            with self._file.open(f"{name}.npy") as stream:
                return read(stream)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, MemoryError) as error:
            raise self.error(f"the array {name!r} is damaged ({error}); write the file again") from None
        except ValueError as error:
            if "allow_pickle" in str(error):
                how = f"save it as text or numbers, e.g. with {name}.astype(str)"
                error = ValueError(f"it is an array of objects, which could execute any code when read; {how}")
            raise self.error(f"the array {name!r} is refused: {' '.join(str(error).split())}") from None


def _shape_and_type(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return tuple(shape), dtype
