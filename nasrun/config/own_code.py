"""The code of the user's own classes in a run, to record it and to detect changes.

For a class in a folder on Python's path, this is its file and all files in that folder that it imports, directly or
indirectly. For an installed package, it is the file of the class; for a class of the calling program, its source, if
available.
"""

import contextlib
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from nasrun.core.options import flat
from nasrun.storage.stored_config import MARK

FOLDER = "code"
"""Folder of the files in a run directory."""

_TARGET = "_target_"


@dataclass(frozen=True)
class OwnCode:
    """The user's own code in a run. `classes`: by the config section that names them. `files`: by path relative to
    their folder on Python's path, with `/`."""

    classes: Mapping[str, str]
    files: Mapping[str, bytes]

    def record(self) -> dict[str, Any]:
        """The entry for the header of a journal: `classes`, and the SHA-256 of each file."""
        return {"classes": dict(self.classes), "files": {name: digest(code) for name, code in self.files.items()}}

    def changed(self, recorded: Mapping[str, Any]) -> list[str]:
        """The names of recorded files that have changed or are missing."""
        then: Mapping[str, str] = recorded.get("files", {})
        now = self.record()["files"]
        return [name for name in then if now.get(name) != then[name]]


def digest(code: bytes) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(code).hexdigest()


def own_code(config: Mapping[str, Any]) -> OwnCode:
    """The user's own code in a checked config, whose modules are already imported."""
    classes: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for key, value in flat(config).items():
        section, _, last = key.rpartition(".")
        if last != _TARGET or not isinstance(value, str) or value.partition(".")[0] == "nasrun":
            continue
        classes[section] = value
        handed_in = f"{section}.{MARK}" in flat(config)
        files |= _source(value) if handed_in else _files(value.rpartition(".")[0])
    return OwnCode(classes, dict(sorted(files.items())))


def _source(path: str) -> dict[str, bytes]:
    """The source of a class of the calling program; empty if not available."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    try:
        return {f"{path}.py": inspect.getsource(kind).encode()} if inspect.isclass(kind) else {}
    except (OSError, TypeError):
        return {}


def _files(module: str) -> dict[str, bytes]:
    """The file of a module and the files that it imports from its folder."""
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    if file is None or not Path(file).is_file():
        return {}
    place = Path(file).resolve()
    levels = module.count(".") + (place.name == "__init__.py")
    root = place.parents[levels]
    paths = {place} if _is_installed(root) else {place, *_imported(module, root)}
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _imported(module: str, root: Path) -> set[Path]:
    """The files in a folder that a module consists of or imports, including packages; nothing is executed."""
    finder = ModuleFinder(path=[str(root)], excludes=["nasrun"])
    with contextlib.suppress(SyntaxError, UnicodeError):  # in a file whose import is optional
        finder.import_hook(module)
    places = [getattr(one, "__file__", None) for one in finder.modules.values()]
    files = [Path(place).resolve() for place in places if place]
    return {file for file in files if file.suffix == ".py" and file.is_relative_to(root)}


def _is_installed(root: Path) -> bool:
    """Whether a folder is one into which packages are installed."""
    return any(root == Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib"))
