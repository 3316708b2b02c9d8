"""Trials that never end, through the real command: with workers, and in the runner's own process."""

import csv
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrun.core import Job, Proposal, Trial
from nasrun.hardware.inline import InlineExecutor
from nasrun.storage.records import read_run
from tests.faults.troubled import Troubled
from tests.hardware.trouble import gone_within
from tests.support import setup_of

ROOT = Path(__file__).resolve().parents[2]
NASRUN = Path(sys.executable).with_name("nasrun")
WORDS = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator=synthetic",
    "dataset=synthetic",
    "strategy=random",
    "trials=4",
    "evaluator._target_=tests.faults.troubled.Troubled",
    "~evaluator.landscape",
    "~evaluator.noise",
    "~evaluator.fail_rate",
    "~evaluator.delay",
    "~evaluator.repeats",
    "+evaluator.time_limit=0.5",
    "hardware.grace=0.5",
    "output.console=none",
    "output.plots=false",
)


@pytest.fixture
def troubled(tmp_path: Path) -> Iterator[Callable[..., list[dict[str, str]]]]:
    """Runs the command with the evaluator of `tests.faults.troubled`; gives the rows of `trials.csv`."""
    mark = f"nasrun-test-{uuid.uuid4().hex}"

    def call(*words: str) -> list[dict[str, str]]:
        command = [NASRUN, *WORDS, *words, "hydra.run.dir=run"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NASRUN_TEST_MARK": mark}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=240
        )
        assert (done.returncode, done.stderr) == (0, "")
        with (tmp_path / "run" / "trials.csv").open() as file:
            return list(csv.DictReader(file))

    yield call
    assert gone_within(10, mark)


@pytest.mark.parametrize(
    ("workers", "reason"),
    [
        (2, "worker hung: killed 0.5 s beyond the time limit of 0.5 s"),
        (1, "HungError: trial hung: interrupted 0.5 s beyond the time limit of 0.5 s"),
    ],
    ids=["worker", "own process"],
)
def test_a_trial_that_never_ends_is_ended(
    troubled: Callable[..., list[dict[str, str]]], workers: int, reason: str, tmp_path: Path
) -> None:
    rows = troubled("+evaluator.hangs=[1]", f"hardware.workers={workers}", "hardware.in_flight=2")
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok"]
    assert rows[1]["error"] == reason
    end = read_run(tmp_path / "run").end
    assert end is not None
    assert end.complete


def jobs(*trials: int) -> list[Job]:
    space = setup_of().space
    return [Job(Trial(number, Proposal(space.parse(GENOME))), 0, number) for number in trials]


GENOME = "R8k3relu-R16k3relu-N16k3relu"


def evaluator(**options: Any) -> Troubled:
    setup = setup_of()
    return Troubled(setup.space, setup.dataset, setup.hardware, time_limit=0.1, **options)


def test_an_evaluator_that_lets_the_alarm_through_loses_one_trial() -> None:
    executor = InlineExecutor(evaluator(hangs=[1], catches=False), grace=0.1)
    executor.submit(jobs(0, 1, 2))
    found = [executor.wait()[0] for _ in range(3)]
    assert [measurement.status for measurement in found] == ["ok", "failed", "ok"]
    assert found[1].error == "trial hung: interrupted 0.1 s beyond the time limit of 0.1 s"


def test_the_alarm_rings_for_each_that_hangs_in_a_group_and_not_afterwards() -> None:
    troubled = evaluator(hangs=[0, 2])
    troubled.group = lambda queue: queue  # type: ignore[method-assign]
    executor = InlineExecutor(troubled, grace=0.1)
    executor.submit(jobs(0, 1, 2))
    assert [measurement.status for measurement in executor.wait()] == ["failed", "ok", "failed"]
    time.sleep(0.5)  # nothing rings here


def test_in_another_thread_there_is_no_alarm_and_no_error() -> None:
    executor = InlineExecutor(evaluator(), grace=0.1)
    executor.submit(jobs(0))
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(executor.wait()))
    thread.start()
    thread.join()
    assert [measurement.status for measurement in found] == ["ok"]
