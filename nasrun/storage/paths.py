"""Files and folders named by the config of a stored run: found from any working directory, or given anew.

A config stores a path as typed. The header of the journal records which keys are paths and, for relative ones, the
working directory of the run, both absolute and relative to the run directory, so that paths stay valid if run and data
are moved together. `nasrun.config.paths.path_options` creates that entry.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nasrun.core.home import at_home
from nasrun.core.options import show
from nasrun.storage.events import RunStarted

VERIFIED = ("dataset", "evaluator")
"""Groups whose files a run verifies by content, so that they may have been moved."""


def header_entry(given: Mapping[str, str | None], directory: Path) -> dict[str, Any]:
    """The entry for paths in the header of a new run; with the working directory only if it matters.

    `given`: the dotted keys that are paths, with their values.
    """
    if not any(value is not None and _is_relative(value) for value in given.values()):
        return {"given": dict(given)}
    here = Path.cwd()
    return {"given": dict(given), "folder": str(here), "from_run": os.path.relpath(here, directory.absolute())}


def given_paths(header: RunStarted) -> dict[str, str | None]:
    """The dotted keys of a run's config that are paths, with values as typed; empty if its version recorded none."""
    return dict(_entry(header).get("given", {}))


def movable(header: RunStarted) -> tuple[str, ...]:
    """The keys that may be given anew, because the content is verified."""
    return tuple(key for key in given_paths(header) if header.data is not None and key.partition(".")[0] in VERIFIED)


def find_paths(config: DictConfig, header: RunStarted, directory: Path) -> DictConfig:
    """The config of a stored run with relative paths resolved from the current working directory.

    The bases are tried in this order: relative to the run directory, the working directory at the start of the run, and
    the current one. A path that does not exist is left unchanged.
    """
    folders, found = _folders(header, directory), config.copy()
    for key in given_paths(header):
        value = OmegaConf.select(found, key)
        if not isinstance(value, str) or not _is_relative(value):
            continue
        places = [folder / value for folder in folders if (folder / value).exists()]
        if places and not (Path(value).exists() and places[0].samefile(value)):
            OmegaConf.update(found, key, str(places[0]))
    return found


def whole_path(value: Any) -> Any:
    """A newly given path as an absolute path, because the next command may use another working directory."""
    return str(Path(value).absolute()) if isinstance(value, str) and _is_relative(value) else value


def kept_path(value: Any, header: RunStarted, directory: Path) -> Any:
    """The form in which a run stores a newly given path: a relative one is stored relative to the base of the run's own
    relative paths, or absolute if it has none."""
    folders = _folders(header, directory)
    if not isinstance(value, str) or not _is_relative(value) or not folders:
        return whole_path(value)
    return os.path.relpath(Path(value).absolute(), folders[0])


def data_key(config: DictConfig, header: RunStarted) -> str | None:
    """The key with the location of a run's data: the one that is set, else the first; None if there is none."""
    keys = [key for key in given_paths(header) if key.startswith("dataset.")]
    return next((key for key in keys if OmegaConf.select(config, key) is not None), keys[0] if keys else None)


def data_named(config: DictConfig, header: RunStarted, name: str) -> str:
    """The name of a run's data in messages: `dataset.path=photos`, or the name of the data set if it has no path."""
    key = data_key(config, header)
    value = None if key is None else OmegaConf.select(config, key)
    return f"dataset {name}" if value is None else f"{key}={show(value)}"


def data_there(config: DictConfig, header: RunStarted) -> bool:
    """Whether the configured location of a run's data exists; False if there is none."""
    key = data_key(config, header)
    value = None if key is None else OmegaConf.select(config, key)
    return isinstance(value, str) and at_home(value).exists()


def _entry(header: RunStarted) -> Mapping[str, Any]:
    """The entry for paths in a header, which is not trusted."""
    entry = header.paths
    return entry if entry is not None and isinstance(entry.get("given"), dict) else {}


def _folders(header: RunStarted, directory: Path) -> list[Path]:
    """Possible base directories of relative paths."""
    entry = _entry(header)
    if not isinstance(entry.get("folder"), str) or not isinstance(entry.get("from_run"), str):
        return []
    # Lexically, as in `relpath`: a parent folder may be a link.
    return [Path(os.path.normpath(directory.absolute() / entry["from_run"])), Path(entry["folder"])]


def _is_relative(value: str) -> bool:
    return not value.startswith("~") and not Path(value).is_absolute()
