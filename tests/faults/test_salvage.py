"""A journal that is damaged in the middle: refused with what can be saved, and saved with nothing lost."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.cli.report import report
from nasrun.core import Evaluator
from nasrun.core.options import ConfigError
from nasrun.evaluators.synthetic import Synthetic
from nasrun.evaluators.train.evaluator import Train
from nasrun.runner import salvage
from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.storage.journal import JournalError
from tests.evaluators.conftest import SMALL
from tests.faults.runs import cut, results, run, temporary_files
from tests.runner.test_miha_runs import PBT
from tests.runner.test_shared_runs import SMALL as SHARED

TRIALS = 24
WORDS = (f"trials={TRIALS}", "strategy.population=6", "strategy.sample=3", "evaluator.repeats=2")
DENSE = (
    *(word for word in SMALL if not word.startswith("search_space")),
    "search_space=mlp",
    "search_space.max_width=16",
    "strategy=random",
    "trials=6",
    "evaluator.repeats=2",
    "evaluator.final_epochs=1",
    "hardware.in_flight=3",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole") / "run", *WORDS)


def copy(directory: Path, target: Path) -> Path:
    """A run with its journal and records alone, as a kill before the first tables leaves it."""
    for name in (journal.NAME, "environment.json", ".hydra/config.yaml"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((directory / name).read_bytes())
    return target


def damage(directory: Path, event: str, number: int) -> int:
    """Change a byte in the n-th event of a kind; returns the number of its line."""
    path = directory / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    position = [at for at, line in enumerate(lines) if b'"event":"%s"' % event.encode() in line][number]
    lines[position] = lines[position].replace(b":", b";", 1)
    path.write_bytes(b"".join(lines))
    return position + 1


def counted(kind: type[Evaluator], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The jobs that are really measured from now on."""
    measured: list[tuple[int, int]] = []
    real: Callable = kind.evaluate

    def evaluate(self: object, jobs: list) -> object:
        measured.extend((job.trial.number, job.repeat) for job in jobs)
        return real(self, jobs)

    monkeypatch.setattr(kind, "evaluate", evaluate)
    return measured


@pytest.mark.parametrize(
    ("event", "number", "again"),
    [
        ("ask", 9, [(9, 0), (9, 1)]),  # what was measured of it is whole, but not what was proposed
        ("measure", 20, [(10, 0)]),
        ("measure", 21, [(10, 1)]),
        ("tell", 11, []),
        ("tell", 0, []),
        ("ask", TRIALS - 1, [(TRIALS - 1, 0), (TRIALS - 1, 1)]),
    ],
)
def test_only_what_is_lost_is_measured_again(
    event: str, number: int, again: list, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy(whole, tmp_path / "run")
    line = damage(directory, event, number)
    before = (directory / journal.NAME).read_bytes()
    told = sum(one["event"] == "tell" for one in journal.read(whole / journal.NAME)[: line - 1])
    saved = rf"line {line} is damaged; the {line - 1} events before it are intact, with {told} finished trials; "
    for refused in (lambda: resume(directory, {}), lambda: report(directory)):
        with pytest.raises(JournalError, match=saved + "recover them with: nasrun resume --salvage "):
            refused()
    assert (directory / journal.NAME).read_bytes() == before
    measured = counted(Synthetic, monkeypatch)
    resume(directory, {}, salvage=True)
    assert measured == again
    assert results(directory) == results(whole)
    assert (directory / "journal.damaged-1.jsonl").read_bytes() == before
    assert journal.read(directory / journal.NAME)[: line - 3] == journal.read(whole / journal.NAME)[: line - 3]


@pytest.mark.parametrize("harm", ["zeros", "cut out", "put in", "one long line", "all behind"])
def test_damage_of_any_kind(harm: str, whole: Path, tmp_path: Path) -> None:
    directory = copy(whole, tmp_path / "run")
    path = directory / journal.NAME
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if harm == "zeros":
        data[middle : middle + 4096] = bytes(4096)
    elif harm == "cut out":
        del data[middle : middle + 700]
    elif harm == "put in":
        data[middle:middle] = bytes(range(256))
    elif harm == "one long line":
        data[middle:] = data[middle:].replace(b"\n", b" ", 9)
    else:
        data[middle:] = data[middle:].replace(b'"crc":', b'"crc":1')
    path.write_bytes(data)
    with pytest.raises(JournalError, match="is damaged"):
        resume(directory, {})
    resume(directory, {}, salvage=True)
    assert results(directory) == results(whole)
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("number", [5, 6, 7])
def test_networks_that_train_together(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(tmp_path / "whole", *DENSE)
    directory = tmp_path / "whole_too"
    expected.rename(directory)
    wanted = results(directory)
    damage(directory, "measure", number)
    measured = counted(Train, monkeypatch)
    resume(directory, {}, salvage=True)
    assert results(directory) == wanted
    assert 2 <= len(set(measured)) <= 6, "a group, and what the run had not got to"


@pytest.mark.parametrize(("words", "number"), [(PBT, 6), (SHARED, 3), (SHARED, 11)], ids=["pbt", "early", "late"])
def test_trials_that_depend_on_the_weights_of_others(words: tuple[str, ...], number: int, tmp_path: Path) -> None:
    directory = run(tmp_path / "run", *words)
    wanted = results(directory)
    damage(directory, "measure", number)
    resume(directory, {}, salvage=True)
    assert results(directory) == wanted


def test_the_first_line_is_made_again_from_what_lies_beside_it(whole: Path, tmp_path: Path) -> None:
    directory = copy(whole, tmp_path / "run")
    damage(directory, "run", 0)
    resume(directory, {}, salvage=True)
    assert results(directory) == results(whole)
    headers = [journal.read(place / journal.NAME)[0] for place in (whole, directory)]
    assert {**headers[0], "time": 0} == {**headers[1], "time": 0}


def test_without_that_nothing_can_be_saved(whole: Path, tmp_path: Path) -> None:
    directory = copy(whole, tmp_path / "run")
    damage(directory, "run", 0)
    (directory / "environment.json").write_text(json.dumps({"nasrun": "1"}))
    before = sorted((path, path.read_bytes()) for path in directory.iterdir() if path.is_file() and path.suffix)
    with pytest.raises(ConfigError, match=r"line 1, which describes the run, is damaged.*start the run again"):
        resume(directory, {}, salvage=True)
    assert sorted((path, path.read_bytes()) for path in directory.iterdir() if path.is_file() and path.suffix) == before


def test_what_is_not_damaged_is_left_alone(whole: Path, tmp_path: Path) -> None:
    directory = copy(whole, tmp_path / "run")
    path = directory / journal.NAME
    path.write_bytes(path.read_bytes()[:-7])  # a kill in the last line is no damage
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"is not damaged; continue with: nasrun resume "):
        resume(directory, {}, salvage=True)
    assert path.read_bytes() == before
    damage(directory, "tell", 3)
    resume(directory, {}, salvage=True)
    with pytest.raises(ConfigError, match="is not damaged"):
        resume(directory, {}, salvage=True)
    damage(directory, "tell", 15)
    resume(directory, {}, salvage=True)
    assert len(list(directory.glob("journal.damaged-?.jsonl"))) == 2
    assert results(directory) == results(whole)


def test_a_salvage_that_is_killed_goes_on_with_what_it_had(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy(whole, tmp_path / "run")
    damage(directory, "tell", 4)
    salvage.save_journal(directory)  # killed here
    measured = counted(Synthetic, monkeypatch)
    resume(directory, {})
    cut(directory, "tell", 9)
    resume(directory, {})
    assert measured == []
    assert results(directory) == results(whole)


def test_changes_behind_the_damage_are_kept(tmp_path: Path) -> None:
    directory = run(tmp_path / "run", *WORDS[1:], "trials=9")
    resume(directory, {"trials": 20})
    wanted = results(directory)
    damage(directory, "tell", 5)
    resume(directory, {}, salvage=True)
    assert results(directory) == wanted


def test_the_command(whole: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    directory = copy(whole, tmp_path / "run")
    line = damage(directory, "tell", 7)
    refused = nasrun_inprocess("resume run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(rf"nasrun: run/journal.jsonl: line {line} is damaged; [^\n]+ --salvage run\n", refused.stderr)
    done = nasrun_inprocess("resume --salvage run output.console=plain")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"line {line} of the journal was damaged: kept 7 finished trials; " in done.stdout
    again = nasrun_inprocess("resume run --salvage")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "nasrun: run/journal.jsonl: is not damaged; continue with: nasrun resume run\n"
    missing = nasrun_inprocess("resume --salvage")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
