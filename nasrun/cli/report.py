"""`nasrun report DIR`: the tables and plots of a run directory, made again from its journal."""

import json
from pathlib import Path

from nasrun.config.stored_run import open_run
from nasrun.core.options import ConfigError
from nasrun.reports.changes import write_changes
from nasrun.reports.page import PAGE
from nasrun.reports.pictures import write_pictures
from nasrun.runner.run import NOTES, write_results


def report(directory: Path) -> None:
    """Write tables, summaries, plots and `report.html`; the run may be finished, stopped or still going."""
    stored = open_run(directory)
    benchmark = stored.benchmark
    try:
        summary = write_results(benchmark, directory)
        notes = json.loads((directory / NOTES).read_text()) if (directory / NOTES).is_file() else {}
        write_changes(directory, notes)
        write_pictures(stored.records, summary, notes, benchmark.space, benchmark.objective, benchmark.dataset.task)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    print(f"tables, plots and {PAGE} written to {directory}")
