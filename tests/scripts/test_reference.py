"""The API reference is made without warnings, and says something of all that is public."""

import inspect
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import nasrun
from tests.scripts.test_shared_scripts import call


class Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        if tag == "a":
            self.links.add(found.get("href") or "")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("reference")
    assert "index.html" in call("make_reference", folder)  # warnings are errors there
    return {path: Page(path.read_text()) for path in folder.rglob("*.html")}


def named(pages: dict[Path, Page], name: str) -> Page:
    return next(page for path, page in pages.items() if path.as_posix().endswith(f"/{name}"))


def test_all_that_is_public_has_a_place(pages: dict[Path, Page]) -> None:
    assert {*nasrun.__all__} - {"__version__"} <= named(pages, "nasrun.html").anchors
    others = {"Executor", "SharedEvaluator", "StrategyWrapper", "Executor.submit", "Job.seed"}
    assert others <= named(pages, "nasrun/core.html").anchors
    assert {"Observer", "Observer.on_trial_complete"} <= named(pages, "storage/records.html").anchors


def test_links_between_the_pages_lead_somewhere(pages: dict[Path, Page]) -> None:
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            if "://" in link or not link:
                continue
            file, _, anchor = link.partition("#")
            there = pages[(path.parent / file).resolve() if file else path]
            assert not anchor or anchor in there.anchors, (path.name, link)
            followed += 1
    assert followed > 100


def members() -> Iterator[tuple[str, Any]]:
    """What nasrun exports, and what of its classes is public and their own."""
    for name in nasrun.__all__:
        thing = getattr(nasrun, name)
        if isinstance(thing, str):
            continue
        yield name, thing
        for inner, value in vars(thing).items() if inspect.isclass(thing) else ():
            if not inner.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                yield f"{name}.{inner}", value
        if inspect.isclass(thing) and "__init__" in vars(thing) and inspect.getdoc(thing.__init__):
            yield f"{name}()", thing.__init__


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*one, id=one[0]) for one in members()])
def test_what_is_public_is_described(name: str, thing: Any) -> None:
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    described = re.findall(r"^    (\w+): ", "\n".join(re.findall(r"Args:\n((?:    .*\n?)+)", text)), re.M)
    if described:
        assert described == [one for one in inspect.signature(thing).parameters if one != "self"]


@pytest.mark.parametrize("name", [name for name in nasrun.__all__ if name in ("run", "resume", "sweep", "load_run")])
def test_functions_say_what_they_take_and_raise(name: str) -> None:
    text = inspect.getdoc(getattr(nasrun, name)) or ""
    assert "\nArgs:\n" in text
    assert "\nRaises:\n" in text
