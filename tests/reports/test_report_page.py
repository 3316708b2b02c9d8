"""`report.html` as text: what it holds, and that nothing of a run can become markup."""

import csv
import io
import re
import urllib.parse
from dataclasses import replace
from pathlib import Path

from nasrun.core import Objective
from nasrun.reports.page import MOST_DRAWN, write_page
from nasrun.reports.plots import draw_plots
from nasrun.reports.summary import summarise
from nasrun.reports.tables import TRIALS, write_tables
from nasrun.storage.records import RunRecords
from tests.reports.conftest import NumbersSpace, WriteRun, as_trials, make_records, measured

OBJECTIVE = Objective()


def page_of(run: RunRecords, space: NumbersSpace) -> str:
    figures = draw_plots(run.directory, run.trials, space, OBJECTIVE, {})
    path = write_page(run, summarise(run, space, OBJECTIVE), space, OBJECTIVE, figures)
    return path.read_text(encoding="utf-8")


def downloads(text: str) -> dict[str, list[list[str]]]:
    """The files that a page offers, by name."""
    found = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]*)"', text)
    return {name: list(csv.reader(io.StringIO(urllib.parse.unquote(data)))) for name, data in found}


def test_the_page_holds_the_run(write_run: WriteRun, space: NumbersSpace) -> None:
    run = write_run(as_trials(make_records(40)))
    text = page_of(run, space)
    assert text.count("<svg ") == 4
    assert text.count("<tr") >= 41
    best = summarise(run, space, OBJECTIVE)["best"]
    assert best["genome"] in text
    assert f"trial {best['trial']}" in text
    write_tables(run.directory, run.trials, space, OBJECTIVE, run.header.seed)
    files = downloads(text)
    assert files["trials.csv"] == list(csv.reader((run.directory / TRIALS).open()))
    assert files["incumbent.csv"][0] == ["trial", "val_accuracy", "best_so_far"]
    assert len(files["incumbent.csv"]) == 41
    assert float(files["incumbent.csv"][-1][2]) == best["metrics"]["val_accuracy"]
    assert {"accuracy_parameters.csv", "learning_curves.csv", "origins.csv"} < set(files)


def test_the_page_needs_nothing_else(write_run: WriteRun, space: NumbersSpace) -> None:
    text = page_of(write_run(as_trials(make_records(10))), space)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "@import" not in text


def test_the_same_records_give_the_same_page(write_run: WriteRun, space: NumbersSpace) -> None:
    run = write_run(as_trials(make_records(10)))
    assert page_of(run, space) == page_of(run, space)


def test_markup_in_a_run_stays_text(write_run: WriteRun, space: NumbersSpace) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    records = make_records(6)
    failed = measured(0, 0.5)._replace(status="failed", metrics={}, error=hostile, history=())
    records[0].measurements = [failed]
    run = write_run(as_trials(records))
    run.header = replace(run.header, choices={"strategy": hostile, "dataset": "d", "search_space": "s"})
    text = page_of(run, space)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;alert") >= 3


def test_a_run_without_success_has_a_page(write_run: WriteRun, space: NumbersSpace) -> None:
    records = make_records(3)
    for record in records.values():
        record.measurements = [measured(record.trial.number, 0.0)._replace(status="failed", metrics={}, error="broke")]
    text = page_of(write_run(as_trials(records)), space)
    assert "What failed" in text
    assert "<svg" not in text


def test_many_trials_are_drawn_as_pixels(write_run: WriteRun, space: NumbersSpace) -> None:
    text = page_of(write_run(as_trials(make_records(MOST_DRAWN + 1))), space)
    assert "<svg " not in text
    assert text.count("data:image/png;base64,") == 4
    assert len(downloads(text)["trials.csv"]) == MOST_DRAWN + 2


def test_the_template_is_where_the_package_is() -> None:
    from nasrun.reports import page

    assert (Path(page.__file__).parent / page.TEMPLATE).is_file()
