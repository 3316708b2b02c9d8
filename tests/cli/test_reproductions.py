"""`nasrun reproduce`: it runs what is missing, refuses what would mix, and prints what the runs came to."""

import csv
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.core import config_files
from nasrun.reports.reproduction import plan
from tests.conftest import COMMAND

MINE = """\
# Two strategies on a table
paper: mine
source: nowhere
scale: as published
steps:
  both: search_space=nasbench201 evaluator=table strategy=random,aging_evolution trials=20 seed=0,1
claims:
  - {says: random search, theirs: 0.9, step: both, measure: test_accuracy, where: {strategy: random}}
  - says: evolution is better in its last fifth
    theirs: much
    step: both
    measure: last_fifth(val_accuracy)
    where: {strategy: aging_evolution}
    than: {where: {strategy: random}}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reproduction of the tests' own, beside those that there are."""
    conf = tmp_path / "conf"
    shutil.copytree(config_files.conf_dir() / config_files.REPRODUCTIONS, conf / config_files.REPRODUCTIONS)
    (conf / config_files.REPRODUCTIONS / "mine.yaml").write_text(MINE)
    monkeypatch.setattr(plan, "conf_dir", lambda: conf)


def last_fifth(run: Path) -> float:
    with (run / "trials.csv").open() as file:
        values = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    return sum(values[-4:]) / 4


def test_it_runs_what_is_missing_and_says_what_came_of_it(
    mine: None, nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    listed = [line.split(maxsplit=1) for line in nasrun_inprocess("reproduce").stdout.splitlines() if line[:2] == "  "]
    assert ["mine", "Two strategies on a table"] in listed
    quiet = "output.console=none output.plots=false"
    nothing = nasrun_inprocess("reproduce mine --table")
    assert (nothing.returncode, nothing.stderr, list(tmp_path.glob("outputs*"))) == (0, "", [])
    assert nothing.stdout.count("not run") == 2
    first = nasrun_inprocess(f"reproduce mine seed=1 {quiet}")
    assert (first.returncode, first.stderr) == (0, "")
    folder = tmp_path / "outputs" / "reproduce" / "mine"
    before = {path: path.read_bytes() for path in folder.rglob("journal.jsonl")}
    assert len(before) == 2
    again = nasrun_inprocess(f"reproduce mine {quiet}")
    assert (again.returncode, again.stderr) == (0, "")
    assert len([*folder.rglob("journal.jsonl")]) == 4
    assert all(path.read_bytes() == content for path, content in before.items())
    table = json.loads((folder / "reproduction.json").read_text())
    assert (table["runs"], [claim["n"] for claim in table["claims"]]) == (4, [2, 2])
    runs = {name: [*folder.glob(f"both/*{name}*seed[01]")] for name in ("aging_evolution", "random")}
    means = [sum(map(last_fifth, found)) / 2 for found in runs.values()]
    assert table["claims"][1]["means"] == pytest.approx(means)
    assert "not shown (p = " in again.stdout
    assert nasrun_inprocess("reproduce mine --table").stdout.endswith(again.stdout[-300:])


def test_runs_of_other_settings_take_another_folder(mine: None, nasrun_inprocess: Callable, tmp_path: Path) -> None:
    assert nasrun_inprocess("reproduce mine seed=1 trials=5 output.console=none").returncode == 0
    other = nasrun_inprocess("reproduce mine seed=2")
    assert other.returncode == 2
    made = "nasrun: outputs/reproduce/mine: was made with trials=5"
    assert other.stderr == f"{made}; type the same, or choose another folder: --out FOLDER\n"
    assert nasrun_inprocess("reproduce mine --table").returncode == 0


def test_so_do_those_of_a_call_that_was_killed(tmp_path: Path, nasrun_inprocess: Callable) -> None:
    words = "reproduce slides_swarm trials=3000 seed=0 output.console=none --out swarm"
    process = subprocess.Popen([COMMAND, *words.split()], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        while not [*(tmp_path / "swarm").rglob("journal.jsonl")]:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    other = nasrun_inprocess("reproduce slides_swarm trials=4 --out swarm")
    assert other.returncode == 2
    assert other.stderr.startswith("nasrun: swarm: was made with trials=3000; type the same")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mime", "nasrun: mime: no such reproduction; did you mean 'mine'?\n"),
        ("mine seed", "nasrun: seed: not expected; usage: nasrun reproduce NAME"),
        ("mine --steps bath", "nasrun: --steps bath: not a step of mine; did you mean 'both'?\n"),
        ("mine trails=3", "nasrun: trails: no such key"),
        ("mine --fast", "nasrun: unrecognized arguments: --fast; usage: nasrun reproduce NAME"),
    ],
)
def test_mistakes_are_said_and_nothing_is_made(
    words: str, said: str, mine: None, nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    done = nasrun_inprocess(f"reproduce {words}")
    assert (done.returncode, done.stderr[: len(said)], done.stderr.count("\n")) == (2, said, 1)
    assert not (tmp_path / "outputs").exists()
