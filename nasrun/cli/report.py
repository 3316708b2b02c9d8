"""`nasrun report DIR`: writes the tables and plots of a run again from its journal."""

import json
from pathlib import Path

from nasrun.cli.ending import DONE, USAGE, say
from nasrun.config.stored_run import StoredRun, load_data, open_run
from nasrun.core.options import ConfigError, shell_command
from nasrun.datasets import DatasetError
from nasrun.reports.changes import write_changes
from nasrun.reports.page import PAGE
from nasrun.reports.pictures import write_pictures
from nasrun.reports.unfinished import unfinished_of
from nasrun.runner.run import NOTES, write_results
from nasrun.storage.paths import data_there


def report(directory: Path, *, look: bool = True) -> int:
    """Write tables, summaries, plots and `report.html` for a finished, stopped or running run.

    Returns the exit code: 2 if the data at the run's path have changed. `look`: whether to check the data.
    """
    stored = open_run(directory)
    benchmark = stored.benchmark
    try:
        summary = write_results(benchmark, stored.records)
        notes = json.loads((directory / NOTES).read_text()) if (directory / NOTES).is_file() else {}
        write_changes(directory, notes)
        parts, task = (benchmark.space, benchmark.objective), benchmark.dataset.task
        write_pictures(stored.records, summary, notes, *parts, task, unfinished_of(stored.records))
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    print(f"tables, plots and {PAGE} written to {directory}")
    changed = _changed_data(stored) if look else None
    if changed is None:
        return DONE
    advice = f"to skip this check, type: {shell_command('report', directory, '--no-data')}"
    return say(f"{changed}; the report was written without them; {advice}", USAGE)


def _changed_data(stored: StoredRun) -> str | None:
    """How the data at a run's path have changed, in one line; None if they are unchanged or missing."""
    if stored.data is None or not data_there(stored.config, stored.header):
        return None
    try:
        load_data(stored, stored.config)
    except DatasetError as error:
        return str(error)
    except ConfigError:  # a user's class, which is not executed for a report
        return None
    return None
