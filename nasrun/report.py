"""`nasrun report DIR`: the tables and plots of a run directory, made again from its journal."""

import json
from pathlib import Path

from nasrun import journal
from nasrun.config import build
from nasrun.records import assemble
from nasrun.reports.changes import plot_history, write_changes
from nasrun.reports.page import write_page
from nasrun.reports.plots import write_plots
from nasrun.run import NOTES, write_results
from nasrun.run_directory import holds_run, load_config
from nasrun.schema import ConfigError


def report(directory: Path) -> None:
    """Write tables, summaries, plots and `report.html`; the run may be finished, stopped or still going."""
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME})")
    events = journal.read(directory / journal.NAME)
    setup = build(load_config(directory, events))
    summary = write_results(setup, directory)
    trials = assemble(directory, events).trials
    write_plots(directory, trials, setup.space, setup.objective)
    notes = json.loads((directory / NOTES).read_text()) if (directory / NOTES).is_file() else {}
    write_changes(directory, notes)
    plot_history(directory, trials, notes, setup.objective)
    page = write_page(assemble(directory, events), summary, setup.space, setup.objective, setup.dataset.task)
    print(f"tables, plots and {page.name} written to {directory}")
