"""The code of the user's own classes that a run uses: which files it is in, for the record and to know it again.

Of a class that lies in a folder on Python's path, that is its file and the files in that folder which it imports, and
these in turn. Of one that is installed as a package it is its own file; of one that only the calling program has, its
source alone, where Python knows it.
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

from nasrun.config.given import MARK
from nasrun.core.options import flat

FOLDER = "code"
"""Where the files lie in a run directory."""

_TARGET = "_target_"


@dataclass(frozen=True)
class OwnCode:
    """The user's own code of a run. `classes`: by the section of the config that names them. `files`: by their path
    from the folder on Python's path that they lie in, with `/`."""

    classes: Mapping[str, str]
    files: Mapping[str, bytes]

    def record(self) -> dict[str, Any]:
        """What the header of a journal says of it: `classes`, and the SHA-256 of each of the `files`."""
        return {"classes": dict(self.classes), "files": {name: digest(code) for name, code in self.files.items()}}

    def changed(self, recorded: Mapping[str, Any]) -> list[str]:
        """The names of files that are others than those of a record, or are gone."""
        then: Mapping[str, str] = recorded.get("files", {})
        now = self.record()["files"]
        return [name for name in then if now.get(name) != then[name]]


def digest(code: bytes) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(code).hexdigest()


def own_code(config: Mapping[str, Any]) -> OwnCode:
    """The user's own code that a checked config names; its modules are imported already."""
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
    """The source of a class that only the calling program has; empty where Python does not know it."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    try:
        return {f"{path}.py": inspect.getsource(kind).encode()} if inspect.isclass(kind) else {}
    except (OSError, TypeError):
        return {}


def _files(module: str) -> dict[str, bytes]:
    """The files of a module and of what it imports from the folder that it lies in."""
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
    """The files below a folder that a module is made of and imports, its packages included; nothing is run."""
    finder = ModuleFinder(path=[str(root)], excludes=["nasrun"])
    with contextlib.suppress(SyntaxError, UnicodeError):  # of a file that is imported only if it can be
        finder.import_hook(module)
    places = [getattr(one, "__file__", None) for one in finder.modules.values()]
    files = [Path(place).resolve() for place in places if place]
    return {file for file in files if file.suffix == ".py" and file.is_relative_to(root)}


def _is_installed(root: Path) -> bool:
    """Whether a folder is one of those that packages are installed to."""
    return any(root == Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib"))
