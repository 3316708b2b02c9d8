"""Run directories on disk: made whole or not at all, held by one process at a time, read back for a resume."""

import contextlib
import errno
import itertools
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.journal import Event
from nasrun.storage.records import CONFIG, write_json, write_text
from nasrun.storage.stored_config import check_stored, check_targets, read_stored, refuse_links


def holds_run(directory: Path) -> bool:
    """True where a directory holds the journal of a run."""
    return (directory / journal.NAME).is_file()


def load_config(
    directory: Path,
    events: Sequence[Event],
    *,
    chosen: Collection[str] = (),
    groups: Collection[str] | None = None,
    data_only: bool = False,
) -> DictConfig:
    """The config of a run as it is now: as it was started, under the changes of its resumes.

    Whoever made the directory wrote it: it may name no class outside of nasrun that the user does not allow
    (`nasrun.storage.stored_config`), and the directory may hold no links. `chosen`: classes that the command line names
    itself. `groups`: those of which something will be made; None: all.
    `data_only`: nothing will be made of it, nor written into the directory, so that any class may be named.
    """
    path = directory / CONFIG
    config = read_stored(path)
    for event in events:
        for key, value in event.get("changes", {}).items():
            OmegaConf.update(config, key, value, merge=key != "tracker")  # another tracker has other keys
    check_stored(config, path)
    if not data_only:
        made = config if groups is None else OmegaConf.masked_copy(config, list(groups))
        check_targets(made, path, chosen)
        refuse_links(directory)
    return config


def create_directory(directory: Path, config: DictConfig, header: Event, *, unique: bool) -> Path:
    """Make a run directory with its config, environment and journal, all at once: it appears complete or not at all.

    Returns its path. ConfigError where the directory is taken and `unique` is off, or cannot be written.
    """
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        (temporary / CONFIG).parent.mkdir(parents=True)
        # Values, not references: what they referred to, as a variable of the environment, may be another later.
        write_text(temporary / CONFIG, OmegaConf.to_yaml(config, resolve=True))
        write_text(temporary / CONFIG.with_name("overrides.yaml"), "".join(f"- {word}\n" for word in sys.argv[1:]))
        environment = {**header["environment"], **header["facts"]}
        environment |= {name: header[name] for name in ("choices", "data", "paths", "sweep") if name in header}
        write_json(temporary / "environment.json", environment)
        (temporary / journal.NAME).write_bytes(journal.line_of(header))
        for number in itertools.count(1):
            target = directory if number == 1 else directory.with_name(f"{directory.name}_{number}")
            try:
                temporary.rename(target)
                return target
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                if not unique:
                    raise ConfigError(taken(target)) from None
        raise AssertionError("unreachable")
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be made ({error.strerror}); choose another: hydra.run.dir=PATH"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def taken(directory: Path) -> str:
    """Why a directory cannot be used for a new run, and what to do."""
    if holds_run(directory):
        return f"{directory} holds a run already; go on with it: nasrun resume {directory}"
    return f"{directory} is not an empty folder; choose another: hydra.run.dir=PATH"


def clear_temporary(directory: Path) -> None:
    """Remove what a killed process was writing at the time: of no file is anything but a whole one used."""
    for path in (*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp")):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a run directory for this process alone; the operating system frees it when the process ends."""
    refuse_links(directory)
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"{directory}: in use by another nasrun process") from None
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()
