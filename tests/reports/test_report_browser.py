"""`report.html` in a real browser: readable on a phone, in the dark and on paper, sortable, offline."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nasrun.protocols import Objective
from nasrun.reports.page import write_page
from nasrun.reports.plots import draw_plots
from nasrun.reports.summary import summarise
from tests.reports.conftest import NumbersSpace, WriteRun, as_trials, make_records

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")

OVERFLOW = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
CONTRAST = """() => {
  const parts = (text) => text.match(/[0-9.]+/g).map(Number).slice(0, 3);
  const light = (colour) => parts(colour).map((x) => x / 255)
    .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const ratios = [...document.querySelectorAll("h1, p, dt, dd, td, th button, a, figcaption, svg text")].map((e) => {
    const style = getComputedStyle(e);
    const ink = light(e instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
  return Math.min(...ratios);
}"""
"""The smallest contrast of a text with the page, as WCAG 2.1 computes it."""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def report(write_run: WriteRun, space: NumbersSpace) -> Path:
    run = write_run(as_trials(make_records(60)))
    figures = draw_plots(run.directory, run.trials, space, Objective(), {})
    return write_page(run, summarise(run, space, Objective()), space, Objective(), figures)


def opened(browser: "Browser", path: Path, width: int, **options: Any) -> "Page":
    """The page at a width, in a window that has no network; what goes wrong in it raises."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page raised {error}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else pytest.fail(request.url))
    page.goto(path.absolute().as_uri())
    return page


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
