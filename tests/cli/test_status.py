"""`nasrun status` and `nasrun stop` on real runs: going on, stopped, killed, finished, damaged, and sweeps of them."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nasrun.cli import stop
from nasrun.storage import journal
from nasrun.storage.lock import holder_of
from tests.conftest import COMMAND
from tests.faults.runs import QUICK, count, eventually, results
from tests.faults.runs import run as run_in

SLOW = [*QUICK, "strategy=random", "trials=300", "evaluator.delay=0.1"]
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen([COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def said(command: Callable, words: str) -> str:
    answer = command(words)
    assert (answer.returncode, answer.stderr) == (0, ""), answer
    return answer.stdout


def states(command: Callable, words: str) -> dict[str, dict]:
    """What `status --json` says, by the name of the directory."""
    found = json.loads(said(command, f"status {words} --json"))
    return {Path(run["directory"]).name: run for run in found["runs"]}


def test_a_run_is_seen_stopped_from_elsewhere_and_goes_on_to_the_same(
    started: Started, nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    process = started(*SLOW, "hydra.run.dir=run", "hardware.workers=2", "hardware.threads=1")
    eventually(lambda: count(tmp_path / "run", "tell") >= 3)
    eventually(lambda: (holder_of(tmp_path / "run" / ".lock").says or {}).get("workers"))
    lines = said(nasrun_inprocess, "status run").splitlines()
    assert lines[0].startswith("run: running since ")
    assert " of 300 trials, about " in lines[0]
    assert "best val_accuracy" in lines[1]
    assert lines[2].endswith(f", process {process.pid}")
    assert [re.match(r"  process \d+: (trial \d+|no trial) for ", line) is not None for line in lines[3:]] == [True] * 2
    found = states(nasrun_inprocess, "run")["run"]
    assert (found["kind"], len(found["measuring"]), found["trials"]) == ("running", 2, 300)
    assert found["in_flight"] <= 2

    assert said(nasrun_inprocess, "stop run") == "run: stopped; continue with: nasrun resume run\n"
    assert process.communicate()[1] == "nasrun: interrupted; continue with: nasrun resume run\n"
    assert process.returncode == 130
    assert not (tmp_path / "run" / ".lock.stop").exists()
    assert (tmp_path / "run" / "trials.csv").is_file()
    lines = said(nasrun_inprocess, "status run").splitlines()
    assert lines[0].startswith("run: stopped since ")
    assert lines[-1] == "  continue with: nasrun resume run"
    done = count(tmp_path / "run", "tell")

    assert nasrun_inprocess(f"resume run trials={done + 5}").returncode == 0
    run_in(tmp_path / "whole", *SLOW[len(QUICK) :], "evaluator.delay=0", f"trials={done + 5}", "hardware.in_flight=2")
    assert results(tmp_path / "run")["trials.csv"] == results(tmp_path / "whole")["trials.csv"]
    assert said(nasrun_inprocess, "status run").startswith("run: done since ")


def test_a_run_that_was_killed_is_not_running(started: Started, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    process = started(*SLOW, "hydra.run.dir=run")
    eventually(lambda: count(tmp_path / "run", "tell") >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = states(nasrun_inprocess, "run")["run"]
    assert (found["kind"], found["measuring"], found["holder"]["pid"]) == ("stopped", [], process.pid)
    answer = nasrun_inprocess("stop run")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "nasrun: run: nothing is running; show the state with: nasrun status run\n"


def test_a_run_that_ends_by_itself_at_that_moment_is_done(
    started: Started, nasrun_inprocess: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(*QUICK, "strategy=random", "trials=30", "evaluator.delay=0.1", "hydra.run.dir=run")
    eventually(lambda: count(tmp_path / "run", "tell") >= 2)
    monkeypatch.setattr(stop, "ask_to_stop", lambda path: process.wait(60))
    assert said(nasrun_inprocess, "stop run") == "run: done\n"
    assert said(nasrun_inprocess, "status run").startswith("run: done since ")


def test_a_process_that_cannot_end_is_said(started: Started, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    process = started(*SLOW, "hydra.run.dir=run")
    eventually(lambda: count(tmp_path / "run", "tell") >= 2)
    process.send_signal(signal.SIGSTOP)
    answer = nasrun_inprocess("stop run --wait 0.3")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "nasrun: run: has not ended within 0.3 s; it will stop as soon as it can\n"
    assert "it was asked to stop" in said(nasrun_inprocess, "status run")
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 130


def test_a_sweep_is_seen_and_stopped_as_a_whole(started: Started, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    words = [*QUICK, "strategy=random", "trials=30", "seed=range(3)", "evaluator.delay=0.1", "hydra.sweep.dir=swept"]
    process = started("-m", *words)
    eventually(lambda: len(list(tmp_path.glob("swept/*/summary.json"))) == 1)
    eventually(lambda: (holder_of(tmp_path / "swept" / ".sweep.lock").says or {}).get("begun") == 2)
    first = said(nasrun_inprocess, "status swept").splitlines()
    assert first[0] == "3 runs: 1 running, 1 done, 1 waiting"
    assert first[1].endswith(f", process {process.pid}")
    assert first[2].split() == ["state", "trials", "best", "since", "left", "run"]
    stopped = said(nasrun_inprocess, "stop swept").splitlines()
    assert "swept: stopped; continue with: nasrun resume swept" in stopped
    assert process.communicate()[1] == "nasrun: interrupted; continue the sweep with: nasrun resume swept\n"
    after = said(nasrun_inprocess, "status swept").splitlines()
    assert after[0] == "3 runs: 1 stopped, 1 done, 1 not begun"
    assert after[1] == "sweep swept: stopped; continue with: nasrun resume swept"
    assert nasrun_inprocess("resume swept").returncode == 0
    assert said(nasrun_inprocess, "status swept").splitlines()[0] == "3 runs: 3 done"


def test_finished_runs_are_counted_where_they_are_many(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    run_in(tmp_path / "runs" / "0", "trials=3")
    for number in range(1, 25):
        shutil.copytree(tmp_path / "runs" / "0", tmp_path / "runs" / str(number))
    path = tmp_path / "runs" / "7" / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    path = tmp_path / "runs" / "9" / journal.NAME
    path.write_bytes(b"".join([*lines[:3], b"nonsense\n", *lines[3:]]))
    answer = said(nasrun_inprocess, "status runs").splitlines()
    assert answer[0] == "25 runs: 1 stopped, 1 damaged, 23 done"
    assert [line.split()[-1] for line in answer[2:4]] == ["runs/7", "runs/9"]
    assert answer[4:] == ["23 finished runs are not listed; to list them: --all"]
    assert len(said(nasrun_inprocess, "status runs --all").splitlines()) == 27
    assert "line 4 is damaged" in said(nasrun_inprocess, "status runs/9")


def test_looking_takes_nothing_from_anyone(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    run_in(tmp_path / "run", "trials=3")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for path in before:
        path.chmod(0o444)
    said(nasrun_inprocess, "status run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"[1]", b'{"pid": "x"}', b'{"host": "elsewhere", "says": 3, "began": []}', b"\xff" * 99],
)
def test_a_lock_that_says_nonsense(content: bytes, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    run_in(tmp_path / "run", "trials=3")
    (tmp_path / "run" / ".lock").write_bytes(content)
    os.utime(tmp_path / "run" / ".lock", (0, 0))
    assert said(nasrun_inprocess, "status run").startswith("run: done since ")


def test_a_holder_on_another_machine_that_gives_signs_of_life(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    run_in(tmp_path / "run", "trials=3")
    lock = tmp_path / "run" / ".lock"
    lock.write_text(json.dumps({"host": "node7", "pid": 12, "job": "345", "ended": None, "says": {"phase": "final"}}))
    assert "on node7, process 12, SLURM job 345" in said(nasrun_inprocess, "status run")
    os.utime(lock, (0, 0))
    assert said(nasrun_inprocess, "status run").startswith("run: done since ")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            "status",
            "status: expected a run directory, or a folder with runs; usage: nasrun status DIR... [--all] [--json]",
        ),
        ("status nope", "nope: no such directory; usage: nasrun status DIR... [--all] [--json]"),
        ("status .", ".: holds no run, nor does a folder in it (no journal.jsonl)"),
        ("stop .", ".: holds no run, nor does a folder in it (no journal.jsonl)"),
        ("stop . --wait -1", "--wait=-1: expected seconds, 0 or more"),
        (
            "stop . --wait soon",
            "argument --wait: invalid float value: 'soon'; usage: nasrun stop DIR... [--wait SECONDS]",
        ),
        ("watch .", ".: holds no run, nor does a folder in it (no journal.jsonl)"),
        ("watch . --port 99999", "--port=99999: expected a port from 1 to 65535, or 0 for any free one"),
    ],
)
def test_mistakes(words: str, answer: str, nasrun_inprocess: Callable) -> None:
    assert nasrun_inprocess(words) == (2, "", f"nasrun: {answer}\n")
