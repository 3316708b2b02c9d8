"""Around the loop: directories, refreshed tables, resumes that change what they may."""

import contextlib
import csv
import os
from pathlib import Path
from typing import Any

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.config.stored_run import open_run
from nasrun.core.environment import describe_environment
from nasrun.core.options import ConfigError
from nasrun.reports import pictures
from nasrun.reports.page import PAGE
from nasrun.reports.pictures import write_unfinished_page
from nasrun.reports.tables import write_tables
from nasrun.runner import observers, run
from nasrun.runner import resume as run_resume
from nasrun.runner import startup_messages as opening_notes
from nasrun.runner.errors import RunError
from nasrun.runner.run import resume, start
from nasrun.storage import journal
from nasrun.storage.records import read_run
from nasrun.strategies.random import Random
from tests.faults.runs import results
from tests.support import without_time

WORDS = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator=synthetic",
    "dataset=synthetic",
    "output.plots=false",
    "output.console=none",
)


def started(directory: Path, *words: str) -> dict:
    return start(task_config(compose_config([*WORDS, *words])), directory, unique=False)


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_tables_hold_all_trials_while_a_resumed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(tmp_path / "run", "trials=5")
    seen = []
    monkeypatch.setattr(observers, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(observers, "TRIAL_SECONDS", 0.0)
    for module in (run, observers):
        written = lambda *a: (write_tables(*a), seen.append(len(rows(tmp_path / "run"))))  # noqa: E731
        monkeypatch.setattr(module, "write_tables", written)
    resume(tmp_path / "run", {"trials": 12})
    assert seen[0] == 6
    assert seen[-1] == 12
    assert seen == sorted(seen)


def test_an_extended_run_has_the_tables_of_one_that_was_meant_to_be_as_long(tmp_path: Path) -> None:
    started(tmp_path / "long", "trials=30")
    started(tmp_path / "short", "trials=9")
    resume(tmp_path / "short", {"trials": 30})
    for name in ("trials.csv", "genomes.txt", "best.json"):
        assert (tmp_path / "short" / name).read_bytes() == (tmp_path / "long" / name).read_bytes()
    assert read_run(tmp_path / "short").header.trials == 9


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    started(tmp_path / "run", "trials=6")
    before = (tmp_path / "run" / journal.NAME).read_bytes()
    resume(tmp_path / "run", {})
    assert (tmp_path / "run" / journal.NAME).read_bytes() == before


def test_a_change_of_the_search_is_refused_by_name(tmp_path: Path) -> None:
    started(tmp_path / "run", "trials=6")
    before = (tmp_path / "run" / journal.NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"strategy\.population=5: would change the search, which ran with 8"):
        resume(tmp_path / "run", {"strategy.population": 5})
    with pytest.raises(ConfigError, match="trials=3: must be >= 6, the trials so far"):
        resume(tmp_path / "run", {"trials": 3})
    assert (tmp_path / "run" / journal.NAME).read_bytes() == before


def test_a_run_that_gave_up_can_be_taken_up_again(tmp_path: Path) -> None:
    words = ("trials=20", "evaluator.fail_rate=0.9", "max_failures=3", "seed=4")
    with pytest.raises(RunError, match="3 trials in a row failed, the last: drawn to fail"):
        started(tmp_path / "run", *words)
    stopped = len(rows(tmp_path / "run"))
    assert stopped < 20
    resume(tmp_path / "run", {"max_failures": None})
    assert len(rows(tmp_path / "run")) == 20


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    started(tmp_path / "run", "trials=2")
    assert (tmp_path / "run" / ".hydra" / "config.yaml").is_file()
    with pytest.raises(ConfigError, match="already has a run; continue with: nasrun resume"):
        started(tmp_path / "run", "trials=2")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        started(tmp_path / "full", "trials=2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "run"]


def test_a_full_disk_ends_in_one_line_and_the_run_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path / "whole", "trials=10")
    real_write, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        # What a full disk does: a part of the line fits, and then nothing does.
        written.append(data)
        if len(written) == 12:
            return real_write(descriptor, data[:10])
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(RunError, match="continue with: nasrun resume"):
        started(tmp_path / "run", "trials=10")
    monkeypatch.undo()
    resume(tmp_path / "run", {})
    assert (tmp_path / "run" / "trials.csv").read_bytes() == (tmp_path / "whole" / "trials.csv").read_bytes()


def test_another_version_than_at_the_start_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started(tmp_path / "run", "trials=3")
    environment = describe_environment()
    environment |= {"packages": {**environment["packages"], "numpy": "9.9"}, "instructions": "abacus"}
    monkeypatch.setattr(opening_notes, "describe_environment", lambda: environment)
    resume(tmp_path / "run", {"trials": 4, "output.console": "plain"})
    said = capsys.readouterr().out
    assert "resumed with 9.9: results may differ" in said
    assert "resumed with abacus: results may differ" in said


def test_a_search_that_does_not_repeat_itself_on_another_processor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tmp_path / "run", "trials=3", "strategy=random")
    before = (tmp_path / "run" / journal.NAME).read_bytes()
    ask = Random.ask
    monkeypatch.setattr(Random, "ask", lambda self, n: (ask(self, n), ask(self, n))[1])
    environment = {**describe_environment(), "processor": "another"}
    monkeypatch.setattr(run_resume, "describe_environment", lambda: environment)
    with pytest.raises(RunError) as caught:
        resume(tmp_path / "run", {"trials": 4})
    said = str(caught.value)
    assert said.startswith("the search cannot be resumed here: event 2 of the journal: the strategy proposed ")
    assert said.endswith(", now another)")
    assert len(said.splitlines()) == 1
    assert (tmp_path / "run" / journal.NAME).read_bytes() == before


def pages_of(
    directory: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None, trials: int = 8
) -> list[str]:
    """The pages that a run wrote, including its last one; it is stopped after the page with a given number."""
    pages: list[str] = []

    def write(*arguments: Any) -> None:
        write_unfinished_page(*arguments)
        pages.append((directory / PAGE).read_text())
        if len(pages) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "write_unfinished_page", write)
    for name, value in (("FIRST_PAGE", 0.0), ("TRIAL_SECONDS", 0.0), ("SHARE", 1e9)):
        monkeypatch.setattr(observers, name, value)
    with contextlib.suppress(KeyboardInterrupt):
        started(directory, f"trials={trials}", "output.plots=true", "output.refresh=0.001", "evaluator.delay=0.002")
    return [*pages, (directory / PAGE).read_text()]


def test_pages_of_a_run_that_goes_on_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *pages, last = pages_of(tmp_path / "run", monkeypatch)
    assert ["<strong>Running</strong>" in page for page in pages] == [True] * 8
    assert ": 3 of 8 trials." in pages[2]
    assert 'id="unfinished"' not in last
    started(tmp_path / "quiet", "trials=8", "output.plots=true", "output.refresh=null", "evaluator.delay=0.002")
    assert results(tmp_path / "run") == results(tmp_path / "quiet")
    one, other = (without_time(journal.read(tmp_path / name / journal.NAME)) for name in ("run", "quiet"))
    assert one == other


def test_a_page_that_cannot_be_drawn_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(*arguments: Any) -> dict:
        raise ValueError("no such picture")

    monkeypatch.setattr(pictures, "draw_plots", draw)
    for name, value in (("FIRST_PAGE", 0.0), ("TRIAL_SECONDS", 0.0)):
        monkeypatch.setattr(observers, name, value)
    words = ("output.plots=true", "output.refresh=0.001", "evaluator.delay=0.01", "output.console=plain")
    with pytest.raises(ValueError, match="such picture"):  # the pictures at the end are asked for
        started(tmp_path / "run", "trials=6", *words)
    assert len(rows(tmp_path / "run")) == 6
    said = "report.html cannot be drawn during the run (ValueError: no such picture)"
    assert "".join(capsys.readouterr()).count(said) == 1


def test_the_page_of_a_run_that_is_stopped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *pages, last = pages_of(tmp_path / "run", monkeypatch, stop_at=3)
    assert [": 3 of 8 trials" in page for page in pages] == [False, False, True, True]
    assert "<strong>Unfinished</strong>: 3 of 8 trials as of" in last
    assert "nasrun resume " in last


@pytest.mark.parametrize(
    "words",
    [
        ("evaluator.repeats=2", "evaluator.fail_rate=0.2", "hardware.in_flight=3", "search_space.max_depth=3"),
        ("strategy=hyperband", "deduplicate=never"),
        ("objective.metric=[val_accuracy,parameters]", "strategy=nsga2"),
    ],
)
def test_what_a_run_writes_is_what_its_journal_tells(tmp_path: Path, words: tuple[str, ...]) -> None:
    started(tmp_path / "run", "trials=25", *words)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.suffix in (".csv", ".json")}
    assert {"trials.csv", "measurements.csv", "best.json", "summary.json"} < set(before)
    stored = open_run(tmp_path / "run")
    run.write_results(stored.benchmark, stored.records)
    for name, content in before.items():
        assert (tmp_path / "run" / name).read_bytes() == content, name
