"""Pages in a real browser: how they are opened, what is measured of them, and their screenshots."""

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")

SCREENSHOTS = "NASRUN_SCREENSHOTS"
"""The variable that names a folder for screenshots; without it none are kept."""
PHONE, DESK = 390, 1280

OVERFLOW = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
CONTRAST = """() => {
  const parts = (text) => text.match(/[0-9.]+/g).map(Number).slice(0, 3);
  const light = (colour) => parts(colour).map((x) => x / 255)
    .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const texts = document.querySelectorAll("h1, p, li, dt, dd, td, th button, a, figcaption, svg text");
  const ratios = [...texts].map((e) => {
    const style = getComputedStyle(e);
    const ink = light(e instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
  return Math.min(...ratios);
}"""
"""The smallest contrast of a text with the page, as WCAG 2.1 computes it."""


def opened(browser: "Browser", path: Path, width: int, **options: Any) -> "Page":
    """The page at a width, in a window without a network; an error, a message on its console or a request fails."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, offline=True, **options)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page raised {error}"))
    page.on("console", lambda message: pytest.fail(f"the page wrote {message.text}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else pytest.fail(request.url))
    page.goto(path.absolute().as_uri())
    return page


def keep_screenshot(page: "Page", name: str) -> None:
    """What the window shows, as a PNG that takes little space, in the folder that `NASRUN_SCREENSHOTS` names."""
    if SCREENSHOTS in os.environ:
        from PIL import Image

        folder = Path(os.environ[SCREENSHOTS])
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(folder / f"{name}.png", optimize=True)
