"""Run directories that cannot be written to, go away under the run, or are wanted by several at once."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrun.runner.run import resume
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL
from tests.faults.disks import can_mount, read_only
from tests.faults.runs import QUICK, Process, count, cut, results, run, shared_names, temporary_files

SLOW = (*QUICK, "trials=40", "evaluator.delay=0.05", "hydra.run.dir=run")
ENDLESS = (*SMALL, "dataset=synthetic", "evaluator.epochs=1000000", *QUICK[2:], "trials=4", "hydra.run.dir=run")

# Waits with everything imported until it is told to go on, so that several begin in the same moment.
AT_ONCE = """
import sys
from nasrun.cli.main import main
from nasrun.config import overrides
from nasrun.runner import run
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main())
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole") / "run", "trials=40", "evaluator.delay=0.05")


def one_line(answer: Any, code: int, text: str) -> None:
    assert answer.returncode == code, answer
    assert answer.stdout == ""
    assert re.fullmatch(r"nasrun: [^\n]+\n", answer.stderr), answer.stderr
    assert text in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        "hydra.run.dir=folder/run",
        "hydra.run.dir=folder/a/b/run",
        "-m seed=1,2 hydra.sweep.dir=folder/sweep",
        "resume folder/old trials=9",
        "report folder/old",
        "compare folder/old --out folder/compared",
    ],
)
def test_a_read_only_folder_is_refused(words: str, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    run(tmp_path / "folder" / "old", "trials=5")
    (tmp_path / "folder" / "old" / ".lock").unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    verb = words.split()[0] in ("resume", "report", "compare")
    with read_only(tmp_path / "folder"):
        answer = nasrun_inprocess(words if verb else " ".join([words, "trials=5", *QUICK]))
        assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    one_line(answer, 2, "cannot be written to")


def test_a_folder_that_becomes_read_only(whole: Path, tmp_path: Path) -> None:
    process = Process(tmp_path, *SLOW)
    process.wait_for(tmp_path / "run", "tell", 5)
    with read_only(tmp_path / "run"):
        code, error = process.end()
        assert code == 1
        reason = "Read-only file system" if can_mount() else "Permission denied"
        assert re.fullmatch(rf"nasrun: run[^\n]*: {reason}; continue with: nasrun resume run\n", error)
    resume(tmp_path / "run", {})
    assert results(tmp_path / "run") == results(whole)
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("gone", ["deleted", "moved", "replaced"])
def test_a_directory_that_goes_away(gone: str, whole: Path, tmp_path: Path) -> None:
    process = Process(tmp_path, *SLOW)
    process.wait_for(tmp_path / "run", "tell", 5)
    if gone == "deleted":
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    else:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
    if gone == "replaced":
        shutil.copytree(whole, tmp_path / "run")
    code, error = process.end()
    assert (code, error.count("\n")) == (1, 1)
    if gone == "replaced":
        assert error.startswith("nasrun: run was deleted, moved or replaced during the run; continue with: ")
        assert results(tmp_path / "run") == results(whole)
        return
    assert error.startswith("nasrun: run was deleted or moved during the run; nothing more was written; ")
    assert not (tmp_path / "run").exists()
    if gone == "moved":
        assert count(tmp_path / "elsewhere", "tell") < 40
        resume(tmp_path / "elsewhere", {})
        assert results(tmp_path / "elsewhere") == results(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_training_that_writes_into_nothing_is_ended(workers: int, tmp_path: Path) -> None:
    before = shared_names()
    process = Process(tmp_path, *ENDLESS, f"hardware.workers={workers}")
    process.wait_for(tmp_path / "run", "ask", 1)
    time.sleep(1)
    shutil.rmtree(tmp_path / "run")
    code, error = process.end()
    assert (code, error.count("\n")) == (1, 1)
    assert "run was deleted or moved during the run" in error
    assert list(tmp_path.iterdir()) == []
    assert not shared_names() - before


def test_of_several_that_resume_at_once_one_goes_on(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    cut(tmp_path / "run", "tell", 20)
    words = [sys.executable, "-c", AT_ONCE]
    processes = [Process(tmp_path, "resume", "run", program=words) for _ in range(3)]
    for one in processes:
        assert one.process.stdout is not None
        assert one.process.stdout.readline() == "ready\n"
    for one in processes:
        assert one.process.stdin is not None
        one.process.stdin.write("\n")
        one.process.stdin.flush()
    endings = sorted(one.end() for one in processes)
    refused = (2, "nasrun: run: in use by another nasrun process; stop it with: nasrun stop run\n")
    assert endings == [(0, ""), refused, refused]
    assert results(tmp_path / "run") == results(whole)
    told = [event["trial"] for event in journal.read(tmp_path / "run" / journal.NAME) if event["event"] == "tell"]
    assert told == list(range(40))


def test_nothing_stays_mounted() -> None:
    mounts = subprocess.run(["cat", "/proc/mounts"], capture_output=True, text=True).stdout
    assert "/pytest-" not in mounts
