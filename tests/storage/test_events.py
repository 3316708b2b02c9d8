"""The events of journals: what is written is what is read, what makes no sense is refused, and what they come to."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core import Measurement, Proposal
from nasrun.storage import journal
from nasrun.storage.event_base import Event
from nasrun.storage.events import (
    Asked,
    Ended,
    FinalTested,
    Measured,
    PlanChanged,
    Resumed,
    RunStarted,
    SegmentBegun,
    SharedTrained,
    SpeedMeasured,
    Told,
    Unknown,
    event_of,
    events_of,
)
from nasrun.storage.journal import JournalError
from nasrun.storage.records import assemble
from nasrun.storage.trial_json import measurement_from_json, measurement_to_json, proposal_from_json, proposal_to_json

STORED = Path(__file__).parent / "stored_runs"

tokens = st.one_of(st.integers(-5, 600), st.text(max_size=8))
metrics = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3)


@given(
    st.builds(
        Proposal,
        st.lists(tokens, max_size=9).map(tuple),
        metrics,
        st.none() | st.integers(1, 9),
        st.none() | st.integers(0, 99),
        st.sampled_from(["none", "continue", "inherit"]),
        st.text(max_size=9),
        st.none() | st.integers(0, 99),
    )
)
def test_proposals_survive_json(proposal: Proposal) -> None:
    text = json.dumps(proposal_to_json(proposal))
    assert proposal_from_json(json.loads(text)) == proposal


@given(
    st.builds(
        Measurement,
        st.integers(0, 99),
        st.integers(0, 9),
        st.sampled_from(["ok", "failed", "infeasible"]),
        metrics,
        st.none() | st.text(max_size=20),
        st.floats(0, 1e6),
        st.lists(metrics, max_size=3),
    )
)
def test_measurements_survive_json(measurement: Measurement) -> None:
    event = json.loads(json.dumps(measurement_to_json(measurement)))
    restored = measurement_from_json({"event": "measure", "time": 1.0, **event})
    assert restored._replace(history=list(restored.history)) == measurement


PLAN = {"candidates": 4, "rungs": [1.0, 2.0], "survivors": [4, 2], "repeats": 0, "horizon": 9.0, "epoch_images": None}
MEASUREMENT = Measurement(0, 1, "ok", {"val_accuracy": 0.5}, None, 2.0, [{"epoch": 1}])
EVENTS: list[tuple[Event, str]] = [
    (
        RunStarted(nasrun="1", seed=3, trials=9, environment={"e": 1}, facts={"f": 2}, plan=PLAN, spent=4.5, time=1.0),
        "format nasrun seed trials environment facts plan spent choices",
    ),
    (
        RunStarted(choices={"c": "d"}, sweep={"folder": "f", "job": 1}, data={}, paths={"given": {}}, time=1.0),
        "format nasrun seed trials environment facts choices sweep data paths",
    ),
    (
        Asked(n=2, first=0, proposals=[Proposal((1, "a"), {"lr": 0.1}, 3), Proposal((2,))], time=2.0),
        "n first proposals",
    ),
    (Measured(measurement=MEASUREMENT, time=2.0), "trial repeat status metrics seconds history"),
    (Told(trial=0, time=3.0), "trial"),
    (Told(trial=0, spent=7.5, time=3.0), "trial spent"),
    (SharedTrained(version=1, metrics={"loss": 2.0}, seconds=0.5, time=3.0), "version metrics seconds"),
    (SpeedMeasured(genome=(1, "a"), epoch_seconds=0.5, time=3.0), "genome epoch_seconds"),
    (PlanChanged(plan=PLAN, spent=1.0, reason="slow", time=3.0), f"{' '.join(PLAN)} spent reason"),
    (SegmentBegun(number=1, epochs=2, horizon=3, spent=1.0, time=3.0), "number epochs horizon spent"),
    (
        SegmentBegun(number=2, epochs=2, horizon=3, last={"seconds": 1.0}, spent=1.0, time=3.0),
        "number epochs horizon last spent",
    ),
    (
        FinalTested(trial=0, told=1, chosen=True, result={"metrics": {"test_accuracy": 0.5}, "seconds": 2.0}, time=3.0),
        "trial told chosen metrics seconds",
    ),
    (FinalTested(trial=0, told=1, result={}, time=3.0), "trial told"),
    (Resumed(changes={"trials": 9}, time=3.0), "changes"),
    (Resumed(changes={}, damaged={"line": 3, "file": "f"}, time=3.0), "changes damaged"),
    (Ended(reason="done", complete=True, time=3.0), "reason complete"),
]


@pytest.mark.parametrize(("event", "keys"), EVENTS, ids=[f"{event.KIND} {keys}" for event, keys in EVENTS])
def test_an_event_is_read_as_it_was_written(event: Event, keys: str) -> None:
    line = json.loads(json.dumps(event.to_json()))
    assert list(line) == ["event", *keys.split(), "time"]
    again = event_of(line)
    assert again == event
    assert journal.line_of(again.to_json()) == journal.line_of(event.to_json())


@pytest.mark.parametrize("name", ["format_1_synthetic", "format_1_trained"])
def test_what_earlier_versions_wrote_is_read_without_loss(name: str) -> None:
    lines = journal.read(STORED / name / journal.NAME)
    for line in lines:
        assert journal.line_of(event_of(line).to_json()) == journal.line_of(line)


def test_events_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    lines = [RunStarted(time=1.0).to_json(), {"event": "dreamt", "of": "sheep", "time": 5.0, "spent": 3.0}]
    run = assemble(tmp_path, lines, keep_events=True)
    assert isinstance(run.events[1], Unknown)
    assert run.events[1].to_json() == lines[1]
    assert (run.wall_seconds, run.spent, run.trials) == (4.0, 3.0, {})


@pytest.mark.parametrize(
    "line",
    [
        {"event": "tell"},
        {"event": "ask", "n": "many", "proposals": []},
        {"event": "ask", "n": 1, "proposals": [{"genome": [1], "colour": "red"}]},
        {"event": "measure", "trial": 0, "repeat": 0, "status": "ok", "metrics": 3},
        {"event": "run", "facts": [1]},
        {"event": "run", "time": "noon"},
        {"event": "resume", "changes": [1]},
        {"event": "segment", "number": 1},
        {"event": "speed", "genome": 3, "epoch_seconds": 1.0},
    ],
)
def test_an_event_that_makes_no_sense_is_refused_in_one_line(line: dict) -> None:
    with pytest.raises(JournalError, match=r"^somewhere: does not describe a run \(") as caught:
        events_of([line], Path("somewhere"))
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_run_came_to(tmp_path: Path) -> None:
    proposals, times = (
        [Proposal((1,)), Proposal((1,), reuse_of=0)],
        iter([100.0, 101, 101, 103, 104, 105, 500, 501, 502]),
    )
    events = [
        RunStarted(seed=3, time=next(times)),
        Asked(n=2, first=0, proposals=proposals, time=next(times)),
        Measured(measurement=Measurement(0, 0, "ok", {"val_accuracy": 0.5}, seconds=1.0), time=next(times)),
        Told(trial=0, time=next(times)),
        Told(trial=1, spent=2.5, time=next(times)),
        Ended(reason="gave up", complete=False, time=next(times)),
        Resumed(changes={"trials": 9}, damaged={"line": 4, "file": "old"}, time=next(times)),
        FinalTested(trial=0, told=2, result={"metrics": {"test_accuracy": 0.25}}, time=next(times)),
    ]
    run = assemble(tmp_path, [event.to_json() for event in events])
    assert run.end is None, "the run goes on"
    assert (run.told_at, run.wall_seconds, run.spent) == ([3.0, 4.0], 6.0, 2.5)
    assert (list(run.trials), list(run.asked), run.changes) == ([0, 1], [0, 1], [("trials", 9)])
    assert run.trials[1].measurements == [Measurement(1, 0, "ok", {"val_accuracy": 0.5}, seconds=0.0)]
    assert [tuple(salvage) for salvage in run.salvages] == [(4, 2, "old")]
    assert run.final_metrics == {"test_accuracy": 0.25}
    assert assemble(tmp_path, [event.to_json() for event in (*events, Ended(reason="done", complete=True))]).end
