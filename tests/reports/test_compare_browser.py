"""`compare.html` in a real browser, and the pictures of the documentation.

The pictures are made from pages of real runs:
NASRUN_SCREENSHOTS=docs/pictures NASRUN_PAGES=RUN/report.html,COMPARE/compare.html \
  pytest tests/reports/test_compare_browser.py
"""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasrun.reports.compare.runs import compare_runs
from tests.reports.browser import CONTRAST, DESK, OVERFLOW, PHONE, keep_screenshot, needs_chromium, opened
from tests.reports.test_compare_page import make_runs, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium

SHOWN = {(DESK, "light"): "wide_light", (PHONE, "dark"): "narrow_dark"}
"""The pictures that are kept of a page that `NASRUN_PAGES` names."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A page that the tests make, and those that `NASRUN_PAGES` names."""
    folder = tmp_path_factory.mktemp("comparison")
    made = write(compare_runs([make_runs(folder)]), folder)
    return [made, *(Path(name) for name in os.environ.get("NASRUN_PAGES", "").split(",") if name)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_fits_and_can_be_read(browser: "Browser", pages: list[Path], width: int, scheme: str) -> None:
    for path in pages:
        page = opened(browser, path, width, color_scheme=scheme)
        assert page.evaluate(OVERFLOW) <= 0
        assert page.evaluate(CONTRAST) >= 4.5
        for place in range(page.locator("figure svg").count()):
            picture = page.locator("figure svg").nth(place).bounding_box()
            assert picture is not None
            assert 250 < picture["width"] <= width
        if path != pages[0] and (width, scheme) in SHOWN:
            keep_screenshot(page, f"{path.stem}_{SHOWN[width, scheme]}")
        page.context.close()


def test_it_prints_all_rows_within_the_paper(browser: "Browser", pages: list[Path]) -> None:
    page = opened(browser, pages[0], 794)  # A4 at 96 dots per inch
    page.emulate_media(media="print")
    box = page.locator("#runs").locator("..").bounding_box()
    assert box is not None
    assert box["height"] >= page.evaluate("document.querySelector('#runs').offsetHeight")
    assert page.evaluate("getComputedStyle(document.querySelector('a.data')).display") == "none"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_heading_sorts_by_numbers(browser: "Browser", pages: list[Path]) -> None:
    page = opened(browser, pages[0], DESK)
    column = page.locator("#table_val_accuracy th").all_inner_texts().index("mean ± sd")
    heading = page.locator("#table_val_accuracy th").nth(column)
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        cells = page.locator(f"#table_val_accuracy tbody td:nth-child({column + 1})").all_inner_texts()
        values = [float(cell.split()[0]) for cell in cells]
        assert len(values) == 2
        assert values == sorted(values, reverse=direction == "descending")


def test_a_plots_numbers_can_be_downloaded(browser: "Browser", pages: list[Path], tmp_path: Path) -> None:
    page = opened(browser, pages[0], DESK, accept_downloads=True)
    with page.expect_download() as download:
        page.locator("figure#incumbent_trials a").click()
    download.value.save_as(tmp_path / "data.csv")
    rows = list(csv.reader((tmp_path / "data.csv").open()))
    assert rows[0] == ["group", "trials", "mean", "low", "high"]
    assert [int(float(row[1])) for row in rows[1:9]] == list(range(1, 9))


def test_names_from_the_runs_run_nothing(browser: "Browser", pages: list[Path]) -> None:
    page = opened(browser, pages[0], DESK)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.reload()
    assert page.locator("main script, main img, main b").count() == 0
