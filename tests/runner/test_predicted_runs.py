"""Runs of strategies that train a network on what they were told, really killed in the middle of it."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import resume, start
from nasrun.storage import journal

ROOT = Path(__file__).parents[2]
SMALL = (
    "search_space=nasbench201",
    "evaluator=synthetic",
    "dataset=synthetic",
    "trials=24",
    "hardware=cpu",
    "hardware.threads=1",
    "output.console=none",
    "output.plots=false",
)
STRATEGIES = {
    "pnas": ("strategy=pnas", "strategy.first=6", "strategy.beam=6", "strategy.children=60", "strategy.steps=10"),
    "nao": ("strategy=nao", "strategy.initial=8", "strategy.batch=8", "strategy.parents=4", "strategy.steps=10"),
}
# Kills its own process when networks were trained so many times, before anything is proposed by them, or after tells.
KILLER = """
import os, signal, sys
from nasrun.strategies.nao.strategy import NAO
from nasrun.strategies.pnas import PNAS
name, kind, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
places = {
    ("pnas", "train"): (PNAS, "_best"),
    ("nao", "train"): (NAO, "_climbed"),
    ("pnas", "tell"): (PNAS, "tell"),
    ("nao", "tell"): (NAO, "tell"),
}
owner, method = places[name, kind]
done = getattr(owner, method)
def counted(*arguments):
    global left
    result = done(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, method, counted)
del sys.argv[1:4]
from nasrun.cli.main import main
sys.exit(main())
"""


def killed(name: str, kind: str, after: int, words: list[str]) -> None:
    """A process that kills itself after so many trainings of its network, or tells."""
    command = [sys.executable, "-c", KILLER, name, kind, str(after), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def results(directory: Path) -> dict[str, object]:
    """All that must be equal: tables without their timing columns, what the strategy noted, the best."""
    kept: dict[str, object] = {}
    for name in ("trials.csv", "measurements.csv"):
        rows = list(csv.DictReader((directory / name).open()))
        kept[name] = [{column: value for column, value in row.items() if column != "seconds"} for row in rows]
    return kept | {name: (directory / name).read_bytes() for name in ("genomes.txt", "strategy.json", "best.json")}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_killed_twice_comes_to_the_same(name: str, tmp_path: Path) -> None:
    words = [*SMALL, *STRATEGIES[name]]
    start(task_config(compose_config(words)), tmp_path / "whole", unique=False)
    directory = tmp_path / "killed"
    killed(name, "train", 2, [*words, f"hydra.run.dir={directory}"])
    told = [event["event"] for event in journal.read(directory / journal.NAME)].count("tell")
    assert 6 <= told < 24
    killed(name, "tell", told + 3, ["resume", str(directory)])
    again = [event["event"] for event in journal.read(directory / journal.NAME)].count("tell")
    assert told < again < 24
    resume(directory, {})
    assert results(directory) == results(tmp_path / "whole")
