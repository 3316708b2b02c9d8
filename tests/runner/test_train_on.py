"""A finished run is continued: its winner trained longer, by patience, and as the beginning of other networks."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nasrun.core import Job, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.evaluators.train.evaluator import Train
from nasrun.evaluators.train.final import measure_winner
from nasrun.evaluators.train.initial import head_of
from nasrun.runner.run import resume
from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.support import made_run, setup_of

SHORT = (
    "search_space=staged_cnn",
    "constraints.parameters=4000",
    "recipe=plain",
    "trials=1",
    "strategy=aging_evolution",
    "dataset=synthetic",
    "dataset.samples=200",
    "dataset.height=8",
    "dataset.width=8",
    "evaluator=train",
    "evaluator.epochs=1",
    "evaluator.final_epochs=2",
    "evaluator.batch_size=32",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=fp32",
    "output.console=none",
    "output.plots=false",
)
WEIGHTS = Path("best", "model.safetensors")


def ran(directory: Path, *words: str) -> Path:
    return made_run(directory, *SHORT, *words)


def finals(directory: Path) -> list[Line]:
    return [event for event in journal.read(directory / journal.NAME) if event["event"] == "final"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("train_on") / "run")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_the_winner_is_trained_longer_from_its_weights(copy: Path, run: Path) -> None:
    resume(copy, {"evaluator.final_epochs": 5})
    first, second = finals(copy)
    assert first == finals(run)[0]
    assert [row["epoch"] for row in second["history"]] == [3, 4, 5]
    assert second["final_epochs"] == 5
    assert "after 2 before these" in second["trained_on"]
    assert second["history"][0]["train_loss"] < first["history"][0]["train_loss"]
    assert (copy / WEIGHTS).read_bytes() != (run / WEIGHTS).read_bytes()
    assert json.loads((copy / "best.json").read_text())["final"] == second["metrics"]
    assert sorted(path.name for path in (copy / "best").iterdir()) == [
        "model.safetensors",
        "test_predictions.safetensors",
    ]
    resume(copy, {})  # nothing is left to do
    assert len(finals(copy)) == 2


@pytest.mark.parametrize("stop", ["before it is tested", "before it is on record"])
def test_one_that_was_cut_short_comes_to_the_same(
    stop: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(copy, whole)
    resume(whole, {"evaluator.final_epochs": 4})

    def stopped(*arguments: Any) -> Any:
        if stop == "before it is on record":
            measure_winner(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("nasrun.evaluators.train.evaluator.measure_winner", stopped)
    with pytest.raises(KeyboardInterrupt):
        resume(copy, {"evaluator.final_epochs": 4})
    monkeypatch.undo()
    resume(copy, {})
    assert (copy / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert finals(copy)[-1]["metrics"] == finals(whole)[-1]["metrics"]


@pytest.mark.parametrize("epochs", [1, None])
def test_fewer_epochs_than_there_are_make_no_sense(epochs: int | None, copy: Path) -> None:
    with pytest.raises(ConfigError, match="must be > 2, the winner's epochs so far"):
        resume(copy, {"evaluator.final_epochs": epochs})
    assert len(finals(copy)) == 1


def test_a_run_without_a_final_training_can_be_given_one(tmp_path: Path) -> None:
    tested = ran(tmp_path / "run", "evaluator.final_epochs=null")
    assert finals(tested)[0]["trained_on"] == "the search's weights"
    resume(tested, {"evaluator.final_epochs": 2})
    assert finals(tested)[1]["trained_on"] == "2 epochs on all the training data"


def test_patience_ends_the_final_training_where_a_validation_part_is_kept(tmp_path: Path) -> None:
    words = ("evaluator.patience=1", "evaluator.final_epochs=40", "evaluator.lr=0.05")
    early = finals(ran(tmp_path / "early", *words, "evaluator.final_data=train"))[0]
    assert len(early["history"]) < 40
    assert "val_accuracy" in early["history"][0]
    best = max(early["history"], key=lambda row: (row["val_accuracy"], -row["epoch"]))
    assert early["trained_on"].startswith(f"{best['epoch']} of 40 epochs on the training part")
    whole = finals(ran(tmp_path / "whole", *words[:1], "evaluator.final_epochs=3"))[0]
    assert len(whole["history"]) == 3
    assert "val_accuracy" not in whole["history"][0]


def test_networks_begin_with_the_weights_of_another(run: Path) -> None:
    genome = json.loads((run / "best.json").read_text())["genome"]
    weights = load_file(str(run / WEIGHTS))
    for classes, same in ((10, True), (4, False)):
        setup = setup_of(*SHORT, f"init={run}", f"dataset.classes={classes}")
        evaluator = setup.evaluator
        assert isinstance(evaluator, Train)
        facts = evaluator.prepare()
        assert facts["init"]["genome"] == genome
        network = evaluator.trainer.new_network(Job(Trial(0, Proposal(setup.space.parse(genome))), 0, 1))
        equal = {name for name, one in network.state_dict().items() if torch.equal(one, weights.get(name, one + 1))}
        head = {name for name in network.state_dict() if name.startswith(f"{head_of(network)}.")}
        assert head == {"output.weight", "output.bias"}
        assert equal == set(weights) - (set() if same else head)
        with pytest.raises(ConfigError, match="this run began with other weights, of another"):
            setup_of(*SHORT, f"init={run}").evaluator.prepare({**facts, "init": {"genome": "another", "sha256": "0"}})


def test_it_helps_to_begin_with_what_was_learned(run: Path, tmp_path: Path) -> None:
    genome = json.loads((run / "best.json").read_text())["genome"]
    fixed = (
        "strategy=fixed",
        f"strategy.genomes=[{genome}]",
        "evaluator.final_epochs=null",
        "dataset.train_samples=20",
    )
    new, begun = (ran(tmp_path / name, *fixed, *more) for name, more in (("new", ()), ("begun", (f"init={run}",))))
    losses = [json.loads((path / "best.json").read_text())["metrics"]["val_loss"] for path in (new, begun)]
    assert losses[1] < losses[0]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("init=nowhere",), "evaluator.init=nowhere: it has no best/model.safetensors"),
        (("init={run}", "search_space=sequential_cnn"), "its network is of StagedCNN, of which nothing fits"),
        (("init={run}", "evaluator=synthetic"), "needs evaluator=train; others load no weights"),
    ],
)
def test_what_cannot_be_begun_with_is_said(words: tuple[str, ...], reason: str, run: Path, tmp_path: Path) -> None:
    given = [word.format(run=run) for word in words]
    kept = [word for word in SHORT if "synthetic" not in given[-1] or not word.startswith("evaluator.")]
    with pytest.raises(ConfigError, match=reason):
        made_run(tmp_path / "no", *kept, *given)
    assert not (tmp_path / "no").exists()
