"""One contract for every tracker in conf/tracker: a new option enrols itself (its reader: tests/trackers/reading)."""

import csv
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core.options import ConfigError
from nasrun.runner.resume import CHANGEABLE
from nasrun.storage import journal
from nasrun.trackers.observer import Tracking
from tests.support import options, setup_of, without_time
from tests.trackers.reading import LIBRARIES, missing, run, run_on, tracked

TRIALS = 12
trackers = pytest.mark.parametrize("tracker", options("tracker"))
installed = pytest.mark.parametrize("tracker", [name for name in options("tracker") if not missing(name)])

KILLED = """
import os, signal, sys
from pathlib import Path
from nasrun.config.sections import locate, option_section
from nasrun.trackers import Tracker, observer
from tests.trackers.reading import run

name, directory = sys.argv[1], Path(sys.argv[2])
kind = locate(option_section("tracker", name)["_target_"], Tracker, "tracker")
observer.FIRST_SECONDS = observer.WAIT_SECONDS = observer.SHARE = 0
log, calls = kind.log, []

def log_and_die(self, trials):
    log(self, trials)
    calls.extend(trials)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

kind.log = log_and_die
run(directory, name, "trials=12", "evaluator.fail_rate=0.2", "evaluator.delay=0.002")
"""


def table(directory: Path) -> list[dict[str, str]]:
    """The rows of `trials.csv`."""
    with open(directory / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def check_tracked(tracker: str, directory: Path) -> None:
    """Every trial of the table was tracked once, in order, with its numbers."""
    rows, expected = tracked(tracker, directory), table(directory)
    if tracker == "csv":
        return
    assert [number for number, _ in rows] == list(range(len(expected)))
    best = -1.0
    for (_, values), row in zip(rows, expected, strict=True):
        assert values["trial/ok"] == (row["status"] == "ok")
        if row["status"] == "ok":
            best = max(best, float(row["val_accuracy"]))
            assert values["trial/val_accuracy"] == pytest.approx(float(row["val_accuracy"]), rel=1e-6)
            assert values["trial/parameters"] == pytest.approx(float(row["parameters"]))
        if best > -1:
            assert values["best/val_accuracy"] == pytest.approx(best, rel=1e-6)


def surroundings() -> list[Any]:
    """The state of the process that a run must not change."""
    generators = random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state().tolist()  # type: ignore[index]
    hooks = sys.exit, sys.excepthook, sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)
    variables = {name: value for name, value in os.environ.items() if name.startswith("WANDB")}
    return [generators, hooks, variables, set(threading.enumerate()), Path.cwd()]


def children() -> list[str]:
    """The processes that this one has started and that are still there."""
    here, found = str(os.getpid()), []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == here and rest.split()[0] != "Z":
            found.append(name.partition("(")[2])
    return found


@pytest.mark.parametrize("tracker", [name for name in options("tracker") if name in LIBRARIES])
def test_without_its_library_a_tracker_is_refused_in_a_line(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, LIBRARIES[tracker], None)
    with pytest.raises(ConfigError) as refusal:
        setup_of(f"tracker={tracker}")
    assert str(refusal.value) == f"tracker={tracker} needs {LIBRARIES[tracker]}: pip install 'nasrun[{tracker}]'"


def test_the_reader_knows_every_tracker_with_a_library() -> None:
    assert {*LIBRARIES, "csv"} == set(options("tracker"))


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("csv") / "run"
    run(directory, "csv", f"trials={TRIALS}", "evaluator.fail_rate=0.2")
    return directory


@installed
def test_a_tracker_changes_nothing_and_leaves_nothing_behind(
    tracker: str,
    untracked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "online")  # of the user's other work; not of this run
    monkeypatch.chdir(tmp_path / "cwd")
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX, f"{tracker} goes out to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **more: pytest.fail(f"{tracker} asks for {where}"))
    before, processes = surroundings(), children()
    (tmp_path / "runs").mkdir()
    directory = tmp_path / "runs" / "run"
    run(directory, tracker, f"trials={TRIALS}", "evaluator.fail_rate=0.2")
    said = capfd.readouterr()
    assert said.err == ""
    assert "failed and is disabled" not in said.out, said.out
    assert surroundings() == before
    assert children() == processes
    assert not list((tmp_path / "cwd").iterdir())
    assert not list((tmp_path / "home").rglob("*wandb*")) + list((tmp_path / "home").rglob("*mlflow*"))
    for name in ("trials.csv", "measurements.csv", "genomes.txt", "best.json"):
        assert (directory / name).read_bytes() == (untracked / name).read_bytes()
    events = [journal.read(folder / journal.NAME) for folder in (directory, untracked)]
    assert without_time(events[0]) == without_time(events[1])
    check_tracked(tracker, directory)
    assert not [path for path in directory.rglob("*") if path.is_symlink()]


@installed
def test_a_run_that_is_killed_and_resumed_has_every_trial_once(tracker: str, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = [sys.executable, "-c", KILLED, tracker, str(directory)]
    killed = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    if tracker == "csv":
        assert killed.returncode == 0, killed.stderr
    else:
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert len([event for event in journal.read(directory / journal.NAME) if event["event"] == "tell"]) == 5
        deadline = time.monotonic() + 60  # W&B's own process ends by itself
        while any(str(directory) in words for words in command_lines()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    run_on(directory)
    assert len(table(directory)) == TRIALS
    check_tracked(tracker, directory)
    run_on(directory, trials=TRIALS + 3)
    assert len(table(directory)) == TRIALS + 3
    check_tracked(tracker, directory)


def command_lines() -> list[str]:
    """The command lines and open files of all processes, as far as they can be read."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [str(path.readlink()) for path in (process / "fd").iterdir()]
            found.append(" ".join([(process / "cmdline").read_text(), *opened]))
        except OSError:
            continue
    return found


@installed
def test_a_resume_may_change_the_tracker_and_writes_a_finished_run_anew(
    tracker: str, untracked: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    run(directory, "csv", "trials=4")
    run(tmp_path / "first", tracker, "trials=1")
    run_on(directory, tracker=tracker)
    check_tracked(tracker, directory)
    run_on(directory, tracker="csv", trials=5)
    assert len(table(directory)) == 5
    with pytest.raises(ConfigError, match=r"tracker=tensorbord: no such option; did you mean 'tensorboard'\?"):
        run_on(directory, tracker="tensorbord")
    assert "tracker" in CHANGEABLE


@installed
def test_a_dry_run_starts_no_tracker(
    tracker: str, nasrun_inprocess: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Tracking, "on_start", lambda *_: pytest.fail("started"))
    done = nasrun_inprocess(f"tracker={tracker} evaluator=synthetic dataset=synthetic dry_run=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
