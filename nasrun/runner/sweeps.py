"""The existing runs of a sweep's folder, found by their config, not by their place in the folder."""

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.core.options import ConfigError, flat, plain
from nasrun.reports.summary import SUMMARY
from nasrun.runner.resume import CHANGEABLE
from nasrun.storage.events import Ended
from nasrun.storage.journal import NAME as JOURNAL
from nasrun.storage.journal import JournalError, last_of
from nasrun.storage.lock import NAME as LOCK
from nasrun.storage.lock import holder_of
from nasrun.storage.records import read_run
from nasrun.storage.run_directory import holds_run, load_config


def finished(directory: Path) -> dict[str, Any] | None:
    """The summary of a run that ended and wrote all of its files; None for any other, or if that is not known."""
    if not holder_of(directory / LOCK).complete:
        return None
    try:
        # A lock may be older than the journal beside it: from a backup, or if a disk lost the last writes.
        last = last_of(directory / JOURNAL)
        if last is None or last["event"] != Ended.KIND:
            return None
        summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


class EarlierRuns:
    """The runs that a sweep's folder held when the sweep began; can be pickled.

    `swept`: the keys that have several values in the sweep; they tell its runs apart, even keys that a resume may
    change.
    """

    def __init__(self, directories: Sequence[Path], swept: Collection[str] = ()) -> None:
        self._directories = tuple(directory.absolute() for directory in directories)
        self._free = tuple(key for key in CHANGEABLE if key not in swept)
        self._read_events = any(key in CHANGEABLE for key in swept)
        self._contents: dict[Path, dict[str, Any] | None] = {}

    def find(self, config: Mapping[str, Any], own: Path) -> Path | None:
        """The run of a checked config, as an absolute path; None if there is none. Looks into the directory `own`
        first."""
        wanted = self._identity(flat(config))
        first = [directory for directory in self._directories if directory == own.absolute()]
        for directory in (*first, *self._directories):
            if self._content(directory) == wanted:
                return directory
        return None

    def find_begun(self, config: Mapping[str, Any], own: Path, place: Mapping[str, Any]) -> Path | None:
        """The run of a checked config that an earlier start of this job began; None if there is none. Batch systems
        queue a job again after taking the machine from it.

        `own`: the directory that the job would have; `place`: what the header of its run says of the sweep.
        """
        names = (own if number == 1 else own.with_name(f"{own.name}_{number}") for number in itertools.count(1))
        for directory in itertools.takewhile(Path.is_dir, names):
            if holds_run(directory) and directory.absolute() not in self._directories:
                try:
                    header = read_run(directory).header
                except (JournalError, OSError):
                    continue
                if header.sweep == place and self._content(directory) == self._identity(flat(config)):
                    return directory
        return None

    def _content(self, directory: Path) -> dict[str, Any] | None:
        """What tells a stored run apart, or None if its directory cannot be read."""
        if directory not in self._contents:
            try:
                changes = read_run(directory).changes if self._read_events else []
                stored = flat(plain(load_config(directory, changes, data_only=True)))
                self._contents[directory] = self._identity(stored)
            except (ConfigError, JournalError, OSError):
                self._contents[directory] = None
        return self._contents[directory]

    def _identity(self, values: Mapping[str, Any]) -> dict[str, Any]:
        # Null says nothing: a run of an earlier version lacks keys that were added since, which are null unless used.
        return {key: value for key, value in values.items() if value is not None and not self._may_differ(key)}

    def _may_differ(self, key: str) -> bool:
        return any(key == free or key.startswith(f"{free}.") for free in self._free)
