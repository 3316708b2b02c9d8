"""Run directories: created atomically, and read for a resume."""

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

from nasrun.core.options import ConfigError, plain, shell_command
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.records import CONFIG, write_json, write_text
from nasrun.storage.stored_config import check_stored, check_targets, only_in_program, read_stored, refuse_links

BESIDE = ("*.log", "*.out", "*.err", "lost+found")
"""What the folder of a new run may contain: logs, which may be opened earlier, and files of the file system."""


_ADDED = 20
"""Bytes added to the name of a run directory while it is created, or to make it unique."""


NAMED = 3
"""Maximum number of runs named in a message."""


def holds_run(directory: Path) -> bool:
    """True if a directory has the journal of a run."""
    return (directory / journal.NAME).is_file()


def how_to_continue(directory: Path, given: Collection[str] | None = None) -> str:
    """What to type to continue a stopped run or sweep, for the end of a message.

    Args:
        directory: The folder of the run, or of a sweep.
        given: The groups whose objects only the program has that started the run; None: as its config says.
    """
    if given is None:
        try:
            given = only_in_program(plain(read_stored(directory / CONFIG)))
        except ConfigError:  # a sweep has no config, and a resume says what is wrong with a damaged one
            given = ()
    if given:
        parts = ", ".join(f"{group}=..." for group in given)
        return f"continue from the same program: nasrun.resume({str(directory)!r}, {parts})"
    return f"continue with: {shell_command('resume', directory)}"


def runs_in(directory: Path) -> str:
    """The end of a message about a folder that is not a run: which of its folders are runs, after a semicolon; empty if
    none."""
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
    """The current config of a run: its initial config with the `changes` of its resumes (`RunRecords`).

    The config is not trusted: it must not name classes outside of nasrun that the user does not allow
    (`nasrun.storage.stored_config`), and the directory must not contain links. `chosen`: classes that the command line
    names. `groups`: groups whose objects will be created; None: all. `data_only`: no object will be created and nothing
    written, so that any class is allowed.
    """
    path = directory / CONFIG
    config = read_stored(path)
    for key, value in changes:
        OmegaConf.update(config, key, value, merge=key != "tracker")  # another tracker has different keys
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
    """Create a run directory with its config, environment and journal atomically.

    `words`: the command line, for `overrides.yaml`. `files`: further files, by path in the directory. Returns the path
    of the directory. ConfigError if it exists and `unique` is off, or if it cannot be written.
    """

    def write(folder: Path) -> None:
        (folder / CONFIG).parent.mkdir(parents=True)
        # Values, not references: an environment variable may change later.
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
            f"{directory}: cannot be created ({error.strerror}); choose another: hydra.run.dir=PATH"
        ) from error


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths below a folder, creating folders as needed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _make(directory: Path, write: Callable[[Path], None]) -> bool:
    """Create a directory with what `write` writes; False if another run was created there first.

    A folder that cannot be replaced (a mount point, one with logs) is filled, with the journal last, which makes it a
    run.
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
        # Of two processes, the first to create the folder of configs owns the directory.
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
    """Whether a new run can be created at a path: it does not exist, or is a folder with nothing but `BESIDE`."""
    if not directory.is_dir():
        return not directory.exists()
    return all(any(path.match(pattern) for pattern in BESIDE) for path in directory.iterdir())


def taken(directory: Path) -> str:
    """The message why a directory cannot be used for a new run, and what to do."""
    if holds_run(directory):
        return f"{directory} already has a run; {how_to_continue(directory)}"
    return f"{directory} is not an empty folder; choose another: hydra.run.dir=PATH"


def check_place(directory: Path, key: str, *, may_exist: bool) -> Path:
    """ConfigError if a run could not be written to a directory; otherwise the nearest existing folder above it.

    `key`: the option that names the directory. `may_exist`: an existing directory is allowed.
    """
    choose = f"choose another: {key}=PATH"
    for path in (directory, *directory.absolute().parents):
        if path.is_symlink() and not path.exists():
            raise ConfigError(f"{path}: is a link to {path.readlink()}, which does not exist; create that, or {choose}")
    if not may_exist:
        if directory.is_dir() and directory.samefile(Path.cwd()) and not holds_run(directory):
            raise ConfigError(f"{key}={directory}: the folder that nasrun is run in; choose another")
        if not is_free(directory):
            raise ConfigError(taken(directory))
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(f"{existing}: is a file, so {directory} cannot be created; {choose}")
    longest = os.pathconf(existing, "PC_NAME_MAX") - _ADDED
    for name in directory.parts:
        if len(os.fsencode(name)) > longest:
            raise ConfigError(
                f"{name[:40]}…: the name is too long; choose a shorter one of at most {longest} bytes: {key}=PATH"
            )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{existing}: cannot be written to; choose another folder: {key}=PATH")
    return existing


def check_sweep_place(directory: Path, key: str) -> Path:
    """`check_place` for the folder of a sweep, which may exist, but must not be the directory of a run."""
    if holds_run(directory):
        raise ConfigError(f"{directory}: is the directory of a run; choose another folder for the sweep: {key}=PATH")
    return check_place(directory, key, may_exist=True)


def make_unique(directory: Path) -> Path:
    """Create a folder, with a number added to its name if it exists. ConfigError if it cannot be created."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = directory if number == 1 else directory.with_name(f"{directory.name}_{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
        raise AssertionError("unreachable")
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be created ({error.strerror})") from error


def remove_empty(directory: Path, existing: Path) -> None:
    """Remove the folders created for a run that never started, up to the one that existed before.

    Empty logs do not keep a folder.
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
        except OSError:  # not empty: it contains another run
            return


def clear_temporary(directory: Path) -> None:
    """Remove temporary files of a killed process; only complete files are used."""
    for path in (*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp")):
        path.unlink(missing_ok=True)
