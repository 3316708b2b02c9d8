"""`nasrun watch`: who gets an answer from its server, and its page in a real browser beside a run that goes on."""

import http.client
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nasrun.core.options import ConfigError
from nasrun.reports.status.page import Watched
from nasrun.reports.status.server import Server
from tests.faults.runs import COMMAND, QUICK, count, eventually
from tests.faults.runs import run as run_in
from tests.reports.browser import CONTRAST, OVERFLOW, keep_screenshot, needs_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    run_in(tmp_path / "runs" / "<b>1", "trials=4")
    with Server(Watched([tmp_path / "runs"])) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_only_whoever_has_the_token_gets_an_answer(server: Server) -> None:
    good = f"token={server.token}"
    assert ask(server, f"/?{good}")[0] == 200
    assert ask(server, f"/state?{good}")[0] == 200
    for path in (
        "/",
        "/state",
        "/?token=",
        f"/?token={server.token[:-1]}",
        f"/?other={server.token}",
        "/?token=%C3%A9%ff",
    ):
        code, text = ask(server, path)
        assert code == 403
        assert server.token not in text


def test_a_name_of_others_leads_nowhere(server: Server) -> None:
    assert ask(server, f"/state?token={server.token}", host="evil.example")[0] == 403
    assert ask(server, f"/state?token={server.token}", host=f"evil.example:{server.server_port}")[0] == 403
    assert ask(server, f"/state?token={server.token}", host="localhost:8000")[0] == 200


def test_nothing_else_is_open(server: Server, tmp_path: Path) -> None:
    good = f"token={server.token}"
    for path in ("/runs", "/journal.jsonl", "/../../etc/passwd", "/%2e%2e/etc/passwd", f"{tmp_path}/runs"):
        assert ask(server, f"{path}?{good}")[0] == 404
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        assert ask(server, f"/state?{good}", method=method)[0] == 501
    assert server.server_address[0] == "127.0.0.1"
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((address, server.server_port), timeout=2)


def test_a_port_that_is_taken(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^--port={server.server_port}: cannot be used \(.*\); leave it out$"):
        Server(Watched([tmp_path]), server.server_port)


def test_what_it_says(server: Server) -> None:
    state = json.loads(ask(server, f"/state?token={server.token}")[1])
    assert state["facts"] == [["done", "1"], ["trials", "4"]]
    [run] = state["runs"]
    assert (run["kind"], run["told"], run["trials"], run["progress"]) == ("done", 4, 4, "4 of 4 trials")
    assert run["best"].endswith(" val_accuracy")
    assert len(run["curve"]) >= 1


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_page_keeps_up_with_a_run(browser: "Browser", tmp_path: Path, width: int, scheme: str) -> None:
    run_in(tmp_path / "runs" / "<b>1", "trials=4")
    words = [*QUICK, "strategy=random", "trials=400", "evaluator.delay=0.2", "hydra.run.dir=runs/now"]
    run = subprocess.Popen([COMMAND, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    watch = subprocess.Popen([COMMAND, "watch", "runs"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: count(tmp_path / "runs" / "now", "tell") >= 3)
        address = watch.stdout.readline().split()[0]
        wrong: list[str] = []
        # Its policy is in force: it runs its own script alone.
        page = watching(browser, address, width, scheme, wrong)
        page.wait_for_selector("tr.running")
        assert page.locator("tr.done td").nth(1).text_content().startswith("runs/<b>1")
        first = told(page)
        eventually(lambda: told(page) > first)
        assert re.search(r"trial \d+: ", page.locator("tr.running").text_content())
        keep_screenshot(page, f"watch_{width}_{scheme}")
        measured = watching(browser, address, width, scheme, wrong, bypass_csp=True)  # what is measured, is by a script
        measured.wait_for_selector("tr.running")
        assert measured.evaluate(OVERFLOW) <= 0
        assert measured.evaluate(CONTRAST) >= 4.5
        run.terminate()
        page.wait_for_selector("tr.stopped")
        assert page.locator("tr.running").count() == 0
        assert wrong == []
    finally:
        run.kill()
        watch.terminate()
        assert watch.wait(60) == 0
        run.wait()


def watching(browser: "Browser", address: str, width: int, scheme: str, wrong: list[str], **options: Any) -> "Page":
    """The page, which asks nobody else for anything and has nothing to complain of."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
    page, own = context.new_page(), address.partition("?")[0]
    page.on("pageerror", lambda error: wrong.append(f"the page raised {error}"))
    page.on("console", lambda message: wrong.append(f"the page wrote {message.text}"))
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    page.goto(address)
    return page


def told(page: Any) -> int:
    return int(page.locator("tr.running td[data-sort]").first.get_attribute("data-sort"))
