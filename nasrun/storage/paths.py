"""Files and folders that the config of a stored run names: found again from any working directory, or given anew.

A config keeps a path as it was typed. The header of the journal says which keys are paths, and for relative ones where
they start from: the working directory of the run, as it was and as seen from the run directory, so that a run is found
together with its data where both were moved. `nasrun.config.paths.path_options` makes that entry of the header.
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
"""Groups whose files a run knows again by their content, so that it may be told that they lie elsewhere."""


def header_entry(given: Mapping[str, str | None], directory: Path) -> dict[str, Any]:
    """What the header of a new run in a directory says of its paths; the working directory only if it matters.

    `given`: the dotted keys that are paths, with their values.
    """
    if not any(value is not None and _is_relative(value) for value in given.values()):
        return {"given": dict(given)}
    here = Path.cwd()
    return {"given": dict(given), "folder": str(here), "from_run": os.path.relpath(here, directory.absolute())}


def given_paths(header: RunStarted) -> dict[str, str | None]:
    """The dotted keys of a run's config that are paths, as they were typed; none where its version recorded none."""
    return dict(_entry(header).get("given", {}))


def movable(header: RunStarted) -> tuple[str, ...]:
    """Those of the keys that may be given anew, since what lies there is compared."""
    return tuple(key for key in given_paths(header) if header.data is not None and key.partition(".")[0] in VERIFIED)


def find_paths(config: DictConfig, header: RunStarted, directory: Path) -> DictConfig:
    """The config of a stored run with its relative paths as they are reached from this working directory.

    Looked for in this order: as seen from the run directory, from the working directory that the run began in, and
    from the present one. A path that is nowhere is left as it is.
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
    """A path that is given anew, in full: the next command may come from another working directory."""
    return str(Path(value).absolute()) if isinstance(value, str) and _is_relative(value) else value


def kept_path(value: Any, header: RunStarted, directory: Path) -> Any:
    """How a run keeps a path that is given anew: what is typed as a relative one, as seen from where the run's own
    relative paths start; in full where it has none."""
    folders = _folders(header, directory)
    if not isinstance(value, str) or not _is_relative(value) or not folders:
        return whole_path(value)
    return os.path.relpath(Path(value).absolute(), folders[0])


def data_key(config: DictConfig, header: RunStarted) -> str | None:
    """The key that says where a run's data lie: the one that is set, else the first; None if there is none."""
    keys = [key for key in given_paths(header) if key.startswith("dataset.")]
    return next((key for key in keys if OmegaConf.select(config, key) is not None), keys[0] if keys else None)


def data_named(config: DictConfig, header: RunStarted, name: str) -> str:
    """A run's data, for messages: `dataset.path=photos`, or by the name of the data set where they have no path."""
    key = data_key(config, header)
    value = None if key is None else OmegaConf.select(config, key)
    return f"dataset {name}" if value is None else f"{key}={show(value)}"


def data_there(config: DictConfig, header: RunStarted) -> bool:
    """Whether anything lies where the config says that a run's data lie; False if it does not say."""
    key = data_key(config, header)
    value = None if key is None else OmegaConf.select(config, key)
    return isinstance(value, str) and at_home(value).exists()


def _entry(header: RunStarted) -> Mapping[str, Any]:
    """What a header says of paths; anyone may have written it."""
    entry = header.paths
    return entry if entry is not None and isinstance(entry.get("given"), dict) else {}


def _folders(header: RunStarted, directory: Path) -> list[Path]:
    """Where relative paths may start from."""
    entry = _entry(header)
    if not isinstance(entry.get("folder"), str) or not isinstance(entry.get("from_run"), str):
        return []
    # By names alone, as `relpath` made it: a folder above may be a link.
    return [Path(os.path.normpath(directory.absolute() / entry["from_run"])), Path(entry["folder"])]


def _is_relative(value: str) -> bool:
    return not value.startswith("~") and not Path(value).is_absolute()
