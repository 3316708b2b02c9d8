"""The setup of a worker on another machine, independent of how jobs reach it: checks that it sees what the runner sees,
and makes its evaluator."""

import importlib
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun.core import Evaluator
from nasrun.core.environment import describe_processor, differences
from nasrun.core.options import type_and_text
from nasrun.hardware.worker_messages import NOTICE, Recipe, WorkerError
from nasrun.storage import journal

if TYPE_CHECKING:
    from nasrun.datasets import Dataset

Message = tuple[str, Any]
VERSIONED = ("nasrun", "torch")
"""Packages whose versions must be the same everywhere."""


class Place(NamedTuple):
    """The runner's environment, as far as it matters to workers elsewhere.

    `folder`: its working directory, for relative paths. `paths`: where it finds modules. `directory`: the run's, if
    checkpoints go there; `first_line`: of the file `journal` there, which distinguishes it from another machine's
    folder of that name. `processor`: what its numeric libraries depend on. `versions`: of Python and the packages that
    must be the same everywhere. `cluster`: the kind of cluster, for messages.
    """

    folder: str
    paths: Sequence[str]
    directory: str | None = None
    journal: str = ""
    first_line: bytes = b""
    processor: Mapping[str, str] = {}
    versions: Mapping[str, str] = {}
    cluster: str = "Ray cluster"

    @classmethod
    def here(cls, cluster: str, directory: Path | None) -> "Place":
        """The place of this process, which is the runner. `directory`: None if no checkpoints go to the run's."""
        paths = [path for path in sys.path if path]
        first = b""
        if directory is not None:
            with (directory / journal.NAME).open("rb") as file:
                first = file.readline()
        where = None if directory is None else str(directory.absolute())
        versions = describe_versions()
        return cls(str(Path.cwd()), paths, where, journal.NAME, first, describe_processor(), versions, cluster)

    def enter(self) -> None:
        """Use the runner's module paths and working directory, if they exist here."""
        sys.path += [path for path in self.paths if path not in sys.path]
        if Path(self.folder).is_dir():
            os.chdir(self.folder)


def describe_versions() -> dict[str, str]:
    """The versions, on this machine, of Python and of the packages that must be the same everywhere."""
    found = {"Python": ".".join(map(str, sys.version_info[:2]))}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def set_up(
    place: Place, pickled: bytes, say: Callable[[str, Any], None], provide: "Callable[[Dataset], None]"
) -> Evaluator:
    """The prepared evaluator of a worker; WorkerError if it cannot work for the run.

    `pickled`: a `Recipe`. `say`: sends a message to the runner. `provide`: gives the data set its data, if the worker
    has received any.
    """
    if reason := _misplaced(place):
        raise WorkerError(reason)
    node = f"a node of the {place.cluster} ({os.uname().nodename})"
    here = describe_versions()
    for name, runners in place.versions.items():
        if here[name] != runners:
            raise WorkerError(other_version(node, name, here[name], runners))
    for name, (then, now) in differences(place.processor, describe_processor()).items():
        other = f"{node} has {name} {now}, the runner {then}"
        say(NOTICE, f"{other}: results may differ in the last digits between nodes")
    recipe: Recipe = pickle.loads(pickled)
    evaluator, dataset = recipe.make()
    for name in evaluator.preload:
        importlib.import_module(name)
    provide(dataset)
    evaluator.prepare(recipe.facts)
    return evaluator


def other_version(node: str, name: str, found: str, runners: str) -> str:
    """The message on a node with another version of a package."""
    return f"{node} has {name} {found}, the runner {runners}; install the same there"


def said_of(error: Exception) -> str:
    """The message of an error in a worker, in one line."""
    if isinstance(error, WorkerError):
        return str(error)
    return type_and_text(error)


def _misplaced(place: Place) -> str | None:
    """Why this node cannot work for the run (checkpoints are written and read by path); None if it can."""
    found = b""
    if place.directory is None:
        return None
    try:
        with (Path(place.directory) / place.journal).open("rb") as file:
            found = file.readline()
    except OSError:
        pass
    if found == place.first_line:
        return None
    return (
        f"{place.directory}: a node of the {place.cluster} ({os.uname().nodename}) does not see this run directory; "
        "put it on a file system that all nodes share, or use output.keep=none"
    )
