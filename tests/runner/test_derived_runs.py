"""Runs of differentiable methods, really killed: while they train, between their file and its event, between trials."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import resume, start
from nasrun.storage import journal
from nasrun.storage.records import read_run
from tests.runner.test_shared_runs import ROOT, kinds, results
from tests.support import TINY_IMAGES

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

KILLER = """
import os, signal, sys
from nasrun.evaluators.weight_sharing import WeightSharing
from nasrun.training.supernet.mixed import MixedTrainer
from nasrun.training.supernet.trainer import SharedTrainer
kind, name, left = {
    "learn": (MixedTrainer, "learn"), "step": (SharedTrainer, "step"), "save": (WeightSharing, "save"),
    "score": (WeightSharing, "_scored"),
}[sys.argv[1]] + (int(sys.argv[2]),)
done = getattr(kind, name)
def counted(*arguments, **named):
    global left
    result = done(*arguments, **named)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(kind, name, counted)
del sys.argv[1:3]
from nasrun.cli.main import main
sys.exit(main())
"""

methods = pytest.mark.parametrize("method", METHODS)


def words(method: str) -> list[str]:
    return [*METHODS[method], *SMALL]


def whole(method: str, directory: Path, *more: str) -> Path:
    start(task_config(compose_config([*words(method), *more])), directory, unique=False)
    return directory


def killed(arguments: list[str], phase: str, after: int) -> None:
    """A process that kills itself after so many steps, saves or scores."""
    done = subprocess.run([sys.executable, "-c", KILLER, phase, str(after), *arguments], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@methods
def test_what_is_derived_is_on_record_proposed_and_chosen(method: str, tmp_path: Path) -> None:
    directory = whole(method, tmp_path / "run")
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
def test_a_killed_run_comes_to_the_same(method: str, phase: str, after: int, tmp_path: Path) -> None:
    expected = results(whole(method, tmp_path / "whole"))
    directory = tmp_path / "killed"
    killed([*words(method), f"hydra.run.dir={directory}"], phase, after)
    before = kinds(journal.read(directory / journal.NAME))
    assert before == "samtsamt" + {"learn": "", "save": "", "score": "sa"}[phase]
    resume(directory, {})
    assert results(directory) == expected


@pytest.mark.slow
@methods
def test_many_kills_come_to_the_same(method: str, tmp_path: Path) -> None:
    winner = method != "pc_darts"  # whose operations are narrower than those of the architecture
    expected = results(whole(method, tmp_path / "whole"), winner)
    directory = tmp_path / "killed"
    killed([*words(method), f"hydra.run.dir={directory}"], "step", 1)
    for phase, after in (("learn", STEPS + 1), ("score", 1), ("save", 1), ("step", STEPS + 1), ("score", 1)):
        killed(["resume", str(directory)], phase, after)
    resume(directory, {})
    assert results(directory, winner) == expected


@pytest.mark.parametrize("method", ["darts", "gdas"])
def test_other_strategies_score_with_its_weights(method: str, tmp_path: Path) -> None:
    more = ("strategy=aging_evolution", "strategy.population=3", "strategy.sample=2", "evaluator.rounds=4", "trials=6")
    directory = whole(method, tmp_path / "run", *more)
    assert kinds(journal.read(directory / journal.NAME)) == "s" + "amt" * 4 + "s" + "amt" * 2 + "fe"
