"""Ctrl-C, SIGTERM and what batch systems send, at every stage of a run, twice too: one line, the exit code, and
nothing half done."""

import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.cli import job
from nasrun.cli import main as cli
from nasrun.cli.ending import INTERRUPTED
from nasrun.config import checked
from nasrun.evaluators.synthetic import Synthetic
from nasrun.reports import page, pictures, summary
from nasrun.runner import interrupts, run
from nasrun.storage import journal, run_directory
from tests.faults.runs import COMMAND, QUICK, results, temporary_files
from tests.faults.runs import run as run_in
from tests.hardware.trouble import gone_within

WORDS = f"{' '.join((*QUICK[:2], QUICK[-1]))} trials=12 output.console=plain hydra.run.dir=run"
HOW = "nasrun: interrupted; continue with: nasrun resume run\n"

# Where the signal comes, and whether there is a run by then that can be gone on with.
STAGES: dict[str, tuple[Any, str, int, bool]] = {
    "composed": (checked, "build", 1, False),
    "prepared": (run, "describe_environment", 1, False),
    "making the directory": (run_directory, "write_json", 1, False),
    "made": (run, "locked", 1, True),
    "first trial": (Synthetic, "_measure", 1, True),
    "a trial": (Synthetic, "_measure", 7, True),
    "between trials": (journal.Journal, "append", 16, True),
    "final": (Synthetic, "final", 1, True),
    "tables": (run, "write_results", 1, True),
    "half a table": (summary, "write_json", 1, True),
    "pictures": (pictures, "save_figure", 2, True),
    "half a page": (page, "_records", 1, True),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in(tmp_path_factory.mktemp("whole") / "run", "trials=12")


def send_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, call: int, number: signal.Signals) -> list[int]:
    """Has this process send itself a signal at the n-th call of a function."""
    real, calls = getattr(place, name), []

    def function(*arguments: Any, **named: Any) -> Any:
        calls.append(number)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return real(*arguments, **named)

    monkeypatch.setattr(place, name, function)
    return calls


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_at_every_stage(
    stage: str, whole: Path, tmp_path: Path, nasrun_inprocess: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, call, resumable = STAGES[stage]
    place_in_list = [*STAGES].index(stage)
    number = interrupts.ENDING[place_in_list % len(interrupts.ENDING)]
    with monkeypatch.context() as patched:
        calls = send_at(patched, place, name, call, number)
        answer = nasrun_inprocess(WORDS)
    assert len(calls) >= call, "the stage was never reached"
    assert answer.returncode == INTERRUPTED == 130
    assert temporary_files(tmp_path) == []
    if not resumable:
        assert answer.stderr == "nasrun: interrupted\n"
        assert list(tmp_path.iterdir()) == []
        return
    assert answer.stderr == HOW
    resumed = nasrun_inprocess("resume run output.plots=false")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert results(tmp_path / "run") == results(whole)


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGUSR1", "SIGTERM"), ("SIGTERM", "SIGHUP")])
@pytest.mark.parametrize("where", [(run, "write_tables"), (cli, "say"), (job, "remove_empty")])
def test_a_second_signal_does_not_disturb_the_ending(
    first: str,
    second: str,
    where: tuple[Any, str],
    tmp_path: Path,
    nasrun_inprocess: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        send_at(patched, Synthetic, "_measure", 5, signal.Signals[first])
        calls = send_at(patched, *where, 1, signal.Signals[second])
        answer = nasrun_inprocess(f"{WORDS} output.plots=false")
    assert len(calls) == 1
    assert (answer.returncode, answer.stderr) == (130, HOW)
    assert len((tmp_path / "run" / "trials.csv").read_text().splitlines()) == 1 + 4
    assert nasrun_inprocess("resume run").returncode == 0


def test_the_terminal_is_given_back(tmp_path: Path) -> None:
    """A live view is stopped with Ctrl-C, typed twice into a real terminal."""
    runner, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    words = [COMMAND, *QUICK[:3], "trials=500", "evaluator.delay=0.05", "output.console=live", "hydra.run.dir=run"]
    mark = f"nasrun-terminal-{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: (os.setsid(), os.close(os.open(os.ttyname(0), os.O_RDWR))),
        env={**os.environ, "TERM": "xterm", "NASRUN_TEST_MARK": mark},
    )
    said = select.poll()
    said.register(runner, select.POLLIN)
    shown = b""
    typed = 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if said.poll(50):
            shown += os.read(runner, 65536)
        if typed < 2 and b"trials" in shown and shown.count(b"/500") > 1:
            typed += os.write(runner, b"\x03")
    while said.poll(0):
        shown += os.read(runner, 65536)
    assert process.stderr is not None
    error = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(), error) == (130, HOW)
    assert b"\x1b[?25l" in shown, "the cursor was never hidden: this shows nothing"
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor stays hidden"
    assert termios.tcgetattr(terminal) == before
    os.close(runner)
    os.close(terminal)
    assert gone_within(5, mark)
    assert temporary_files(tmp_path) == []
