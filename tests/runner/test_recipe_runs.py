"""Runs under a recipe that the data choose: said, recorded, and the same when they are killed and resumed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.core.options import ConfigError
from nasrun.runner.resume import changes_of
from nasrun.runner.run import resume
from nasrun.storage import journal
from tests.evaluators.conftest import SMALL
from tests.support import made_run

WORDS = (
    "search_space=sequential_cnn",
    *SMALL,
    "dataset=synthetic",
    "strategy=random",
    "trials=3",
    "recipe=auto",
    "evaluator.ema=0.9",
    "evaluator.mixup=0.2",
    "evaluator.cutout=2",
    "evaluator.class_weights=balanced",
    "evaluator.final_epochs=2",
    "output.plots=false",
    "output.console=none",
)


def made(directory: Path, *words: str) -> Path:
    return made_run(directory, *WORDS, *words)


def without_times(directory: Path) -> dict[str, object]:
    """The results of a run: its tables without the columns of time, and its weights, if any."""
    found: dict[str, object] = {}
    for name in ("trials.csv", "history.csv", "measurements.csv"):
        rows = [line.split(",") for line in (directory / name).read_text().splitlines()]
        drop = rows[0].index("seconds")
        found[name] = [row[:drop] + row[drop + 1 :] for row in rows]
    for name in ("best/model.safetensors", "genomes.txt"):
        found[name] = (directory / name).read_bytes() if (directory / name).exists() else None
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return made(tmp_path_factory.mktemp("recipe") / "run")


def test_the_choice_is_recorded(whole: Path) -> None:
    header = journal.read(whole / journal.NAME)[0]
    recipe = header["facts"]["recipe"]
    assert recipe["name"] == "tiny_data"
    assert "140 training images of 8 x 8" in recipe["reason"]
    assert json.loads((whole / "environment.json").read_text())["recipe"] == recipe
    assert not {"ema", "mixup", "cutout"} & set(recipe["settings"])


@pytest.mark.parametrize("lines", [1, 2, 4, -1])
def test_a_killed_and_resumed_run_is_the_one_that_was_not(whole: Path, tmp_path: Path, lines: int) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    (tmp_path / "run" / "best" / "model.safetensors").unlink()
    resume(tmp_path / "run", {})
    # With the final training in the journal its weights are not made again.
    expected = without_times(whole) | ({"best/model.safetensors": None} if lines == -1 else {})
    assert without_times(tmp_path / "run") == expected


def test_workers_train_by_the_same_choice(whole: Path, tmp_path: Path) -> None:
    made(tmp_path / "run", "hardware.workers=2", "hardware.in_flight=1")
    assert without_times(tmp_path / "run") == without_times(whole)


def test_a_resume_may_not_change_the_recipe(whole: Path) -> None:
    for key in ("recipe.lr", "evaluator.lr"):
        with pytest.raises(ConfigError, match=rf"^{key}=0\.1: would change the search"):
            resume(whole, {key: 0.1})


def test_a_sweep_that_is_started_again_goes_on(whole: Path, tmp_path: Path) -> None:
    # What the data decided is in the record, not in the config: the same words say the same.
    shutil.copytree(whole, tmp_path / "run")
    changes = changes_of(tmp_path / "run", task_config(compose_config([*WORDS, "resume=true"])))
    assert changes == {}
    resume(tmp_path / "run", changes)
    assert without_times(tmp_path / "run") == without_times(whole)


def test_the_choice_is_said(tmp_path: Path, nasrun: Callable) -> None:
    words = " ".join(WORDS).replace("output.console=none", "output.console=plain")
    done = nasrun(f"{words} trials=1 hydra.run.dir=run", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if "recipe tiny_data" in line]
    assert len(said) == 1
    assert "140 training images of 8 x 8; not mirrored: known of synthetic; optimizer=sgd lr=0.3" in said[0]
    again = nasrun(f"{words} dry_run=true", OMP_NUM_THREADS="1")
    assert "recipe tiny_data" in again.stdout
