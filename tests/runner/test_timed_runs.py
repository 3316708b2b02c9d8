"""Whole runs within a budget of time: what is planned, what is on record, and runs that are cut short.

Where runs are compared, the clock goes by the events of the journal and the speed of a network by its price, so that
the same decisions are right whenever they are made.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome
from nasrun.core.durations import parse_duration
from nasrun.core.options import ConfigError
from nasrun.runner import time_budget
from nasrun.runner.clock import Clock
from nasrun.runner.run import resume, start
from nasrun.runner.time_budget import TimeBudget
from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.faults.runs import Process, count, cut
from tests.runner.test_asha_runs import results
from tests.support import setup_of

SMALL = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "search_space.max_depth=3",
    "search_space.filters=[4,8]",
    "dataset=synthetic",
    "dataset.samples=300",
    "dataset.height=8",
    "dataset.width=8",
    "evaluator=train",
    "evaluator.batch_size=32",
    "strategy=aging_evolution",
    "strategy.population=4",
    "strategy.sample=2",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.clock=cpu",
    "hardware.precision=fp32",
    "output.console=none",
    "output.plots=false",
)
STOPS = [("ask", 4), ("segment", 1)]
STOPS += [pytest.param(*stop, marks=pytest.mark.slow) for stop in (("ask", 1), ("speed", 2), ("final", 0))]
ENGINES = {
    "one process": ("time=25s",),
    "workers": ("time=50s", "hardware.clock=wall", "hardware.workers=2"),
    "ray": ("time=75s", "hardware=ray", "hardware.device=cpu", "hardware.clock=wall", "hardware.workers=2"),
}
UNTIL_GONE = {"one process": 5, "workers": 5, "ray": 90}  # Ray's processes look now and then whether the run lives
LONG = "time=110s"
SECONDS_PER_EVENT = {"measure": 2.0, "segment": 5.0}


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything is imported, which takes longer than the budgets here."""
    words = ("trials=1", "evaluator.epochs=1", "evaluator.final_epochs=1")
    start(config(*words), tmp_path_factory.mktemp("first") / "run", unique=False)


Counts = dict[str, int]
"""Events of each kind that were written since the clock was set back."""


@contextmanager
def clock_of_events() -> Iterator[Counts]:
    """A scope in which the clock goes by the events of the journal, and the speed of a network by its price."""
    counts: Counts = {}

    def spent(clock: Clock) -> float:
        return clock.before + sum(seconds * counts.get(name, 0) for name, seconds in SECONDS_PER_EVENT.items())

    setup = setup_of(*SMALL)

    def timed(budget: TimeBudget, genome: Genome) -> float:
        return 0.25 + setup.space.cost(genome, setup.dataset.task).flops / 1e6

    usual = journal.Journal.append_all

    def append_all(log: journal.Journal, events: list[Line], *, fsync: bool = False) -> None:
        for event in events:
            counts[event["event"]] = counts.get(event["event"], 0) + 1
        usual(log, events, fsync=fsync)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Clock, "spent", property(spent))
        patch.setattr(TimeBudget, "pass_seconds", timed)
        patch.setattr(journal.Journal, "append_all", append_all)
        yield counts


@pytest.fixture
def by_events() -> Iterator[Counts]:
    with clock_of_events() as counts:
        yield counts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run by that clock."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    with clock_of_events():
        start(config(LONG), directory, unique=False)
    return directory


def config(*words: str) -> DictConfig:
    return task_config(compose_config([*SMALL, *words]))


def events_of(directory: Path, kind: str | None = None) -> list[Line]:
    found = journal.read(directory / journal.NAME)
    return [event for event in found if kind in (None, event["event"])]


def test_a_run_is_planned_and_what_is_planned_is_on_record(tmp_path: Path) -> None:
    summary = start(config("time=8s"), tmp_path / "run", unique=False)
    header, *rest = events_of(tmp_path / "run")
    assert header["plan"]["candidates"] >= 1
    kinds = [event["event"] for event in rest]
    assert kinds.index("speed") < kinds.index("ask")
    assert kinds.index("segment") > len(kinds) - 1 - kinds[::-1].index("tell")
    assert kinds[-2:] == ["final", "end"]
    final = rest[-2]
    segments = [event for event in rest if event["event"] == "segment"]
    assert [segment["number"] for segment in segments] == list(range(1, len(segments) + 1))
    assert final["history"][-1]["epoch"] == segments[-1]["epochs"]
    assert not (tmp_path / "run" / "final").exists()
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()
    assert summary["budget"]["budget_seconds"] == 8
    assert summary["final"]["test_accuracy"] == final["metrics"]["test_accuracy"]


@pytest.mark.parametrize("console", ["plain", "none"])
def test_what_is_timed_before_the_first_line_of_a_run_is_said(
    tmp_path: Path, by_events: Counts, capsys: pytest.CaptureFixture[str], console: str
) -> None:
    start(config("time=40s", f"output.console={console}"), tmp_path / "run", unique=False)
    if console == "none":
        assert capsys.readouterr().out == ""
        return
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "40s: networks are timed for the plan"
    begun = next(place for place, line in enumerate(lines) if line.startswith("run "))
    assert begun > 0
    for line in lines[:begun]:
        assert re.fullmatch(r"timed \S+: \S+ s for \d+ images", line)


def test_the_winner_has_all_cores_when_the_workers_are_done(tmp_path: Path, by_events: Counts) -> None:
    start(
        config("time=60s", "hardware.clock=wall", "hardware.workers=2", "hardware.threads=null"),
        tmp_path / "run",
        unique=False,
    )
    runtime = events_of(tmp_path / "run")[0]["facts"]["runtime"]
    cores = len(os.sched_getaffinity(0))
    assert runtime["threads"] == max(1, cores // 2)
    assert {segment.get("threads") for segment in events_of(tmp_path / "run", "segment")} == {
        cores if cores > 1 else None
    }


def test_the_winner_goes_on_from_what_it_learned_in_the_search(whole: Path) -> None:
    final = events_of(whole, "final")[0]
    asked = [p for event in events_of(whole, "ask") for p in event["proposals"]]
    winner = asked[final["trial"]]
    assert winner["origin"] == "promote"
    first = events_of(whole, "segment")[0]
    assert final["history"][0]["epoch"] == winner["budget"] + 1
    assert winner["budget"] < first["epochs"] <= first["horizon"]
    assert {len(final["choice"]["of"])} == {2}
    assert 0.5 <= final["choice"]["probability"] <= 1


@pytest.mark.parametrize(("event", "number"), STOPS)
def test_a_run_that_is_cut_short_comes_to_the_same(
    tmp_path: Path, whole: Path, by_events: Counts, event: str, number: int
) -> None:
    directory = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        _stop_before(patch, event, number)
        with pytest.raises(KeyboardInterrupt):
            start(config(LONG), directory, unique=False)
    by_events.clear()
    by_events.update(_counted_without_spent(events_of(directory)))
    resume(directory, {})
    assert len(events_of(directory, "tell")) == len(events_of(whole, "tell"))
    assert results(directory) == results(whole)
    plans = [{k: v for k, v in e.items() if k not in ("time", "crc")} for e in events_of(directory, "plan")]
    assert plans == [{k: v for k, v in e.items() if k not in ("time", "crc")} for e in events_of(whole, "plan")]


def _counted_without_spent(recorded: list[Line]) -> dict[str, int]:
    """What the clock counts from: what is on record is that which was spent before the last segment."""
    return {"segment": int(recorded[-1]["event"] == "segment")}


def _stop_before(patch: pytest.MonkeyPatch, kind: str, number: int) -> None:
    """End the run just before it writes the n-th event of a kind."""
    usual, seen = journal.Journal.append_all, [0]

    def append_all(log: journal.Journal, events: list[Line], *, fsync: bool = False) -> None:
        if events[0]["event"] == kind:
            seen[0] += 1
            if seen[0] > number:
                raise KeyboardInterrupt
        usual(log, events, fsync=fsync)

    patch.setattr(journal.Journal, "append_all", append_all)


def test_a_final_training_that_was_cut_short_follows_what_is_on_record(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    start(config("time=7s"), whole, unique=False)
    expected = (whole / "best" / "model.safetensors").read_bytes()
    recorded = events_of(whole, "segment")
    assert len(recorded) > 3
    shutil.copytree(whole, tmp_path / "cut")
    directory = tmp_path / "cut"
    cut(directory, "final")  # the archives are gone too: all segments are trained again
    shutil.rmtree(directory / "best")
    resume(directory, {})
    assert (directory / "best" / "model.safetensors").read_bytes() == expected
    assert events_of(directory, "segment") == recorded


def test_threads_are_chosen_anew_where_others_are_faster_and_on_record(
    tmp_path: Path, by_events: Counts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two cores, one of them busy until the final training is under way."""
    usual = TimeBudget.pass_seconds

    def timed(budget: TimeBudget, genome: Genome) -> float:
        threads = torch.get_num_threads()
        return usual(budget, genome) * (threads if budget.clock.spent < 42 else 1 / threads)

    monkeypatch.setattr(TimeBudget, "pass_seconds", timed)
    monkeypatch.setattr(time_budget, "LEAST_SEGMENT", 2.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(2)))
    words = ("time=60s", "hardware.threads=null", "output.console=plain", "dataset.samples=100")
    whole, directory = tmp_path / "whole", tmp_path / "cut"
    start(config(*words), whole, unique=False)
    said = capsys.readouterr().out
    assert said.count("trained with 1 thread, which takes 0.50 of the time of 2 at present") == 1
    assert said.count("trained with 2 threads, which takes 0.50 of the time of 1 at present") == 1
    plan, threads = events_of(whole)[0]["plan"], [one["threads"] for one in events_of(whole, "segment")]
    assert plan["threads"] == threads[0] == 1
    assert threads == sorted(threads)
    assert threads[-1] == 2
    shutil.copytree(whole, directory)
    cut(directory, "final")  # all segments are trained again, with the threads that are on record
    shutil.rmtree(directory / "best")
    by_events.clear()
    resume(directory, {})
    assert torch.get_num_threads() == 2
    assert events_of(directory, "segment") == events_of(whole, "segment")
    assert results(directory) == results(whole)


def test_what_a_budget_decides_cannot_be_changed_later(tmp_path: Path) -> None:
    start(config("time=6s"), tmp_path / "run", unique=False)
    with pytest.raises(ConfigError, match=r"trials=50: the run has time=6s, which decides that"):
        resume(tmp_path / "run", {"trials": 50})
    command = f"nasrun experiment=train_best from={tmp_path}/run init={tmp_path}/run evaluator.epochs=50"
    with pytest.raises(ConfigError, match=f"final_epochs=50: the run has time=6s, .* in a new run: {command}$"):
        resume(tmp_path / "run", {"evaluator.final_epochs": 50})
    with pytest.raises(ConfigError, match=r"time=20s: would change the search"):
        resume(tmp_path / "run", {"time": "20s"})


def test_a_budget_that_is_too_small_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^time=1s: too short: .* before training, .* use time=[^ ]+$") as refused:
        start(config("time=0.6s"), tmp_path / "run", unique=False)
    assert parse_duration(str(refused.value).rpartition("time=")[2].split()[0]) > 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("event", ["measure", "segment"])
def test_a_run_that_is_killed_goes_on_within_its_time(tmp_path: Path, engine: str, event: str) -> None:
    directory = tmp_path / "run"
    process = Process(tmp_path, *SMALL, *ENGINES[engine], f"hydra.run.dir={directory}")
    process.wait_for(directory, event, 2)
    process.process.send_signal(signal.SIGKILL)
    process.end(UNTIL_GONE[engine])
    before = events_of(directory)
    code, error = Process(tmp_path, "resume", str(directory)).end(UNTIL_GONE[engine])
    assert code == 0, error
    after = events_of(directory)
    assert after[: len(before)] == before
    spent = [e["spent"] for e in after if "spent" in e]
    assert spent == sorted(spent)
    assert count(directory, "final") == count(directory, "end") == 1
    numbers = [e["number"] for e in after if e["event"] == "segment"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert json.loads((directory / "summary.json").read_text())["final"]["test_accuracy"] > 0
