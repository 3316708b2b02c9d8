"""The source of the user's own classes in a run directory, and the check for changes when a run is resumed."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nasrun.config.own_code import FOLDER, OwnCode, own_code
from nasrun.core.options import ConfigError, shell_command, show
from nasrun.storage.records import RunRecords
from nasrun.storage.run_directory import write_files

ACCEPT = "changed_code"
"""The key that allows a run to be resumed with changed code."""


def stored_files(code: OwnCode, folder: str = FOLDER) -> dict[str, bytes]:
    """The files of own classes by their path in a run directory."""
    return {f"{folder}/{name}": content for name, content in code.files.items()}


def accepts_changes(overrides: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Whether the overrides of a resume allow changed code, and the other overrides."""
    others = dict(overrides)
    accepted = others.pop(ACCEPT, False)
    if not isinstance(accepted, bool):
        raise ConfigError(f"{ACCEPT}={show(accepted)}: expected true or false")
    return accepted, others


def last_record(run: RunRecords) -> tuple[Mapping[str, Any] | None, str]:
    """The journal's latest record of the code of own classes (None: no record), and the folder of that code."""
    record = run.header.code
    for _, event in run.resumes:
        record = event.code or record
    return record, FOLDER if record is None else str(record.get("folder", FOLDER))


def changed_code(run: RunRecords, config: Mapping[str, Any], accepted: bool) -> OwnCode | None:
    """The changed code of own classes of a resumed run, if the change is accepted; None if nothing changed.

    ConfigError, naming the file, if it has changed and this is not accepted. Runs of versions that did not record the
    code have nothing to compare.
    """
    record, folder = last_record(run)
    if record is None:
        return None
    directory = run.directory
    code = own_code(config)
    changed = code.changed(record)
    if not changed:
        return None
    if accepted:
        return code
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    again = shell_command("resume", directory, f"{ACCEPT}=true")
    raise ConfigError(
        f"{changed[0]}{more}: is not the code that the run was made with, which is in {directory / folder}; put that "
        f"back, or resume with the changed code: {again}"
    )


def recorded(directory: Path, code: OwnCode | None) -> dict[str, Any] | None:
    """Write changed code into a run directory, and return its record for the event of the resume."""
    if code is None:
        return None
    number = next(n for n in itertools.count(1) if not (directory / FOLDER / f"changed_{n}").exists())
    folder = f"{FOLDER}/changed_{number}"
    write_files(directory, stored_files(code, folder))
    return {**code.record(), "folder": folder}


def changes_of_code(run: RunRecords) -> Iterator[str]:
    """A message for each time the run was resumed with other code."""
    record = run.header.code
    for told, event in run.resumes:
        if event.code is not None and record is not None:
            files, before = event.code["files"], record["files"]
            changed = [name for name in {**before, **files} if files.get(name) != before.get(name)]
            yield f"own classes: resumed with other code after {told} trials ({', '.join(changed)})"
            record = event.code
