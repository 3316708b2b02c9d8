"""Run directories on disk: made whole or not at all, held by one process at a time, read back for a resume."""

import contextlib
import errno
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from nasrun.core.options import ConfigError, shell_command
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.records import CONFIG, write_json, write_text
from nasrun.storage.stored_config import check_stored, check_targets, read_stored, refuse_links

BESIDE = ("*.log", "*.out", "*.err", "lost+found")
"""What may be in the folder of a new run: logs, which may be opened before it begins, and what a file system keeps."""


_ADDED = 20
"""Bytes that are added to the name of a run directory while it is made, or to make it unique."""


NAMED = 3
"""Runs in a folder that a message names."""


def holds_run(directory: Path) -> bool:
    """True if a directory holds the journal of a run."""
    return (directory / journal.NAME).is_file()


def runs_in(directory: Path) -> str:
    """For a message about a folder that is no run: which of its folders are, after a semicolon; empty if none is."""
    found = sorted(path.parent for path in directory.glob(f"*/{journal.NAME}"))
    more = ", ..." if len(found) > NAMED else ""
    return f"; runs in it: {', '.join(map(str, found[:NAMED]))}{more}" if found else ""


def load_config(
    directory: Path,
    changes: Iterable[tuple[str, Any]],
    *,
    chosen: Collection[str] = (),
    groups: Collection[str] | None = None,
    data_only: bool = False,
) -> DictConfig:
    """The config of a run as it is now: as it was started, under the `changes` of its resumes (`RunRecords`).

    Whoever made the directory wrote it: it may name no class outside of nasrun that the user does not allow
    (`nasrun.storage.stored_config`), and the directory may hold no links. `chosen`: classes that the command line names
    itself. `groups`: those of which something will be made; None: all.
    `data_only`: nothing will be made of it, nor written into the directory, so that any class may be named.
    """
    path = directory / CONFIG
    config = read_stored(path)
    for key, value in changes:
        OmegaConf.update(config, key, value, merge=key != "tracker")  # another tracker has other keys
    check_stored(config, path)
    if not data_only:
        made = config if groups is None else OmegaConf.masked_copy(config, list(groups))
        check_targets(made, path, chosen)
        refuse_links(directory)
    return config


def create_directory(
    directory: Path,
    config: DictConfig,
    header: RunStarted,
    *,
    unique: bool,
    words: Sequence[str] = (),
    files: Mapping[str, bytes] = {},
) -> Path:
    """Make a run directory with its config, environment and journal, all at once: it appears complete or not at all.

    `words`: the command line, for `overrides.yaml`. `files`: further ones, by their path in the directory. Returns the
    path of the directory. ConfigError if it is taken and `unique` is off, or cannot be written.
    """

    def write(folder: Path) -> None:
        (folder / CONFIG).parent.mkdir(parents=True)
        # Values, not references: what they referred to, as a variable of the environment, may be another later.
        write_text(folder / CONFIG, OmegaConf.to_yaml(config, resolve=True))
        listed = yaml.safe_dump(list(words), allow_unicode=True, width=sys.maxsize) if words else ""
        write_text(folder / CONFIG.with_name("overrides.yaml"), listed)
        write_json(folder / "environment.json", header.mentions())
        write_files(folder, files)
        (folder / journal.NAME).write_bytes(journal.line_of(header.to_json()))

    try:
        for number in itertools.count(1):
            target = directory if number == 1 else directory.with_name(f"{directory.name}_{number}")
            if _make(target, write):
                return target
            if not unique:
                raise ConfigError(taken(target))
        raise AssertionError("unreachable")
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be made ({error.strerror}); choose another: hydra.run.dir=PATH"
        ) from error


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths below a folder, which are made as needed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _make(directory: Path, write: Callable[[Path], None]) -> bool:
    """Put what `write` writes in the place of a directory; False if another run is there first.

    A folder that cannot be replaced (a mount point, one with logs in it) is filled, with the journal last, which makes
    it a run.
    """
    real = directory.resolve()
    if not is_free(real):
        return False
    fill = real.is_dir() and (real.is_mount() or any(real.iterdir()) or not os.access(real.parent, os.W_OK))
    temporary = (real / "new" if fill else real).with_name(f".{real.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if not fill:
            temporary.rename(real)
            return True
        # Of two processes, the one whose folder of configs is there first has the directory.
        others = sorted(path.name for path in temporary.iterdir() if path.name not in (CONFIG.parts[0], journal.NAME))
        for name in (CONFIG.parts[0], *others, journal.NAME):
            (temporary / name).rename(real / name)
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_free(directory: Path) -> bool:
    """Whether a new run can be made at a path: nothing is there, or a folder with nothing but `BESIDE` in it."""
    if not directory.is_dir():
        return not directory.exists()
    return all(any(path.match(pattern) for pattern in BESIDE) for path in directory.iterdir())


def taken(directory: Path) -> str:
    """Why a directory cannot be used for a new run, and what to do."""
    if holds_run(directory):
        return f"{directory} holds a run already; go on with it: {shell_command('resume', directory)}"
    return f"{directory} is not an empty folder; choose another: hydra.run.dir=PATH"


def check_place(directory: Path, key: str, *, may_exist: bool) -> Path:
    """ConfigError if a run could not be written to a directory; else the nearest folder above that exists.

    `key`: what names the directory. `may_exist`: what is there already is no obstacle.
    """
    choose = f"choose another: {key}=PATH"
    for path in (directory, *directory.absolute().parents):
        if path.is_symlink() and not path.exists():
            raise ConfigError(f"{path}: is a link to {path.readlink()}, which does not exist; make that, or {choose}")
    if not may_exist:
        if directory.is_dir() and directory.samefile(Path.cwd()) and not holds_run(directory):
            raise ConfigError(f"{key}={directory}: the folder that nasrun is run in; choose another")
        if not is_free(directory):
            raise ConfigError(taken(directory))
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(f"{existing}: is a file, so {directory} cannot be made; {choose}")
    longest = os.pathconf(existing, "PC_NAME_MAX") - _ADDED
    for name in directory.parts:
        if len(os.fsencode(name)) > longest:
            raise ConfigError(
                f"{name[:40]}…: the name is too long; choose a shorter one of at most {longest} bytes: {key}=PATH"
            )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{existing}: cannot be written to; choose another folder: {key}=PATH")
    return existing


def make_unique(directory: Path) -> Path:
    """Make a folder, with a number added to its name where it is taken. ConfigError if it cannot be made."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = directory if number == 1 else directory.with_name(f"{directory.name}_{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
        raise AssertionError("unreachable")
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be made ({error.strerror})") from error


def remove_empty(directory: Path, existing: Path) -> None:
    """Remove the folders that were made for a run that never began, up to the one that was there before.

    Logs with nothing in them are no reason to keep a folder.
    """
    if directory.is_dir() and not holds_run(directory):
        for log in directory.glob("*.log"):
            if log.stat().st_size == 0:
                log.unlink()
    for folder in (directory, *directory.parents):
        if folder == existing or existing not in folder.parents:
            return
        try:
            folder.rmdir()
        except OSError:  # not empty: another run is in it
            return


def clear_temporary(directory: Path) -> None:
    """Remove what a killed process was writing at the time: of no file is anything but a whole one used."""
    for path in (*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp")):
        path.unlink(missing_ok=True)
