"""`report.html` in a real browser: readable on a phone, in the dark and on paper, sortable, offline."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasrun.core import Objective
from nasrun.reports.page import write_page
from nasrun.reports.plots import draw_plots
from nasrun.reports.summary import summarise
from tests.reports.browser import CONTRAST, OVERFLOW, keep_screenshot, needs_chromium, opened
from tests.reports.conftest import NumbersSpace, WriteRun, as_trials, make_records

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


@pytest.fixture
def report(write_run: WriteRun, space: NumbersSpace) -> Path:
    run = write_run(as_trials(make_records(60)))
    figures = draw_plots(run.directory, run.trials, space, Objective(), {})
    return write_page(run, summarise(run, space, Objective()), space, Objective(), figures)


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
