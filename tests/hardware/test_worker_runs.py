"""Real runs with worker processes: their results, and what is left when something is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nasrun.config.build import rebuild
from nasrun.core import Job, Proposal, Trial
from nasrun.hardware.processes.executor import ProcessExecutor
from nasrun.hardware.worker_messages import Recipe
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL
from tests.hardware import trouble
from tests.hardware.trouble import descriptors, gone_within, processes_with
from tests.runner.test_crash import script
from tests.support import setup_of

NASRUN = Path(sys.executable).with_name("nasrun")
QUIET = ("output.console=none", "output.plots=false")
TRAIN = [word for word in SMALL if not word.startswith(("search_space", "evaluator.epochs"))]
KINDS = {
    "dense": [*TRAIN, "search_space=mlp", "search_space.max_width=16", "evaluator.epochs=2", "evaluator.repeats=5"],
    "convolutions": [*SMALL, "evaluator.repeats=2"],
    "bf16": [*(word for word in SMALL if "precision" not in word), "evaluator.repeats=2", "hardware.precision=bf16"],
    # Long enough to be hit in its midst on a fast machine too.
    "long": [*(word for word in SMALL if "epochs" not in word), "evaluator.repeats=2", "evaluator.epochs=25"],
}


def command(kind: str, directory: Path, *more: str) -> list[str]:
    """A small search with four trials in flight."""
    words = [
        *KINDS[kind],
        "dataset=synthetic",
        "strategy=aging_evolution",
        "strategy.population=4",
        "strategy.sample=2",
    ]
    words += ["trials=10", "hardware.in_flight=4", "evaluator.final_epochs=1", *QUIET, *more]
    return [str(NASRUN), *words, f"hydra.run.dir={directory}"]


def results(directory: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = script("crash_campaign").results(directory)
    return found


class Run:
    """A run with workers as a process, its own and theirs known by a mark."""

    def __init__(self, words: list[str]) -> None:
        self.mark = f"nasrun-test-{uuid.uuid4().hex}"
        environment = {**os.environ, "NASRUN_TEST_MARK": self.mark}
        self.process = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def workers(self, count: int) -> list[int]:
        """The worker processes, once there are `count` of them and all are at work."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.communicate()[1]
            found = [pid for pid in processes_with(self.mark) if self._generation(pid) == 2]
            if len(found) == count and all(_seconds_used(pid) > 0.1 for pid in found):
                return found
            time.sleep(0.01)
        raise AssertionError("the workers never came to work")

    def _generation(self, pid: int) -> int:
        """0 for the runner, 1 for the fork server, 2 for workers."""
        parent = _parent(pid)
        return 0 if pid == self.process.pid else 1 if parent == self.process.pid else 2

    def end(self) -> tuple[int, str]:
        """Wait for the exit code and what was said on stderr."""
        error = self.process.communicate(timeout=120)[1]
        return self.process.returncode, error


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _seconds_used(pid: int) -> float:
    """Processor time of a process since its fork."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def begin() -> Iterator[Callable[..., Run]]:
    """Starts runs; at the end none of their processes and no shared memory may be left."""
    runs: list[Run] = []
    temporary = Path(tempfile.gettempdir())
    before = {*trouble.shared_files(), *temporary.glob("pymp-*")}

    def start(words: list[str]) -> Run:
        runs.append(Run(words))
        return runs[-1]

    yield start
    for run in runs:
        assert gone_within(3, run.mark), "processes are left"
        run.process.wait()
        assert run.process.stderr is not None
        run.process.stderr.close()
    left = {*trouble.shared_files(), *temporary.glob("pymp-*")} - before
    assert not left


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small searches without workers."""
    folder = tmp_path_factory.mktemp("alone")
    for kind in KINDS:
        subprocess.run(command(kind, folder / kind), check=True)
    return folder


@pytest.mark.parametrize(("kind", "workers"), [("dense", 2), ("dense", 4), ("convolutions", 2), ("bf16", 2)])
def test_workers_make_no_difference(
    kind: str, workers: int, alone: Path, tmp_path: Path, begin: Callable[..., Run]
) -> None:
    run = begin(command(kind, tmp_path / "run", f"hardware.workers={workers}"))
    assert run.end() == (0, "")
    assert results(tmp_path / "run") == results(alone / kind)


@pytest.mark.parametrize("evaluator", ["synthetic", "table"])
def test_workers_make_no_difference_to_other_evaluators(
    evaluator: str, tmp_path: Path, begin: Callable[..., Run]
) -> None:
    space = ["search_space=nasbench201"] if evaluator == "table" else ["dataset=synthetic"]
    words = [str(NASRUN), f"evaluator={evaluator}", *space, *QUIET, "trials=30", "hardware.in_flight=3"]
    words += ["evaluator.repeats=3", "strategy=random", "output.keep=none"]
    found = []
    for workers in (1, 2):
        directory = tmp_path / f"{workers}"
        assert begin([*words, f"hardware.workers={workers}", f"hydra.run.dir={directory}"]).end() == (0, "")
        found.append([(directory / name).read_bytes() for name in ("trials.csv", "measurements.csv", "genomes.txt")])
    assert found[0] == found[1]


def test_a_worker_that_is_killed_makes_no_difference(alone: Path, tmp_path: Path, begin: Callable[..., Run]) -> None:
    run = begin(command("long", tmp_path / "run", "hardware.workers=2"))
    os.kill(run.workers(2)[0], signal.SIGKILL)
    assert run.end() == (0, "")
    assert results(tmp_path / "run") == results(alone / "long")


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_runner_that_is_stopped_takes_its_workers_along(
    sent: str, alone: Path, tmp_path: Path, begin: Callable[..., Run]
) -> None:
    directory = tmp_path / "run"
    run = begin(command("long", directory, "hardware.workers=2"))
    workers = run.workers(2)
    if sent == "SIGINT":  # as from a terminal: to all processes of its foreground group
        os.killpg(run.process.pid, signal.SIGINT)
    else:
        run.process.send_signal(signal.Signals[sent])
    code, error = run.end()
    assert gone_within(2, run.mark)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    if sent == "SIGKILL":
        assert (code, error) == (-signal.SIGKILL, "")
    else:
        assert code == 130
        assert error.startswith("nasrun: interrupted; continue with: nasrun resume ")
        assert len(error.splitlines()) == 1
    assert journal.read(directory / journal.NAME)[-1]["event"] != "end", "stopped too late to show anything"
    assert begin([str(NASRUN), "resume", str(directory)]).end() == (0, "")
    assert results(directory) == results(alone / "long")


def test_memory_and_descriptors_stay_flat_over_5000_trials() -> None:
    setup = setup_of("evaluator.repeats=2", "evaluator.noise=0.1")
    executor = ProcessExecutor(setup.evaluator, Recipe(partial(rebuild, setup.config), {}), 2)
    rng = np.random.default_rng(0)
    sizes: list[list[int]] = []
    try:
        for number in range(5001):
            trial = Trial(number, Proposal(setup.space.sample(rng)))
            executor.submit([Job(trial, repeat, 7919 * number + repeat) for repeat in range(2)])
            measured = 0
            while measured < 2:
                measured += len(executor.wait())
            if number in (1000, 5000):
                processes = [int(one.name.removeprefix("process ")) for one in executor.at_work()]
                sizes.append([len(processes), descriptors(), *map(_pages, [os.getpid(), *processes])])
    finally:
        executor.close()
    assert sizes[0][:2] == sizes[1][:2]
    for before, after in zip(sizes[0][2:], sizes[1][2:], strict=True):
        assert after - before < 2**22 // os.sysconf("SC_PAGE_SIZE"), "over four megabytes more"


def _pages(process: int) -> int:
    """Pages of memory that a process has to itself or shares."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1])


def test_workers_end_in_the_midst_of_a_training(tmp_path: Path, begin: Callable[..., Run]) -> None:
    words = command("convolutions", tmp_path / "run", "hardware.workers=2", "evaluator.epochs=100000")
    run = begin(words)
    stopped, _ = run.workers(2)
    os.kill(stopped, signal.SIGSTOP)
    run.process.kill()
    assert gone_within(2, run.mark)
