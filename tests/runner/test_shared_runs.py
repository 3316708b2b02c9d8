"""Runs with shared weights, really killed: while these train, between their file and its event, between trials."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from nasrun.runner.errors import RunError
from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.storage.journal import Line
from nasrun.training.outcomes import TrainingError
from tests.runner.killing import killed
from tests.support import TINY_IMAGES, made_run

ROOT = Path(__file__).parents[2]
SMALL = (
    "search_space=micro_cell",
    "search_space.blocks=1",
    "search_space.layout=cr",
    "search_space.channels=2",
    "evaluator=supernet",
    "evaluator.rounds=4",
    "evaluator.batch_size=32",
    "evaluator.score_batch=16",
    "trials=14",
    "output.console=none",
    "output.plots=false",
    *TINY_IMAGES,
)
STRATEGIES = {
    "aging_evolution": ("strategy=aging_evolution", "strategy.population=4", "strategy.sample=2"),
    "reinforce": ("strategy=reinforce_ienas", "strategy.lr=0.2"),
}
STEPS = 4  # in an epoch of 120 images

PHASES = {
    "step": "nasrun.training.supernet.trainer:SharedTrainer.step",
    "save": "nasrun.evaluators.supernet:Supernet.save",
    "score": "nasrun.evaluators.supernet:Supernet._scored",
}


def whole(strategy: str, directory: Path, *more: str) -> Path:
    """An uninterrupted run."""
    return made_run(directory, *SMALL, *STRATEGIES[strategy], *more)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    return whole("aging_evolution", tmp_path_factory.mktemp("whole") / "run")


def results(directory: Path, winner: bool = True) -> dict[str, object]:
    """All that must be equal: tables without their timing columns, controller, shared weights, the winner's weights."""
    kept: dict[str, object] = {}
    for name in ("trials.csv", "measurements.csv", "shared.csv"):
        rows = list(csv.DictReader((directory / name).open()))
        kept[name] = [{column: value for column, value in row.items() if column != "seconds"} for row in rows]
    files = [*directory.glob("shared/*"), *directory.glob("*.txt"), *directory.glob("strategy.json")]
    weights = [directory / "best" / "model.safetensors"] if winner else []
    for path in [*files, directory / "best.json", *weights]:
        kept[path.name] = path.read_bytes()
    return kept


def kinds(events: list[Line]) -> str:
    """The order of the events, a letter each: shared, ask, measure, tell, resume, final, end."""
    return "".join(event["event"][0] for event in events[1:])


def test_the_journal_of_a_run(tmp_path: Path) -> None:
    directory = whole("aging_evolution", tmp_path / "run", "trials=10")
    events = journal.read(directory / journal.NAME)
    assert kinds(events) == "s" + "amt" * 4 + "s" + "amt" * 4 + "s" + "amt" * 2 + "fe"
    assert sorted(path.name for path in (directory / "shared").iterdir()) == ["2.safetensors", "3.safetensors"]
    rows = list(csv.DictReader((directory / "shared.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["lr"]) < float(rows[0]["lr"])


def test_several_in_flight_wait_for_the_round(tmp_path: Path) -> None:
    directory = whole("aging_evolution", tmp_path / "run", "trials=10", "hardware.in_flight=3")
    told = 0
    for event in journal.read(directory / journal.NAME):
        told += event["event"] == "tell"
        if event["event"] == "shared":
            assert told == 4 * (event["version"] - 1)
    assert told == 10


@pytest.mark.parametrize(("phase", "after"), [("step", STEPS + 2), ("save", 2), ("score", 7)])
def test_a_killed_run_comes_to_the_same(tmp_path: Path, phase: str, after: int, uninterrupted: Path) -> None:
    expected = results(uninterrupted)
    directory = tmp_path / "killed"
    killed(
        [*SMALL, *STRATEGIES["aging_evolution"], f"hydra.run.dir={directory}"], PHASES[phase], after, tmp_path / "log"
    )
    before = kinds(journal.read(directory / journal.NAME))
    assert before == "samtamtamtamt" + {"step": "", "save": "", "score": "samtamta"}[phase]
    resume(directory, {})
    assert results(directory) == expected


def test_what_the_authors_of_ienas_ran_survives_a_kill(tmp_path: Path) -> None:
    """The options of `experiment=ienas_code_cifar10`, with a network of two cells."""
    [chosen] = (yaml.safe_load(path.read_text()) for path in ROOT.glob("conf/experiment/ienas_code_cifar10.yaml"))
    sections = {name: chosen[name] for name in ("search_space", "strategy", "evaluator")}
    given = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    kept = ("search_space.layout", "evaluator.rounds")
    options = [f"{key}={'null' if value is None else value}" for key, value in given.items() if key not in kept]
    words = [*SMALL, "strategy=reinforce_ienas", *options, "trials=7"]
    made_run(tmp_path / "whole", *words)
    directory = tmp_path / "killed"
    killed([*words, f"hydra.run.dir={directory}"], PHASES["step"], STEPS + 2, tmp_path / "log")
    resume(directory, {})
    assert results(directory) == results(tmp_path / "whole")
    notes = json.loads((directory / "strategy.json").read_text())
    assert notes["compared"] == 6
    assert 0 <= notes["penalised"] <= 6
    assert len(notes["baseline"]) == 2


def test_epochs_of_a_warm_up_come_before_the_first_trial_and_survive_a_kill(tmp_path: Path) -> None:
    words = ("evaluator.warm_up_epochs=2", "evaluator.sampling=sandwich", "evaluator.distil=inplace", "trials=6")
    whole_run = whole("aging_evolution", tmp_path / "whole", *words)
    assert kinds(journal.read(whole_run / journal.NAME)) == "sss" + "amt" * 4 + "s" + "amt" * 2 + "fe"
    directory = tmp_path / "killed"
    killed(
        [*SMALL, *STRATEGIES["aging_evolution"], *words, f"hydra.run.dir={directory}"],
        PHASES["step"],
        STEPS + 2,
        tmp_path / "log",
    )
    assert kinds(journal.read(directory / journal.NAME)) == "s"
    killed(["resume", str(directory)], PHASES["score"], 3, tmp_path / "log")
    resume(directory, {})
    assert results(directory) == results(whole_run)


def test_an_elastic_network_survives_kills(tmp_path: Path) -> None:
    words = [*SMALL[5:], *STRATEGIES["aging_evolution"], "search_space=staged_cnn", "search_space.max_stages=2"]
    words += ["search_space.max_width=8", "search_space.max_repeats=2", "constraints.parameters=3000", "trials=7"]
    words += ["evaluator.sampling=sandwich", "evaluator.distil=inplace", "evaluator.statistics=recalibrated"]
    words += ["evaluator.warm_up_epochs=1"]
    made_run(tmp_path / "whole", "evaluator=supernet", *words)
    directory = tmp_path / "killed"
    words = ["evaluator=supernet", *words, f"hydra.run.dir={directory}"]
    killed(words, PHASES["step"], STEPS + 2, tmp_path / "log")
    assert kinds(journal.read(directory / journal.NAME)) == "s"
    resume(directory, {})
    assert results(directory) == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_controller_and_its_shared_weights_survive_many_kills(tmp_path: Path) -> None:
    expected = results(whole("reinforce", tmp_path / "whole"))
    assert "strategy.json" in expected
    directory = tmp_path / "killed"
    log = tmp_path / "log"
    killed([*SMALL, *STRATEGIES["reinforce"], f"hydra.run.dir={directory}"], PHASES["step"], 3, log)
    for phase, after in (("step", STEPS + 1), ("score", 2), ("save", 1), ("score", 3), ("step", 2)):
        killed(["resume", str(directory)], PHASES[phase], after, log)
    resume(directory, {})
    assert results(directory) == expected


def test_a_run_can_be_extended_and_misses_its_weights(tmp_path: Path) -> None:
    directory = whole("aging_evolution", tmp_path / "run", "trials=6")
    resume(directory, {"trials": 10})
    events = journal.read(directory / journal.NAME)
    assert kinds(events) == "s" + "amt" * 4 + "s" + "amt" * 2 + "fer" + "amt" * 2 + "s" + "amt" * 2 + "fe"
    for path in (directory / "shared").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="the shared weights that the journal names are missing"):
        resume(directory, {"trials": 12})
    assert not any((directory / "shared").iterdir())


def test_weights_that_overflow_end_the_run_in_a_line(tmp_path: Path) -> None:
    words = ("evaluator.lr=1e30", "evaluator.clip_norm=null", "trials=4")
    with pytest.raises(TrainingError, match=r"^shared weights: the training loss became (nan|inf) in epoch 1$"):
        whole("aging_evolution", tmp_path / "run", *words)
    assert kinds(journal.read(tmp_path / "run" / journal.NAME)) == ""
