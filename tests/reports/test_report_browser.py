"""`report.html` in a real browser: readable on a phone, in the dark and on paper, sortable, offline."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasrun.core import Objective
from nasrun.reports import unfinished
from nasrun.reports.page import write_page
from nasrun.reports.plots import draw_plots
from nasrun.reports.summary import summarise
from nasrun.reports.unfinished import Unfinished
from nasrun.storage.records import RunRecords
from tests.reports.browser import CONTRAST, OVERFLOW, keep_screenshot, needs_chromium, opened
from tests.reports.conftest import NumbersSpace, WriteRun, as_trials, make_records

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium


def write(run: RunRecords, space: NumbersSpace, now: Unfinished | None = None) -> Path:
    figures = draw_plots(run.directory, run.trials, space, Objective(), {})
    return write_page(run, summarise(run, space, Objective()), space, Objective(), figures, unfinished=now)


@pytest.fixture
def report(write_run: WriteRun, space: NumbersSpace) -> Path:
    return write(write_run(as_trials(make_records(60))), space)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(browser: "Browser", report: Path, width: int, scheme: str) -> None:
    page = opened(browser, report, width, color_scheme=scheme)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CONTRAST) >= 4.5
    picture = page.locator("figure svg").first.bounding_box()
    assert picture is not None
    assert 250 < picture["width"] <= width
    assert len(page.screenshot(full_page=True)) > 20_000
    keep_screenshot(page, f"report_{width}_{scheme}")


def test_it_prints_all_rows(browser: "Browser", report: Path) -> None:
    page = opened(browser, report, 1000)
    page.emulate_media(media="print")
    box = page.locator("#trials").locator("..").bounding_box()
    assert box is not None
    assert box["height"] >= page.evaluate("document.querySelector('#trials').offsetHeight")


def test_a_heading_sorts_by_its_column(browser: "Browser", report: Path) -> None:
    page = opened(browser, report, 1280)
    heading = page.locator("#trials th", has_text="val_accuracy").first
    column = heading.evaluate("(e) => e.cellIndex")
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        cells = page.locator("#trials tbody tr").evaluate_all(
            f"(rows) => rows.map((r) => r.cells[{column}].textContent)"
        )
        values = [float(cell) for cell in cells if cell]
        assert values == sorted(values, reverse=direction == "descending")
        assert not any(cells[len(values) :])  # what has no value comes last either way


def test_a_plots_numbers_can_be_downloaded(browser: "Browser", report: Path, tmp_path: Path) -> None:
    page = opened(browser, report, 1280, accept_downloads=True)
    with page.expect_download() as download:
        page.locator("figure#incumbent a").click()
    download.value.save_as(tmp_path / "data.csv")
    rows = list(csv.reader((tmp_path / "data.csv").open()))
    assert rows[0] == ["trial", "val_accuracy", "best_so_far"]
    assert len(rows) == 61


def test_the_page_of_a_run_that_goes_on_is_loaded_again_until_it_is_over(
    browser: "Browser", write_run: WriteRun, space: NumbersSpace
) -> None:
    trials = as_trials(make_records(60))
    path = write(write_run(trials[:40]), space, Unfinished(60, 999))
    page = opened(browser, path, 1280)
    assert "40 of 60 trials" in page.locator("#unfinished").inner_text()
    keep_screenshot(page, "report_going")
    page.locator("details", has_text="Machine and versions").locator("summary").click()
    page.locator("#trials th", has_text="val_accuracy").first.locator("button").click()
    page.evaluate("document.querySelector('#trials').parentElement.scrollTo(0, 200)")
    page.evaluate("scrollTo(0, 150)")
    (path.parent / "journal.jsonl").unlink()
    write(write_run(trials[:50]), space, Unfinished(60, 0.3))
    page.evaluate("setTimeout(look)")
    page.wait_for_selector("text=50 of 60 trials")
    assert comes_to_stand(page, [150, 200, "ascending", True])
    (path.parent / "journal.jsonl").unlink()
    write(write_run(trials), space)
    page.wait_for_selector("#unfinished", state="detached")
    assert comes_to_stand(page, [150, 200, "ascending", True])
    assert page.locator("#trials tbody tr").count() == 60
    page.evaluate("window.here = true")
    page.wait_for_timeout(700)
    assert page.evaluate("window.here"), "a page of a run that is over was loaded again"


AS_IT_STANDS = """() => [
  scrollY,
  document.querySelector("#trials").parentElement.scrollTop,
  [...document.querySelectorAll("#trials th")].find((one) => one.textContent.startsWith("val_accuracy")).ariaSort,
  [...document.querySelectorAll("details")].find((one) => one.textContent.startsWith("Machine")).open,
]"""


def comes_to_stand(page: "Page", wanted: list[object]) -> bool:
    """Whether a page, which may be loaded again at any moment, comes to stand like that."""
    stands = f"JSON.stringify(({AS_IT_STANDS})()) === {json.dumps(json.dumps(wanted, separators=(',', ':')))}"
    page.wait_for_function(f"document.readyState === 'complete' && {stands}")
    return True


def test_the_page_of_a_run_that_was_killed_says_so_and_is_left_alone(
    browser: "Browser", write_run: WriteRun, space: NumbersSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "LEAST_STALE", 0.5)
    monkeypatch.setattr(unfinished, "PATIENCE", 0)
    page = opened(browser, write(write_run(as_trials(make_records(20))), space, Unfinished(60, 0.2)), 1280)
    page.wait_for_selector(".unfinished.stale")
    text = page.locator("#unfinished").inner_text()
    assert "the run was stopped or killed" in text
    assert "nasrun status " in text
    keep_screenshot(page, "report_killed")
    page.evaluate("window.here = true")
    page.wait_for_timeout(700)
    assert page.evaluate("window.here")
