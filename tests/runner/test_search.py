"""The loop: its order, its ends, its failures, and a resume at every event that equals the uninterrupted search."""

from pathlib import Path

import pytest

from nasrun.runner.search import ReplayError
from nasrun.storage import journal
from tests.support import FITTING, run_in, search_in, searching, without_time

SMALL_SPACE = ("search_space.max_depth=4", "search_space.filters=[8,16]", "search_space.activations=[relu]")

# In place of SMALL_SPACE, for strategies that have a space of their own.
SMALL_SPACES = {
    "miha": (),
    "pbt": (),
    "asnn": ("search_space.widths=[8,16,32,64,128,256]", "strategy.grid=[16,64]", "strategy.rows=50"),
    "grid": (),
    "nao": ("strategy.steps=12",),
}


CUTS = [
    *((deduplicate, in_flight, 13) for deduplicate in ("reuse", "resample", "never") for in_flight in (1, 3)),
    pytest.param("reuse", 3, 3, marks=pytest.mark.slow),
    pytest.param("resample", 1, 3, marks=pytest.mark.slow),
]
"""How duplicates are treated, trials in flight, and after how many lines each the journal is cut. A trial writes four
lines, so that all kinds of them come last."""


@pytest.mark.parametrize(("deduplicate", "in_flight", "every"), CUTS)
@pytest.mark.parametrize("strategy", searching())
def test_a_search_cut_after_any_event_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, strategy: str, deduplicate: str, in_flight: int, every: int
) -> None:
    # A space of few networks makes duplicates; failures and repeats make every kind of event.
    arguments = (
        f"strategy={strategy}",
        f"deduplicate={deduplicate}",
        f"hardware.in_flight={in_flight}",
        "trials=30",
        "evaluator.repeats=2",
        "evaluator.fail_rate=0.2",
        *FITTING.get(strategy, ()),
        *SMALL_SPACES.get(strategy, SMALL_SPACE),
    )
    whole, _ = run_in(tmp_path / "whole", *arguments)
    lines = (tmp_path / "whole" / journal.NAME).read_bytes().splitlines(keepends=True)
    expected = without_time(journal.read(tmp_path / "whole" / journal.NAME))
    # One architecture, measured once and never proposed again: then `fixed` has no more.
    assert len(whole.records) == (1 if (strategy, deduplicate) == ("fixed", "resample") else 30)
    assert whole.best is not None
    for cut in range(0, len(lines), every):
        directory = tmp_path / f"cut{cut}"
        directory.mkdir()
        (directory / journal.NAME).write_bytes(b"".join(lines[:cut]) + lines[cut][: cut % 40])
        resumed, _ = run_in(directory, *arguments)
        assert without_time(journal.read(directory / journal.NAME)) == expected, f"cut after {cut} events"
        assert resumed.best is not None
        assert resumed.best.trial == whole.best.trial


def test_tells_come_in_the_order_of_the_trials(tmp_path: Path) -> None:
    run_in(tmp_path / "run", "hardware.in_flight=4", "trials=20")
    events = journal.read(tmp_path / "run" / journal.NAME)
    assert [event["trial"] for event in events if event["event"] == "tell"] == list(range(20))
    waiting = 0
    for event in events:
        waiting += len(event["proposals"]) if event["event"] == "ask" else -(event["event"] == "tell")
        assert 0 <= waiting <= 4


def test_an_extended_search_equals_one_that_was_meant_to_be_as_long(tmp_path: Path) -> None:
    run_in(tmp_path / "long", "trials=40")
    run_in(tmp_path / "short", "trials=15")
    run_in(tmp_path / "short", "trials=40")
    paths = [tmp_path / name / journal.NAME for name in ("long", "short")]
    assert without_time(journal.read(paths[0])) == without_time(journal.read(paths[1]))


def test_failures_in_a_row_end_the_search_with_the_last_reason(tmp_path: Path) -> None:
    search, ending = run_in(tmp_path / "run", "evaluator.fail_rate=1.0", "max_failures=7", "trials=50")
    assert not ending.complete
    assert ending.reason == "7 trials in a row failed, the last: drawn to fail"
    assert len(search.records) == 7
    assert search.best is None


def test_failures_between_successes_do_not_end_the_search(tmp_path: Path) -> None:
    search, ending = run_in(tmp_path / "run", "evaluator.fail_rate=0.4", "max_failures=12", "trials=60")
    assert ending.complete
    statuses = {record.status for record in search.records.values()}
    assert statuses == {"ok", "failed"}


def test_the_search_ends_when_the_space_is_exhausted(tmp_path: Path) -> None:
    tiny = ("search_space.max_depth=3", "search_space.filters=[8]", "search_space.kernels=[1,3]", SMALL_SPACE[2])
    search, ending = run_in(tmp_path / "run", "strategy=random", "deduplicate=resample", "trials=100", *tiny)
    genomes = {record.trial.proposal.genome for record in search.records.values()}
    assert len(genomes) == len(search.records) == 3 * 2**3
    assert ending.complete
    assert "done after 24 trials" in ending.reason


def test_a_reused_result_is_a_trial_that_costs_nothing(tmp_path: Path) -> None:
    arguments = ("strategy=random", "trials=60", "evaluator.noise=0.1", *SMALL_SPACE, "search_space.max_depth=3")
    search, _ = run_in(tmp_path / "run", *arguments)
    reused = [record for record in search.records.values() if record.trial.proposal.reuse_of is not None]
    assert reused
    for record in reused:
        original = search.records[record.trial.proposal.reuse_of]
        assert original.trial.proposal.genome == record.trial.proposal.genome
        assert original.trial.proposal.reuse_of is None
        assert record.mean("val_accuracy") == original.mean("val_accuracy")
        assert record.seconds == 0
    events = journal.read(tmp_path / "run" / journal.NAME)
    assert sum(event["event"] == "measure" for event in events) == 60 - len(reused)


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path / "run", "seed=1", "trials=5")
    with pytest.raises(ReplayError, match="event 1 of the journal"):
        search_in(tmp_path / "run", "seed=2", "trials=5")


def test_the_best_is_the_first_of_equals(tmp_path: Path) -> None:
    search, _ = run_in(tmp_path / "run", "strategy=random", "trials=40", "evaluator.noise=0", *SMALL_SPACE)
    scores = [record.mean("val_accuracy") for record in search.records.values()]
    assert search.best is not None
    assert search.best.trial.number == scores.index(max(scores))


def test_a_lower_objective_can_be_the_better_one(tmp_path: Path) -> None:
    search, _ = run_in(tmp_path / "run", "objective.metric=parameters", "objective.mode=min", "trials=40")
    parameters = [record.mean("parameters") for record in search.records.values()]
    assert search.best is not None
    assert search.best.mean("parameters") == min(parameters)
