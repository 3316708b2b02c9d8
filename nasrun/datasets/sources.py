"""Finds the files of a published data set.

Sources in this order: `dataset.root`, else `$NASRUN_DATA`; the folder of a system package; the cache; the public home
and its mirrors; and a Debian package, if there is one and `apt-get` is available. The last two write to the cache.
Files are verified by checksums of their unpacked content, independent of compression.
"""

import os
from pathlib import Path

from nasrun.core.home import at_home
from nasrun.core.locks import locked
from nasrun.core.options import ConfigError
from nasrun.datasets import debian, download
from nasrun.datasets.base import DatasetError
from nasrun.datasets.files import Published


def cache_folder() -> Path:
    """`$NASRUN_CACHE`, else `$XDG_CACHE_HOME/nasrun`, else `~/.cache/nasrun`. It may not exist yet."""
    if chosen := os.environ.get("NASRUN_CACHE"):
        return at_home(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "nasrun"
    try:
        return Path.home() / ".cache" / "nasrun"
    except RuntimeError:
        reason = "no home folder is known for this user, to store fetched data; set HOME or NASRUN_CACHE"
        raise ConfigError(reason) from None


def find(name: str, published: Published, root: str | None, mirrors: list[str] | None) -> dict[str, Path]:
    """The path of each file, by its name without `.gz`; fetched if it is not on this machine.

    `name`: of the data set, for messages. `root`: the folder that must contain `<folder>/`, or None for the sources in
    the order above. `mirrors`: addresses instead of `published.homes`; an empty list forbids downloads. Existing files
    are verified when they are read; fetched ones before they are stored. DatasetError says in one line which files are
    missing and where to put them.
    """
    if root is not None:
        folder = at_home(root) / published.folder
        found, missing = _search(folder, published)
        if missing:
            raise DatasetError(
                f"dataset.root={root}: {folder / missing[0]} (or .gz) is missing; this folder must hold "
                + ", ".join(file.name for file in published.files)
            )
        return found
    data = os.environ.get("NASRUN_DATA")
    places = [at_home(data) / published.folder] if data else []
    places += [Path(published.system)] if published.system else []
    for folder in places:
        found, missing = _search(folder, published)
        if not missing:
            return found
    cached = cache_folder() / published.folder
    found, missing = _search(cached, published)
    if not missing:
        return found
    return _fetch(name, published, cached, published.homes if mirrors is None else tuple(mirrors))


def _search(folder: Path, published: Published) -> tuple[dict[str, Path], list[str]]:
    """The files of a set found in a folder, unpacked or as gz, and the names of missing ones."""
    found = {}
    for file in published.files:
        for path in (folder / file.name, folder / f"{file.name}.gz"):
            if path.is_file():
                found[file.name] = path
                break
    return found, [file.name for file in published.files if file.name not in found]


def _fetch(name: str, published: Published, cached: Path, homes: tuple[str, ...]) -> dict[str, Path]:
    """Fetch missing files to the cache, one process at a time, and return all paths."""
    try:
        cached.mkdir(parents=True, exist_ok=True)
        with locked(cached.with_name(f"{cached.name}.lock"), name, "fetches"):
            found, missing = _search(cached, published)
            if not missing:  # another process may have fetched them in the meantime
                return found
            wanted = tuple(file for file in published.files if file.name in missing)
            reasons = download.fetch(published, wanted, cached, homes)
            if _search(cached, published)[1] and published.package and published.system:
                reasons += debian.fetch(published.package, published.system, wanted, cached)
            found, missing = _search(cached, published)
    except OSError as error:
        raise DatasetError(
            f"{cached}: cannot write the cache ({error.strerror or error}); let $NASRUN_CACHE name another folder"
        ) from None
    if missing:
        raise DatasetError(_not_found(name, published, missing, cached, reasons))
    return found


def _not_found(name: str, published: Published, missing: list[str], cached: Path, reasons: list[str]) -> str:
    """The error message: files with checksums, where to put them, and what was tried."""
    files = ", ".join(
        f"{file.name} ({file.size:,} bytes, SHA-256 {file.sha256})" for file in published.files if file.name in missing
    )
    packed = "" if published.archive else ", or the same as .gz (sizes and checksums are those of the unpacked files)"
    tried = "; ".join(" ".join(reason.split()) for reason in reasons) or "nothing, since dataset.mirrors is empty"
    return (
        f"dataset={name}: its files are not on this machine and could not be fetched; put {files}{packed} into "
        f"$NASRUN_DATA/{published.folder}/ or {cached}/; tried: {tried}"
    )
