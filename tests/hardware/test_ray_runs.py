"""A real Ray cluster of several nodes on this machine: equal results, and what happens when parts of it die."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nasrun.core import Measurement, Progress
from nasrun.hardware import remote
from nasrun.hardware.ray.cluster import RayCluster, library
from nasrun.hardware.ray.executor import RayExecutor
from nasrun.hardware.ray.versions import differing_node
from nasrun.hardware.remote_worker import describe_versions
from nasrun.hardware.worker_messages import Recipe, WorkerError
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL
from tests.hardware import trouble
from tests.hardware.test_worker_runs import NASRUN, results
from tests.hardware.trouble import Trouble, gone_within, jobs, processes_with
from tests.runner.test_crash import script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEARCH = (
    *(word for word in SMALL if not word.startswith(("hardware=", "evaluator.epochs"))),
    "dataset=synthetic",
    "evaluator.epochs=8",
    "evaluator.repeats=2",
    "evaluator.final_epochs=1",
    "strategy=aging_evolution",
    "strategy.population=3",
    "strategy.sample=2",
    "trials=8",
    "hardware.in_flight=4",
    "output.plots=false",
)


def command(directory: Path, *more: str) -> list[str]:
    return [str(NASRUN), *more, *SEARCH, f"hydra.run.dir={directory}"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search in one process."""
    directory = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(command(directory, "hardware=cpu", "output.console=none"), check=True)
    return directory


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of a head and one more node, which knows nothing of any other on this machine."""
    with script("ray_nodes").cluster(1) as made:
        yield made


Make = Callable[..., RayExecutor]


@pytest.fixture
def make(nodes: Any, tmp_path: Path) -> Iterator[Make]:
    """Executors over the evaluator of troubles, in a process that is connected to the cluster."""
    made: list[RayExecutor] = []

    def executor(
        workers: int = 2,
        resources: Any = None,
        say: Any = None,
        grace: float = 0.5,
        on_progress: Callable[[Progress], None] | None = None,
        **kind: Any,
    ) -> RayExecutor:
        recipe = Recipe(partial(trouble.make, tmp_path, **kind), {})
        own = Trouble(tmp_path, kind.get("time_limit"))
        own.on_progress = on_progress or own.on_progress
        given = {"num_cpus": 1} if resources is None else resources
        made.append(RayExecutor(own, recipe, workers, given, say=say or print, grace=grace))
        return made[-1]

    with RayCluster(address=nodes.address).opened():
        yield executor
        for one in made:
            one.close()


def all_of(executor: RayExecutor, count: int) -> dict[tuple[int, int], Measurement]:
    """The measurements of `count` jobs."""
    found: list[Measurement] = []
    while len(found) < count:
        found += executor.wait()
    assert len(found) == count
    return {(m.trial, m.repeat): m for m in found}


def test_jobs_that_die_hang_or_report(make: Make, tmp_path: Path) -> None:
    seen: list[Progress] = []
    executor = make(time_limit=1.0, on_progress=seen.append)
    executor.submit(jobs(0, "sleep", 4))
    # In shares of two, also where the second worker is not there in time for the second.
    first = all_of(executor, 4)
    assert {m.metrics["company"] for m in first.values()} == {2}
    assert os.getpid() not in {m.metrics["process"] for m in first.values()}

    executor.submit([*jobs(1, "die-once"), *jobs(2, "die"), *jobs(3, "hang"), *jobs(4, "report")])
    found = all_of(executor, 4)
    assert (found[1, 0].status, found[1, 0].metrics["tries"]) == ("ok", 2)
    assert found[2, 0].status == found[3, 0].status == "failed"
    assert (found[2, 0].error or "").startswith("worker killed: its process ended while it evaluated this, twice")
    assert found[3, 0].error == "worker hung: killed 0.5 s beyond the time limit of 1 s"
    assert seen == [Progress(4, 0, epoch, 3, {"epoch": epoch}) for epoch in (1, 2, 3)]
    [hung] = (tmp_path / "3-0").read_text().split()
    executor.submit(jobs(5, "raise"))
    with pytest.raises(WorkerError, match=r"^OutputError: a mistake$"):
        all_of(executor, 1)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{hung}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{hung}").exists()


def test_a_node_with_other_versions_is_named(make: Make) -> None:
    ours = describe_versions()
    assert differing_node(library(), ours) is None
    said = differing_node(library(), {**ours, "torch": "0.1"})
    assert said == (
        f"a node of the Ray cluster ({os.uname().nodename}) has torch {ours['torch']}, the runner 0.1; "
        "install the same there"
    )


def test_jobs_wait_for_a_node_with_room(make: Make, monkeypatch: pytest.MonkeyPatch, nodes: Any) -> None:
    monkeypatch.setattr(remote, "NOTICE_SECONDS", 0.2)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        nodes.add()

    executor = make(3, say=say)
    executor.submit(jobs(0, "fine", 3))
    # Three workers of one processor each: one share waits until the third node is there.
    assert {m.status for m in all_of(executor, 3).values()} == {"ok"}
    assert len(said) == 1
    assert "workers wait for room on the Ray cluster (cpus 1 each); the search continues" in said[0]


def test_workers_that_cannot_be_set_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FAILING_SECONDS", 0.0)
    executor = make(1, refuses=True)
    executor.submit(jobs(0, "fine"))
    with pytest.raises(WorkerError, match="OSError: no such drive"):
        executor.wait()
    dying = make(1, dies_at_start=True)
    dying.submit(jobs(0, "fine"))
    with pytest.raises(WorkerError, match="5 workers in a row died at their start, the last: "):
        dying.wait()


def test_a_node_that_is_lost_makes_no_difference(alone: Path, nodes: Any, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = command(directory, "hardware=ray", f"hardware.address={nodes.address}", "output.console=plain")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_measurements(directory, process)
        nodes.kill_one()
        output, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert "ray" not in output.partition("Ray cluster")[2].lower().replace("ray cluster", ""), "Ray's own lines"
    assert results(directory) == results(alone)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for temporary files with a path that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="nt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_runner_that_is_killed_takes_its_own_cluster_along(alone: Path, tmp_path: Path, short_folder: Path) -> None:
    directory, mark = tmp_path / "run", f"nasrun-test-{os.getpid()}-ray"
    before = trouble.shared_files()
    environment = {**os.environ, "NASRUN_TEST_MARK": mark, "TMPDIR": str(short_folder)}
    words = command(directory, "hardware=ray", "output.console=none")
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for_measurements(directory, process)
        assert len(processes_with(mark)) > 4
        process.kill()
    assert gone_within(90, mark)
    assert journal.read(directory / journal.NAME)[-1]["event"] != "end", "stopped too late to show anything"
    done = subprocess.run(
        [sys.executable, "-m", "nasrun.cli.main", "resume", str(directory)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert gone_within(30, mark)
    assert not list(short_folder.glob("nasrun-*"))
    assert trouble.shared_files() <= before
    assert results(directory) == results(alone)


def wait_for_measurements(directory: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until a run has measured something and is at the next trials."""
    path = directory / journal.NAME
    while not path.is_file() or path.read_text().count('"measure"') < 4:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
