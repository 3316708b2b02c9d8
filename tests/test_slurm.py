"""Sweeps as jobs of a real SLURM cluster on this machine: what batch systems do to jobs makes no difference.

`scripts/slurm_cluster.py` says which of Debian's packages it takes; without them the tests are skipped.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrun.storage.records import read_run
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

WORDS = ("strategy=aging_evolution", "strategy.population=10", "trials=60")
SLOWLY = "evaluator.delay=0.9"
"""A run takes a minute, so that it is still going on when a busy machine gets round to what ends it."""
LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=low", "hydra.launcher.cpus_per_task=2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with slurm.cluster() as made:
        yield made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, object]]:
    """The results of undisturbed runs, by their seeds."""
    folder = tmp_path_factory.mktemp("whole")
    return {seed: results(run_in(folder / str(seed), *WORDS, f"seed={seed}")) for seed in (1, 2, 3)}


def swept(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [COMMAND, "-m", *QUICK, *WORDS, *LAUNCHER, "hydra.sweep.dir=swept", "evaluator.delay=0.3", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run_of(folder: Path, seed: int) -> Path:
    return next(iter(folder.glob(f"swept/*seed{seed}")), folder / "none")


def under_way(folder: Path, *seeds: int) -> Callable[[], bool]:
    return lambda: all(count(run_of(folder, seed), "tell") >= 5 for seed in seeds)


def end_of(sweep: "subprocess.Popen[str]", folder: Path, seconds: float = 300) -> str:
    """What a sweep said at its end. What its jobs said is printed, for the report of a test that fails."""
    said = sweep.communicate(timeout=seconds)[1]
    for log in sorted(folder.glob("swept/.submitit/*/*.err")):
        print(f"{log.name}:\n{log.read_text(errors='replace')[-5000:]}")
    subprocess.run(["sacct", "-D", "-X", "-P", "-o", "JobID,State,ExitCode,NodeList,Submit,Start,End"], check=False)
    return said


def jobs(cluster: Any, folder: Path) -> dict[int, str]:
    """The job of each seed's run, as `squeue` names it: ARRAY_TASK."""
    names = cluster.run("squeue", "-h", "-r", "-o", "%i %Z").splitlines()
    here = sorted(line.split()[0] for line in names if line.endswith(str(folder)))
    return {int(name.partition("_")[2] or 0) + 1: name for name in here}


def put_back(cluster: Any, node: str) -> None:
    """Have a node take jobs again; a node that does by itself is no longer to be resumed."""
    with contextlib.suppress(subprocess.CalledProcessError):
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def states(cluster: Any, job: str) -> list[str]:
    """How each attempt of a job ended."""
    listed = cluster.run("sacct", "-D", "-X", "-n", "-P", "-o", "JobID,State", "-j", job.partition("_")[0]).splitlines()
    return [line.partition("|")[2] for line in listed if line.partition("|")[0] == job]


def test_a_job_that_is_preempted_goes_on_by_itself(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=1,2", SLOWLY)
    eventually(under_way(tmp_path, 1, 2))
    first = jobs(cluster, tmp_path)[1]
    # They get SIGTERM, and SIGKILL when the time of grace is over.
    cluster.run("sbatch", "-p", "high", "-N", "3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
    assert end_of(sweep, tmp_path) == ""
    assert sweep.returncode == 0
    eventually(lambda: states(cluster, first) == ["PREEMPTED", "COMPLETED"])  # the books are a little behind
    for seed in (1, 2):
        assert results(run_of(tmp_path, seed)) == whole[seed]
        assert count(run_of(tmp_path, seed), "resume") == 1
    assert len(list(tmp_path.glob("swept/*/journal.jsonl"))) == 2


def test_a_job_that_is_queued_again_and_a_node_that_is_lost(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=1,2", SLOWLY)
    eventually(under_way(tmp_path, 1, 2))
    names = jobs(cluster, tmp_path)
    node = cluster.run("squeue", "-h", "-j", names[2], "-o", "%N").strip()
    cluster.run("scontrol", "requeue", names[1])
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        assert end_of(sweep, tmp_path) == ""
    finally:
        put_back(cluster, node)
    assert sweep.returncode == 0
    eventually(lambda: states(cluster, names[1])[-1] == states(cluster, names[2])[-1] == "COMPLETED")
    assert states(cluster, names[2])[0] == "NODE_FAIL"
    for seed in (1, 2):
        assert results(run_of(tmp_path, seed)) == whole[seed]


def test_a_node_that_is_drained_finishes_what_it_has(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=3")
    eventually(under_way(tmp_path, 3))
    node = cluster.run("squeue", "-h", "-t", "R", "-o", "%N").strip()
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    try:
        assert end_of(sweep, tmp_path) == ""
        assert cluster.run("sinfo", "-h", "-n", node, "-o", "%T").split()[0] in ("drained", "draining")
    finally:
        put_back(cluster, node)
    assert results(run_of(tmp_path, 3)) == whole[3]
    assert count(run_of(tmp_path, 3), "resume") == 0


def test_a_task_that_is_cancelled_costs_no_other(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=1,2")
    eventually(under_way(tmp_path, 1, 2))
    names = jobs(cluster, tmp_path)
    cluster.run("scancel", names[1])
    said = end_of(sweep, tmp_path)
    assert sweep.returncode == 1
    how = f"continue the sweep with: nasrun resume swept {' '.join(LAUNCHER)}"
    assert said == f"nasrun: job {names[1]} ended without a result (SLURM: CANCELLED by {os.getuid()}); {how}\n"
    eventually(lambda: (run_of(tmp_path, 2) / "summary.json").is_file() and not jobs(cluster, tmp_path))
    assert states(cluster, names[1])[-1].startswith("CANCELLED")
    assert results(run_of(tmp_path, 2)) == whole[2]
    done = subprocess.run(
        [COMMAND, "resume", "swept", *LAUNCHER], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert results(run_of(tmp_path, 1)) == whole[1]


LIMITS = ("hydra.launcher.timeout_min=9", "hydra.launcher.signal_delay_s=30")


def test_a_job_whose_time_is_up_is_queued_again(cluster: Any, whole: dict, tmp_path: Path) -> None:
    """The signal is the one that SLURM sends a while before the end; to submitit, all of a limit below ten minutes is
    near its end."""
    limits = (*LIMITS, "hydra.launcher.max_num_timeout=9")
    sweep = swept(tmp_path, "seed=2", *limits)
    eventually(under_way(tmp_path, 2))
    # All of a sweep of one run is a job and no array.
    [job] = cluster.run("squeue", "-h", "-t", "R", "-o", "%i").split()
    cluster.run("scancel", "--signal=USR2", job)
    assert end_of(sweep, tmp_path, 400) == ""
    assert sweep.returncode == 0
    run = run_of(tmp_path, 2)
    assert count(run, "resume") == 1
    assert results(run) == whole[2]


def test_without_more_attempts_the_run_ends_in_order(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=2", *LIMITS)
    eventually(under_way(tmp_path, 2))
    [job] = cluster.run("squeue", "-h", "-t", "R", "-o", "%i").split()
    cluster.run("scancel", "--signal=USR2", job)
    said = end_of(sweep, tmp_path)
    assert sweep.returncode == 1
    reason = "a job ended without a result (Job not requeued because: timed-out too many times.)"
    how = f"continue the sweep with: nasrun resume swept {' '.join((*LAUNCHER, *LIMITS))}"
    assert said.splitlines()[-1] == f"nasrun: {reason}; {how}"
    assert "Traceback" not in said
    run = run_of(tmp_path, 2)
    assert (run / "trials.csv").is_file()
    assert all(record.status == "ok" for record in read_run(run).trials.values())


def test_a_sweep_is_stopped_from_elsewhere_with_its_jobs(cluster: Any, whole: dict, tmp_path: Path) -> None:
    sweep = swept(tmp_path, "seed=1,2")
    eventually(under_way(tmp_path, 1, 2))
    stopped = subprocess.run([COMMAND, "stop", "swept"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert stopped.returncode == 0, stopped
    assert stopped.stdout.count(": stopped; continue with: nasrun resume ") == 3
    assert sweep.wait(60) == 130
    eventually(lambda: not jobs(cluster, tmp_path))
    done = subprocess.run(
        [COMMAND, "resume", "swept", *LAUNCHER], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for seed in (1, 2):
        assert results(run_of(tmp_path, seed)) == whole[seed]
