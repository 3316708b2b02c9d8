"""Worker processes: what they evaluate together, and what happens when one dies, hangs or fails."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core import Job, Measurement, Progress
from nasrun.hardware.pool import shares
from nasrun.hardware.processes.executor import ProcessExecutor
from nasrun.hardware.worker_messages import Recipe, WorkerError
from tests.hardware import trouble
from tests.hardware.trouble import Trouble, jobs

Make = Callable[..., ProcessExecutor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Executors with two workers over the evaluator of troubles."""
    made: list[ProcessExecutor] = []

    def executor(
        workers: int = 2, grace: float = 0.3, on_progress: Callable[[Progress], None] | None = None, **settings: Any
    ) -> ProcessExecutor:
        recipe = Recipe(partial(trouble.make, tmp_path, **settings), {})
        own = Trouble(tmp_path, settings.get("time_limit"))
        own.on_progress = on_progress or own.on_progress
        made.append(ProcessExecutor(own, recipe, workers, grace=grace))
        return made[-1]

    yield executor
    for one in made:
        one.close()


def all_of(executor: ProcessExecutor, count: int) -> dict[tuple[int, int], Measurement]:
    """The measurements of `count` jobs."""
    found: list[Measurement] = []
    while len(found) < count:
        found += executor.wait()
    assert len(found) == count
    return {(m.trial, m.repeat): m for m in found}


def gone(process: float) -> bool:
    """Whether a process ends within two seconds, and is buried."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@given(st.integers(1, 200), st.integers(1, 40))
def test_shares_are_even(count: int, workers: int) -> None:
    [*group] = jobs(0, "fine", count)
    cut = shares(group, workers)
    assert [job for share in cut for job in share] == group
    assert len(cut) == min(count, workers)
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def test_workers_stay_and_share_groups(make: Make) -> None:
    executor = make()
    assert executor.free == 2
    executor.submit(jobs(0, "sleep", 10))
    assert executor.free == 0
    found = all_of(executor, 10)
    first = {found[0, repeat].metrics["process"] for repeat in range(5)}
    second = {found[0, repeat].metrics["process"] for repeat in range(5, 10)}
    assert len(first) == len(second) == 1
    assert first != second
    assert {m.metrics["company"] for m in found.values()} == {5}
    executor.submit([*jobs(1, "fine", 2), *jobs(2, "fine", 1)])
    later = all_of(executor, 3)
    assert {m.metrics["process"] for m in later.values()} <= first | second
    assert os.getpid() not in first | second
    assert executor.free == 2
    executor.close()
    assert all(gone(process) for process in first | second)


def test_a_group_is_handed_out_as_a_whole(make: Make) -> None:
    executor = make()
    executor.submit([*jobs(0, "sleep", 3), *jobs(1, "fine", 1)])
    taken: list[list[tuple[int, int]]] = []
    while sum(map(len, taken)) < 4:
        taken.append([(m.trial, m.repeat) for m in executor.wait()])
    for done in taken:
        assert {(0, 0), (0, 1), (0, 2)} <= set(done) or not any(trial == 0 for trial, _ in done)
    with pytest.raises(RuntimeError, match="no job in the queue"):
        executor.wait()


def test_progress_reaches_the_runner(make: Make) -> None:
    seen: list[Progress] = []
    executor = make(on_progress=seen.append)
    executor.submit(jobs(4, "report"))
    all_of(executor, 1)
    assert seen == [Progress(4, 0, epoch, 3, {"epoch": epoch}) for epoch in (1, 2, 3)]


def test_a_job_whose_worker_dies_runs_again_elsewhere(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(jobs(0, "die-once", 4))
    found = all_of(executor, 4)
    assert {m.status for m in found.values()} == {"ok"}
    assert {m.metrics["company"] for m in found.values()} == {2}, "in the same company as the first time"
    first, second = (tmp_path / "0-0").read_text().split()
    assert first != second
    assert [len((tmp_path / f"0-{repeat}").read_text().split()) for repeat in (1, 2, 3)] == [1, 1, 1]


def test_a_job_that_kills_two_workers_fails(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit([*jobs(0, "die"), *jobs(1, "fine")])
    found = all_of(executor, 2)
    assert found[0, 0].status == "failed"
    assert (found[0, 0].error or "").startswith("worker killed")
    assert found[1, 0].status == "ok"
    assert len((tmp_path / "0-0").read_text().split()) == 2


class Mixed(Trouble):
    """Repeat 1 of every trial kills its worker."""

    def _act(self, job: Job, tries: int) -> None:
        if job.repeat == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def mixed(folder: Path) -> Any:
    return Mixed(folder), trouble.make(folder)[1]


def test_only_the_one_to_blame_in_a_group_fails(tmp_path: Path) -> None:
    executor = ProcessExecutor(Mixed(tmp_path), Recipe(partial(mixed, tmp_path), {}), 1)
    try:
        executor.submit(jobs(0, "fine", 4))
        found = all_of(executor, 4)
    finally:
        executor.close()
    assert [found[0, repeat].status for repeat in range(4)] == ["ok", "failed", "ok", "ok"]


def test_a_worker_that_hangs_is_killed(make: Make, tmp_path: Path) -> None:
    executor = make(time_limit=0.2)
    executor.submit([*jobs(0, "hang"), *jobs(1, "fine"), *jobs(2, "fine")])
    found = all_of(executor, 3)
    assert found[0, 0].status == "failed"
    assert found[0, 0].error == "worker hung: killed 0.3 s beyond the time limit of 0.2 s"
    assert found[0, 0].seconds >= 0.5
    assert found[1, 0].status == found[2, 0].status == "ok"
    [process] = (tmp_path / "0-0").read_text().split()
    assert gone(int(process))


def test_a_worker_that_is_stopped_is_killed(make: Make) -> None:
    executor = make(workers=1, time_limit=0.2)
    executor.submit(jobs(0, "fine"))
    process = int(all_of(executor, 1)[0, 0].metrics["process"])
    executor.submit(jobs(1, "sleep", 2))
    os.kill(process, signal.SIGSTOP)
    found = all_of(executor, 2)
    # Neither is to blame for what both saw: each ran once more by itself.
    assert {m.status for m in found.values()} == {"ok"}
    assert {m.metrics["company"] for m in found.values()} == {1}
    assert gone(process)


def test_a_runner_that_was_away_takes_in_what_was_said(make: Make, tmp_path: Path) -> None:
    executor = make(workers=1, grace=0.3, time_limit=0.1)
    executor.submit(jobs(0, "report"))
    deadline = time.monotonic() + 20
    while not (tmp_path / "0-0").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1)
    assert all_of(executor, 1)[0, 0].metrics["tries"] == 1


def test_long_trials_are_left_alone_without_a_limit(make: Make) -> None:
    executor = make(grace=0.0)
    executor.submit(jobs(0, "sleep"))
    assert all_of(executor, 1)[0, 0].status == "ok"


def test_an_idle_worker_that_dies_is_replaced(make: Make) -> None:
    executor = make(workers=1)
    executor.submit(jobs(0, "fine"))
    first = all_of(executor, 1)[0, 0].metrics["process"]
    os.kill(int(first), signal.SIGKILL)
    executor.submit(jobs(1, "fine"))
    found = all_of(executor, 1)[1, 0]
    assert found.status == "ok"
    assert found.metrics["process"] != first


def test_a_fork_server_that_dies_is_replaced(make: Make) -> None:
    executor = make(workers=1)
    executor.submit(jobs(0, "fine"))
    worker = all_of(executor, 1)[0, 0].metrics["process"]
    server = trouble.parent_of(int(worker))
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    executor.submit(jobs(1, "die-once"))
    assert all_of(executor, 1)[1, 0].metrics["tries"] == 2


def test_an_error_in_a_worker_ends_the_run(make: Make) -> None:
    executor = make()
    executor.submit(jobs(0, "raise"))
    with pytest.raises(WorkerError, match=r"^OutputError: a mistake$"):
        all_of(executor, 1)


def test_workers_that_cannot_be_set_up(make: Make) -> None:
    executor = make(refuses=True)
    executor.submit(jobs(0, "fine"))
    with pytest.raises(WorkerError, match="OSError: no such drive"):
        executor.wait()
    dying = make(dies_at_start=True)
    dying.submit(jobs(0, "fine"))
    assert (dying.wait()[0].error or "").startswith("worker killed")


def broken(folder: Path) -> Any:
    raise ValueError("cannot be made")


def test_a_fork_server_that_cannot_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    executor = ProcessExecutor(Trouble(tmp_path), Recipe(partial(broken, tmp_path), {}), 1)
    try:
        with pytest.raises(WorkerError, match="could not be started"):
            executor.submit(jobs(0, "fine"))
    finally:
        executor.close()
    assert "ValueError: cannot be made" in capfd.readouterr().err


def test_descriptors_and_processes_stay_as_few(make: Make) -> None:
    executor = make()
    executor.submit(jobs(0, "fine", 2))
    all_of(executor, 2)
    gc.collect()
    before = trouble.descriptors()
    for number in range(1, 60):
        word = "die-once" if number % 6 == 0 else "fine"
        executor.submit(jobs(number, word, 2))
        last = all_of(executor, 2)
    assert trouble.descriptors() <= before
    server = trouble.parent_of(int(last[number, 0].metrics["process"]))
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    assert len(children) <= 2, "dead workers are not left as zombies"
    executor.close()
    assert trouble.descriptors() < before
    executor.close()


def test_workers_end_at_once_when_they_are_closed_in_the_midst(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(jobs(0, "hang", 2))
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("0-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    executor.close()
    begun = list(tmp_path.glob("0-*"))
    assert len(begun) == 2
    assert all(gone(int(path.read_text())) for path in begun)
