"""Runs of differentiable methods, really killed: while they train, between their file and its event, between trials."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.storage.records import read_run
from tests.runner.killing import killed
from tests.runner.test_shared_runs import kinds, results
from tests.support import TINY_IMAGES, made_run

SMALL = (
    "search_space=nasbench201",
    "search_space.cells=1",
    "search_space.channels=4",
    "strategy=derived",
    "evaluator.architecture_lr=0.1",  # so that what is derived changes in a few steps
    "evaluator.batch_size=32",
    "evaluator.score_batch=16",
    "trials=5",
    "output.console=none",
    "output.plots=false",
    *TINY_IMAGES,
)
METHODS = {
    "darts": ("evaluator=darts", "evaluator.max_skips=2", "evaluator.skip_dropout=0.3"),
    "darts_second_order": ("evaluator=darts", "evaluator.second_order=true"),
    "gdas": ("evaluator=gdas",),
    "pc_darts": ("evaluator=pc_darts", "evaluator.partial=2", "evaluator.architecture_warm_up=1"),
    "sgas": ("evaluator=sgas", "evaluator.criterion=2", "evaluator.history=2", "evaluator.warm_up_epochs=1"),
}
KILLED = ("darts", "sgas")
"""Methods that are killed at each phase; the others at many, where tests may be slow."""
STEPS = 2  # in an epoch of 60 images, the half of 120

PHASES = {
    "learn": "nasrun.training.supernet.mixed:MixedTrainer.learn",
    "step": "nasrun.training.supernet.trainer:SharedTrainer.step",
    "save": "nasrun.evaluators.weight_sharing:WeightSharing.save",
    "score": "nasrun.evaluators.weight_sharing:WeightSharing._scored",
}

methods = pytest.mark.parametrize("method", METHODS)


def words(method: str) -> list[str]:
    return [*METHODS[method], *SMALL]


def whole(method: str, directory: Path, *more: str) -> Path:
    return made_run(directory, *words(method), *more)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The undisturbed run of a method, made once."""
    return cache(lambda method: whole(method, tmp_path_factory.mktemp(method) / "run"))


@methods
def test_what_is_derived_is_on_record_proposed_and_chosen(method: str, uninterrupted: Callable[[str], Path]) -> None:
    directory = uninterrupted(method)
    assert kinds(journal.read(directory / journal.NAME)) == "samt" * 5 + "fe"
    run = read_run(directory)
    derived = [event.derived for event in run.shared]
    assert [record.trial.proposal.genome for record in run.trials.values()] == [one.genome for one in derived if one]
    assert len(set(derived)) > 1
    for one in derived:
        assert one is not None
        assert [len(row) for row in one.weights] == [5] * 6
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in one.weights)
    assert run.final is not None
    assert (run.final.trial, run.final.chosen) == (4, True)
    origins = {row["origin"] for row in csv.DictReader((directory / "trials.csv").open())}
    assert origins == {"derived"}


@pytest.mark.parametrize("method", KILLED)
@pytest.mark.parametrize(("phase", "after"), [("learn", 2 * STEPS + 1), ("save", 3), ("score", 3)])
def test_a_killed_run_comes_to_the_same(
    method: str, phase: str, after: int, tmp_path: Path, uninterrupted: Callable[[str], Path]
) -> None:
    expected = results(uninterrupted(method))
    directory = tmp_path / "killed"
    killed([*words(method), f"hydra.run.dir={directory}"], PHASES[phase], after, tmp_path / "log")
    before = kinds(journal.read(directory / journal.NAME))
    assert before == "samtsamt" + {"learn": "", "save": "", "score": "sa"}[phase]
    resume(directory, {})
    assert results(directory) == expected


@pytest.mark.slow
@methods
def test_many_kills_come_to_the_same(method: str, tmp_path: Path, uninterrupted: Callable[[str], Path]) -> None:
    winner = method != "pc_darts"  # whose operations are narrower than those of the architecture
    expected = results(uninterrupted(method), winner)
    directory = tmp_path / "killed"
    log = tmp_path / "log"
    killed([*words(method), f"hydra.run.dir={directory}"], PHASES["step"], 1, log)
    for phase, after in (("learn", STEPS + 1), ("score", 1), ("save", 1), ("step", STEPS + 1), ("score", 1)):
        killed(["resume", str(directory)], PHASES[phase], after, log)
    resume(directory, {})
    assert results(directory, winner) == expected


@pytest.mark.parametrize("method", ["darts", "gdas"])
def test_other_strategies_score_with_its_weights(method: str, tmp_path: Path) -> None:
    more = ("strategy=aging_evolution", "strategy.population=3", "strategy.sample=2", "evaluator.rounds=4", "trials=6")
    directory = whole(method, tmp_path / "run", *more)
    assert kinds(journal.read(directory / journal.NAME)) == "s" + "amt" * 4 + "s" + "amt" * 2 + "fe"
