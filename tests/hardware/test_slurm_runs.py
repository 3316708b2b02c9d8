"""One search whose workers are jobs of a real SLURM cluster on this machine, and the faults of such jobs."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrun.storage.lock import holder_of
from tests.conftest import COMMAND
from tests.faults.runs import QUICK, count, eventually, results
from tests.faults.runs import run as run_in
from tests.runner.test_crash import script

slurm = script("slurm_cluster")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.missing()), reason=f"needs a SLURM that can be started: no {slurm.missing()}"),
]

WORDS = ("strategy=aging_evolution", "strategy.population=10", "trials=60", "hardware.in_flight=4", "seed=5")
ON = ("hardware=slurm", "hardware.device=cpu", "hardware.workers=3", "hardware.least=2", "hardware.partition=low")
WORKERS = ("squeue", "-h", "-n", "nasrun-worker", "-o", "%i %t %M")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with slurm.cluster() as made:
        yield made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The results of the search in one process."""
    return results(run_in(tmp_path_factory.mktemp("whole") / "run", *WORDS, "hardware=cpu"))


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [COMMAND, *QUICK, *WORDS, *ON, "hydra.run.dir=run", "evaluator.delay=0.4", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def workers(cluster: Any, state: str = "R") -> list[str]:
    lines = [line.split() for line in cluster.run(*WORKERS).splitlines()]
    return [line[0] for line in lines if line[1] == state]


def none_left(cluster: Any) -> Callable[[], bool]:
    return lambda: not cluster.run(*WORKERS).strip()


def test_workers_that_are_cancelled_and_preempted_make_no_difference(cluster: Any, whole: dict, tmp_path: Path) -> None:
    run = start(tmp_path)
    eventually(lambda: count(tmp_path / "run", "tell") >= 8 and workers(cluster))
    first = workers(cluster)
    cluster.run("scancel", first[0])
    eventually(lambda: set(workers(cluster)) - set(first))
    cluster.run("sbatch", "-p", "high", "-N", "3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
    assert run.communicate(timeout=240)[1] == ""
    assert run.returncode == 0
    assert results(tmp_path / "run") == whole
    assert not (tmp_path / "run" / ".slurm").exists()
    eventually(none_left(cluster))


def test_a_worker_that_kills_itself_over_a_trial_is_to_blame(cluster: Any, tmp_path: Path) -> None:
    run = start(tmp_path, "trials=6", "hardware.workers=1", "hardware.least=1", "evaluator.delay=5")
    killed: set[str] = set()
    for _ in range(2):  # the first trial is tried twice
        eventually(lambda known=frozenset(killed): at_first_trial(tmp_path / "run") - known)
        killed |= at_first_trial(tmp_path / "run")
        for pid in pids():
            os.kill(pid, signal.SIGKILL)
    assert run.communicate(timeout=240)[1] == ""
    assert run.returncode == 0
    text = (tmp_path / "run" / "trials.csv").read_text()
    assert text.count("worker killed") == 1
    eventually(none_left(cluster))


def at_first_trial(run: Path) -> set[str]:
    """The workers that are at the first trial, as `nasrun status` knows them."""
    says = holder_of(run / ".lock").says or {}
    return {one["name"] for one in says.get("workers", []) if 0 in one["trials"]}


def pids() -> list[int]:
    found = subprocess.run(["pgrep", "-f", "submitit.core._submit"], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_a_runner_that_is_killed_takes_its_workers_along_and_is_resumed(
    cluster: Any, whole: dict, tmp_path: Path
) -> None:
    run = start(tmp_path)
    eventually(lambda: count(tmp_path / "run", "tell") >= 8)
    run.kill()
    run.communicate()
    eventually(none_left(cluster))
    done = subprocess.run(
        [COMMAND, "resume", "run"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert results(tmp_path / "run") == whole
    eventually(none_left(cluster))


def test_workers_come_with_the_work_and_go_without(cluster: Any, tmp_path: Path) -> None:
    """Two trials at a time for three workers: no third is begun, and the second goes while the winner is trained."""
    run = start(tmp_path, "hardware.in_flight=2", "hardware.least=1", "trials=20")
    seen = 0
    while run.poll() is None:
        seen = max(seen, len(cluster.run(*WORKERS).splitlines()))
        time.sleep(0.2)
    assert run.communicate()[1] == ""
    assert seen == 2
    eventually(none_left(cluster))


def test_a_job_script_that_starts_the_runner_itself(cluster: Any, whole: dict, tmp_path: Path) -> None:
    """The runner is a job too: when it is preempted it is put into the queue again, and goes on from its directory."""
    words = " ".join([*QUICK, *WORDS, *ON, "hydra.run.dir=run", "evaluator.delay=0.4", "resume=true"])
    (tmp_path / "job.sh").write_text(
        f"#!/bin/bash\n#SBATCH --partition=low --requeue --open-mode=append --output=log.txt\nexec {COMMAND} {words}\n"
    )
    job = cluster.run("sbatch", "--parsable", "--chdir", str(tmp_path), str(tmp_path / "job.sh")).strip()
    eventually(lambda: count(tmp_path / "run", "tell") >= 8)
    cluster.run("scontrol", "requeue", job)
    eventually(lambda: (tmp_path / "run" / "summary.json").is_file(), 240)
    eventually(lambda: not cluster.run("squeue", "-h", "-j", job, "-o", "%i").strip())
    assert results(tmp_path / "run") == whole
    assert count(tmp_path / "run", "resume") >= 1
    eventually(none_left(cluster))
