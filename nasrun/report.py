"""`nasrun report DIR`: the tables and plots of a run directory, made again from its journal."""

from pathlib import Path

from nasrun import journal
from nasrun.config import build
from nasrun.records import assemble
from nasrun.reports.plots import write_plots
from nasrun.run import write_results
from nasrun.run_directory import holds_run, load_config
from nasrun.schema import ConfigError


def report(directory: Path) -> None:
    """Write tables, summaries and plots; the run may be finished, stopped or still going."""
    if not holds_run(directory):
        raise ConfigError(f"{directory}: holds no run (it has no {journal.NAME})")
    events = journal.read(directory / journal.NAME)
    setup = build(load_config(directory, events))
    write_results(setup, directory)
    write_plots(directory, assemble(directory, events).trials, setup.space, setup.objective)
    print(f"tables and plots written to {directory}")
