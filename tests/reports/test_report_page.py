"""`report.html` as text: what it holds, and that nothing of a run can become markup."""

import csv
import io
import re
import urllib.parse
from dataclasses import replace
from pathlib import Path

import pytest

from nasrun.core import Objective
from nasrun.reports import page
from nasrun.reports.page import MOST_DRAWN, write_page
from nasrun.reports.plots import draw_plots
from nasrun.reports.summary import summarise
from nasrun.reports.tables import TRIALS, write_tables
from nasrun.reports.unfinished import LEAST_STALE, PATIENCE, UNKNOWN, Unfinished, stale_after, unfinished_of
from nasrun.storage.journal import NAME
from nasrun.storage.lock import locked
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


def test_a_page_of_very_many_trials_does_not_hold_them_all(
    write_run: WriteRun, space: NumbersSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_HELD", 39)
    monkeypatch.setattr(page, "MOST_ROWS", 7)
    text = page_of(write_run(as_trials(make_records(40))), space)
    assert downloads(text) == {}
    assert '<a class="data" download="trials.csv" href="trials.csv">All as CSV</a>' in text
    assert "40 trials, the first 7 shown." in text
    assert text.count("<tr") < 30


def test_a_run_that_is_not_over_says_as_of_when(write_run: WriteRun, space: NumbersSpace, tmp_path: Path) -> None:
    run = write_run(as_trials(make_records(12)))
    figures = draw_plots(run.directory, run.trials, space, OBJECTIVE, {})

    def text_of(state: Unfinished | None) -> str:
        path = write_page(run, summarise(run, space, OBJECTIVE), space, OBJECTIVE, figures, unfinished=state)
        return re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))

    assert 'id="unfinished"' not in text_of(None)
    running = text_of(Unfinished(40, 12.5))
    assert re.search(
        r"<strong>Running</strong> as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}: 12 of 40 trials\.", running
    )
    assert 'data-every="12.5" data-stale="600.0"' in running
    assert f"<code>nasrun status {run.directory}</code>" in running
    stopped = text_of(Unfinished(0, None))
    assert "<strong>Unfinished</strong>: 12 trials as of 19" in stopped  # when the journal ends
    assert f"<code>nasrun resume {run.directory}</code>" in stopped
    assert "data-every" not in stopped.partition("<script")[0]


def test_a_page_is_stale_when_no_trial_took_nearly_as_long() -> None:
    assert stale_after([], 10) == stale_after([1.0, 2.0], 10) == LEAST_STALE
    assert stale_after([1000.0], 10) == PATIENCE * 1010
    assert stale_after([1000.0, *(1000.0 + n for n in range(99))], 10) == LEAST_STALE


def test_what_a_directory_tells_of_whether_its_run_goes_on(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run(as_trials(make_records(3)))
    assert unfinished_of(run) == Unfinished(0, None)
    with locked(run.directory) as hold:
        hold.describe = lambda: {"trials": 9}
        hold.write()
        assert unfinished_of(run) == Unfinished(9, UNKNOWN)
    (run.directory / NAME).unlink()
    assert unfinished_of(write_run(as_trials(make_records(3)), reason="all done")) is None
