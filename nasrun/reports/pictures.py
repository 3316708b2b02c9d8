"""All plots of a run: the files under `plots/`, and `report.html`, which contains them."""

from collections.abc import Mapping
from typing import Any

from nasrun.core import Objective, SearchSpace, Task
from nasrun.reports.page import write_page
from nasrun.reports.plot_style import save_figure
from nasrun.reports.plots import PLOTS, draw_plots
from nasrun.reports.summary import summarise
from nasrun.reports.tested import read_tested
from nasrun.reports.tested_plots import draw_test
from nasrun.reports.unfinished import Unfinished
from nasrun.storage.records import RunRecords


def write_pictures(
    run: RunRecords,
    summary: Mapping[str, Any],
    notes: Mapping[str, Any],
    space: SearchSpace,
    objective: Objective,
    task: Task | None = None,
    unfinished: Unfinished | None = None,
) -> None:
    """Draw a run, finished or not, into its directory; OSError passes through.

    `summary` and `notes`: the contents of `summary.json` and `strategy.json`. `task`, `unfinished`: see `write_page`.
    """
    figures = draw_plots(run.directory, run.trials, space, objective, notes)
    tested = read_tested(run.directory) if "test" in summary else None
    tests = {} if tested is None else draw_test(tested)
    for name, figure in {**figures, **tests}.items():
        save_figure(figure, run.directory / PLOTS / f"{name}.png")
    write_page(run, summary, space, objective, figures, task, tests, unfinished)


def write_unfinished_page(run: RunRecords, space: SearchSpace, objective: Objective, unfinished: Unfinished) -> None:
    """Write only the page, for the run so far; OSError passes through."""
    figures = draw_plots(run.directory, run.trials, space, objective, {})
    write_page(run, summarise(run, space, objective), space, objective, figures, unfinished=unfinished)
