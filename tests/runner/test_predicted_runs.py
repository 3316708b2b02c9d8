"""Runs of strategies that train a network on what they were told, really killed in the middle of it."""

import csv
from pathlib import Path

import pytest

from nasrun.runner.run import resume
from nasrun.storage import journal
from tests.runner.killing import killed
from tests.support import made_run

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
NETWORKS_TRAINED = {
    "pnas": "nasrun.strategies.pnas:PNAS._best",
    "nao": "nasrun.strategies.nao.strategy:NAO._climbed",
}
"""What comes after networks are trained, before anything is proposed by them."""
TELLS = {"pnas": "nasrun.strategies.pnas:PNAS.tell", "nao": "nasrun.strategies.nao.strategy:NAO.tell"}


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
    made_run(tmp_path / "whole", *words)
    directory = tmp_path / "killed"
    killed([*words, f"hydra.run.dir={directory}"], NETWORKS_TRAINED[name], 2, tmp_path / "log")
    told = [event["event"] for event in journal.read(directory / journal.NAME)].count("tell")
    assert 6 <= told < 24
    killed(["resume", str(directory)], TELLS[name], told + 3, tmp_path / "log")
    again = [event["event"] for event in journal.read(directory / journal.NAME)].count("tell")
    assert told < again < 24
    resume(directory, {})
    assert results(directory) == results(tmp_path / "whole")
