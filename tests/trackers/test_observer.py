"""The observer between a run and its tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.storage.events import RunStarted
from nasrun.storage.records import TrialRecord
from nasrun.trackers import TrackedRun, TrackedTrial, Tracker, observer
from nasrun.trackers.observer import Tracking, tracked_run
from tests.support import setup_of

HEADER = RunStarted(seed=3, time=1000.5, choices={"strategy": "genetic"})


class Notebook(Tracker):
    """Records its calls, and fails on request."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[str] = []
        self.trials: list[TrackedTrial] = []
        self.run: TrackedRun | None = None

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.failing:
            raise OSError("no such\nluck")

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        self.note("begin")
        self.run = run
        self.trials += trials

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        self.note("log")
        self.trials += trials

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.note("finish")

    def close(self) -> None:
        self.note("close")


def records(*values: float | None) -> dict[int, TrialRecord]:
    """A trial per value, None for one that failed."""
    space = setup_of("search_space=sequential_cnn").space
    genome = space.parse("N32k3relu-R64k3gelu-N64k3relu-R8k1tanh")
    found = {}
    for number, value in enumerate(values):
        outcome = ("failed", {}) if value is None else ("ok", {"val_accuracy": value})
        trial = Trial(number, Proposal(genome, {"lr": 0.1, "betas": (1, 2)}))
        found[number] = TrialRecord(trial, [Measurement(number, 0, *outcome)])  # type: ignore[arg-type]
    return found


def tracking(tracker: Tracker, said: list[str]) -> Tracking:
    space = setup_of("search_space=sequential_cnn").space
    config = {"trials": 5, "output.plots": True, "evaluator.lr": 0.1, "seed": 3}
    return Tracking("notebook", tracker, HEADER, config, space, Objective(), said.append, ("trials", "output"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_SECONDS", "WAIT_SECONDS", "SHARE"):
        monkeypatch.setattr(observer, name, 0)


@pytest.mark.parametrize("failing", ["begin", "log", "finish", "close"])
@pytest.mark.usefixtures("at_once")
def test_an_exception_is_said_once_and_nothing_more_is_handed_on(failing: str, tmp_path: Path) -> None:
    tracker, said = Notebook(failing), list[str]()
    watching = tracking(tracker, said)
    watching.on_start(5, {}, tmp_path)
    for record in records(0.1, 0.2, 0.3).values():
        watching.on_trial_complete(record, record)
    watching.on_finish({})
    watching.close()
    assert said == ["tracker notebook failed and is disabled; the run continues (OSError: no such luck)"]
    assert tracker.calls.count(failing) == (2 if failing == "close" else 1)
    assert tracker.calls[-1] == "close"


def test_what_is_fast_is_handed_on_at_the_end(tmp_path: Path) -> None:
    tracker = Notebook()
    watching = tracking(tracker, [])
    watching.on_start(5, {}, tmp_path)
    for record in records(0.5, None, 0.4, 0.7).values():
        watching.on_trial_complete(record, record)
    assert tracker.calls == []
    watching.on_finish({})
    watching.close()
    assert tracker.calls == ["begin", "log", "finish", "close"]
    assert [(t.number, t.best, t.improved) for t in tracker.trials] == [
        (0, 0.5, True),
        (1, 0.5, False),
        (2, 0.5, False),
        (3, 0.7, True),
    ]
    assert tracker.trials[1].values == {"trial/ok": 0.0, "trial/seconds": 0.0, "best/val_accuracy": 0.5}
    assert tracker.trials[0].settings["betas"] == "(1, 2)"
    assert tracker.trials[0].settings["origin"] == "sample"


def test_a_run_that_is_stopped_before_anything_was_handed_on_begins_nothing(tmp_path: Path) -> None:
    tracker = Notebook()
    watching = tracking(tracker, [])
    watching.on_start(5, {}, tmp_path)
    for record in records(0.5).values():
        watching.on_trial_complete(record, record)
    watching.close()
    assert tracker.calls == []


def test_the_run_is_described_without_what_a_resume_may_change(tmp_path: Path) -> None:
    tracker = Notebook()
    watching = tracking(tracker, [])
    watching.on_start(5, {}, tmp_path)
    watching.on_finish({})
    assert tracker.run is not None
    assert set(tracker.run.config) == {"evaluator.lr", "seed"}
    run = tracked_run(tmp_path / "here", HEADER, {}, Objective())
    assert (run.name, run.sweep, run.folder, run.started) == ("here", None, tmp_path, 1000.5)
    assert run.tags == {"strategy": "genetic", "seed": "3"}
    assert run.id == tracked_run(Path("moved"), HEADER, {}, Objective()).id
    assert run.id != tracked_run(Path("moved"), replace(HEADER, seed=4), {}, Objective()).id


def test_the_folder_of_a_sweep_is_found_above_the_run(tmp_path: Path) -> None:
    header = replace(HEADER, sweep={"folder": "day/sweep", "job": 7})
    run = tracked_run(tmp_path / "day" / "sweep" / "deep" / "7_genetic", header, {}, Objective())
    assert (run.sweep, run.job, run.folder) == ("day/sweep", 7, tmp_path / "day" / "sweep")
    assert run.tags == {"strategy": "genetic", "seed": "3", "sweep": "day/sweep", "job": "7"}
