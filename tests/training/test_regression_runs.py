"""Runs on a regression data set: which way is better, what is refused, and what tables, summary and console say."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Job, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.storage import journal
from tests.support import setup_of
from tests.training.auto_encoders import smooth

ROOT = Path(__file__).resolve().parents[2]
SPACE_YAML = "# Small auto-encoders\n_target_: tests.training.auto_encoders.AutoEncoders\n"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("picture") / "picture.npy"
    np.save(path, smooth())
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of YAML files with the space of these tests in it."""
    (tmp_path / "conf" / "search_space").mkdir(parents=True)
    (tmp_path / "conf" / "search_space" / "auto_encoders.yaml").write_text(SPACE_YAML)
    return tmp_path / "conf"


WORDS = (
    "search_space=auto_encoders dataset=gap_filling dataset.size=16 dataset.region=40 dataset.patches=null "
    "evaluator.epochs=2 evaluator.batch_size=16 evaluator.final_epochs=2 hardware=cpu hardware.threads=1 "
    "hardware.precision=fp32 trials=5 strategy=random deduplicate=never"
)


def gap_setup(folder: Path, picture: str, *words: str) -> Setup:
    return build(task_config(compose_config([*WORDS.split(), f"dataset.path={picture}", *words], str(folder))))


def test_the_objective_follows_the_task(folder: Path, picture: str) -> None:
    assert gap_setup(folder, picture).objective == Objective("val_loss", "min")
    assert gap_setup(folder, picture, "objective.metric=val_loss_whole").objective == Objective("val_loss_whole", "min")
    assert gap_setup(folder, picture, "objective.mode=max").objective == Objective("val_loss", "max")
    assert setup_of().objective == Objective("val_accuracy", "max")
    assert setup_of("objective.metric=parameters").objective == Objective("parameters", "min")
    assert setup_of("objective.metric=val_accuracy", "objective.mode=min").objective == Objective("val_accuracy", "min")
    with pytest.raises(ConfigError, match=r"^objective\.metric=val_accuracy: not reported by this evaluator; [^\n]*$"):
        gap_setup(folder, picture, "objective.metric=val_accuracy")


def test_what_does_not_go_with_regression_is_refused_in_a_line(folder: Path, picture: str) -> None:
    words = r"^dataset=gap_filling: is for regression, but SequentialCNN builds networks for classification alone; "
    with pytest.raises(ConfigError, match=words):
        gap_setup(folder, picture, "search_space=sequential_cnn")
    with pytest.raises(ConfigError, match=r"^evaluator\.label_smoothing=0\.1: is for classification; "):
        gap_setup(folder, picture, "evaluator.label_smoothing=0.1")


def test_a_network_that_gives_no_picture_fails_with_the_reason(folder: Path, picture: str) -> None:
    setup = gap_setup(folder, picture)
    setup.evaluator.prepare()
    space: Any = setup.space
    space.build = lambda genome, task: nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    jobs = [Job(Trial(number, Proposal((4, 3))), 0, number) for number in range(2)]
    for measurement in setup.evaluator.evaluate(jobs):
        assert measurement.status == "failed"
        assert measurement.error == (
            "ValueError: the network's output is 2, and must be 2 x 16 x 16 as the targets are"
        )


def test_a_dry_run_says_what_comes_out(folder: Path, picture: str, nasrun: Callable[..., Any]) -> None:
    command = f"--config-dir {folder} {WORDS} dataset.path={picture} dry_run=true"
    done = nasrun(command, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "gap_filling: 3 x 16 x 16 to 2 x 16 x 16" in done.stdout


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_from_the_command_line_to_its_tables(
    folder: Path, tmp_path: Path, picture: str, nasrun: Callable[..., Any]
) -> None:
    command = f"--config-dir {folder} {WORDS} dataset.path={picture} output.console=plain hydra.run.dir=run"
    done = nasrun(command, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    trials = rows(tmp_path / "run" / "trials.csv")
    assert list(trials[0])[3:7] == ["val_loss", "val_loss_std", "train_loss", "val_loss_whole"]
    assert not any("accuracy" in name for name in trials[0])
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    losses = [float(trial["val_loss"]) for trial in trials]
    assert best["trial"] == losses.index(min(losses))
    assert set(best["final"]) == {"test_loss", "test_loss_whole"}
    assert {"val_loss", "val_loss_whole", "train_loss"} <= set(rows(tmp_path / "run" / "history.csv")[0])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["objective"] == {"metric": "val_loss", "mode": "min"}
    drawn = {trial["genome"]: float(trial["val_loss"]) for trial in reversed(trials)}  # once each, the first counts
    assert summary["improvement_over_sample_mean"] == pytest.approx(np.mean([*drawn.values()]) - min(losses))
    assert {path.stem for path in (tmp_path / "run" / "plots").iterdir()} >= {"incumbent", "learning_curves"}
    assert f"val_loss {losses[0]:.4f}" in done.stdout
    assert f"best {min(losses):.4f}" in done.stdout
    assert f"test_loss_whole  {best['final']['test_loss_whole']:.4f}" in done.stdout

    # The same again, stopped half-way: the journal is cut, and the run goes on to the same tables.
    before = {name: (tmp_path / "run" / name).read_text() for name in ("genomes.txt", "best.json")}
    path = tmp_path / "run" / journal.NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    again = nasrun("resume run", PYTHONPATH=str(ROOT), NASRUN_ALLOW="tests.training")
    assert again.returncode == 0, again.stderr
    assert {name: (tmp_path / "run" / name).read_text() for name in before} == before
    assert [float(trial["val_loss"]) for trial in rows(tmp_path / "run" / "trials.csv")] == losses
