"""`nasrun report DIR`: the tables and plots of a run directory, made again from its journal."""

import json
from pathlib import Path

from nasrun.config.build import build
from nasrun.core.options import ConfigError
from nasrun.reports.changes import write_changes
from nasrun.reports.page import PAGE
from nasrun.reports.pictures import write_pictures
from nasrun.runner.run import NOTES, write_results
from nasrun.storage import journal
from nasrun.storage.records import assemble
from nasrun.storage.run_directory import holds_run, load_config


def report(directory: Path) -> None:
    """Write tables, summaries, plots and `report.html`; the run may be finished, stopped or still going."""
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME})")
    events = journal.read(directory / journal.NAME)
    setup = build(load_config(directory, events))
    try:
        summary, run = write_results(setup, directory), assemble(directory, events)
        notes = json.loads((directory / NOTES).read_text()) if (directory / NOTES).is_file() else {}
        write_changes(directory, notes)
        write_pictures(run, summary, notes, setup.space, setup.objective, setup.dataset.task)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    print(f"tables, plots and {PAGE} written to {directory}")
