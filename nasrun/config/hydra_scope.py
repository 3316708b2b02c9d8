"""Scopes for the global state of Hydra (initialisation, search path, config), used by one composition at a time."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from nasrun.core.config_files import conf_dir

VERSION_BASE = "1.3"
_COMPOSING = threading.RLock()


class _OwnFolders(SearchPathPlugin):
    """Appends the user's folders of YAML files to every search path that Hydra creates."""

    paths: ClassVar[tuple[str, ...]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for path in self.paths:
            search_path.append("command-line", path)


@contextlib.contextmanager
def searching(folders: Sequence[str]) -> Iterator[None]:
    """A scope in which every search path that Hydra creates includes the user's folders."""
    Plugins.instance().register(_OwnFolders)
    before, _OwnFolders.paths = _OwnFolders.paths, tuple(folders)
    try:
        yield
    finally:
        _OwnFolders.paths = before


@contextlib.contextmanager
def initialized(folders: Sequence[str]) -> Iterator[ConfigLoader]:
    """A scope in which Hydra finds nasrun's YAML files and those in `folders`; other threads wait."""
    with _COMPOSING:
        around = GlobalHydra.instance().hydra  # set if the calling program itself uses Hydra
        GlobalHydra.instance().clear()
        try:
            with (
                searching(folders),
                hydra.initialize_config_dir(str(conf_dir()), job_name="nasrun", version_base=VERSION_BASE),
            ):
                yield GlobalHydra.instance().config_loader()
        finally:
            GlobalHydra.instance().hydra = around


@contextlib.contextmanager
def composing_alone() -> Iterator[None]:
    """A scope in which no other thread composes, and which restores Hydra's config of this process.

    References to that config (`${hydra:...}`) must be resolved within the scope.
    """
    with _COMPOSING:
        before = HydraConfig.instance().cfg
        try:
            yield
        finally:
            HydraConfig.instance().cfg = before
