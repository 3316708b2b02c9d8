"""Makes the pictures of docs/pictures: the report of a run and its model card in a real browser.

    python scripts/make_pictures.py RUN [FOLDER]

RUN is a finished run of a classification; its model card is made in a temporary folder. Wide is a screen, narrow a
phone. Needs Chromium (Debian's package chromium) and playwright, which the extra `test` installs.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
NASRUN = Path(sys.executable).with_name("nasrun")
WIDTHS = {"wide": 1280, "narrow": 390}
HEIGHT = 1000
TEST = "figure#test_confusion"
"""Selector of the first picture in a report's section on the test."""
COLOURS = 128
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { padding: 0.2em 0.8em; border-bottom: 1px solid #ccc; text-align: left; }
img { max-width: 100%; } code { overflow-wrap: anywhere; }
"""


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER", help="docs/pictures")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("make_pictures.py: needs Chromium (Debian's package chromium)")
    report = arguments.run / "report.html"
    if not report.is_file():
        sys.exit(f"make_pictures.py: {report}: missing; make it with nasrun report {arguments.run}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        card = make_card(arguments.run, Path(place))
        browser = playwright.chromium.launch(executable_path=chromium)
        for size, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                name = f"{size}_{scheme}"
                page = opened(browser, report, width, scheme)
                if name in ("wide_light", "narrow_dark"):
                    keep(page, arguments.folder / f"report_{name}.png")
                page.locator(TEST).evaluate("figure => figure.scrollIntoView()")
                keep(page, arguments.folder / f"report_test_{name}.png")
        keep(opened(browser, card, WIDTHS["wide"], "light"), arguments.folder / "model_card.png")
        browser.close()


def make_card(run: Path, place: Path) -> Path:
    """The model card of a run's winner as a page."""
    folder = place / "export"
    command = [str(NASRUN), "export", str(run), "--int8", "--out", str(folder)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"make_pictures.py: {' '.join(command)}: exit code {done.returncode}")
    text = MarkdownIt("commonmark").enable("table").render((folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    page = folder / "card.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{text}", encoding="utf-8")
    return page


def opened(browser: "Browser", path: Path, width: int, scheme: str) -> "Page":
    """A page in its own window, without a network."""
    size = {"width": width, "height": HEIGHT}
    colours = "dark" if scheme == "dark" else "light"
    page = browser.new_context(viewport=size, offline=True, color_scheme=colours).new_page()  # type: ignore[arg-type]
    page.goto(path.absolute().as_uri())
    return page


def keep(page: "Page", path: Path) -> None:
    """Save the contents of the window as a small PNG."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
