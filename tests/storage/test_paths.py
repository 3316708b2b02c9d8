"""Relative paths of a stored run: where they are looked for, and which keys may be given anew."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nasrun.config.paths import path_options
from nasrun.core.options import IsPath, paths
from nasrun.evaluators.table import Table
from nasrun.spaces.training_recipe.space import TrainingRecipe
from nasrun.storage.events import RunStarted
from nasrun.storage.paths import find_paths, header_entry, movable, whole_path
from nasrun.strategies.asnn.strategy import Asnn
from tests.support import setup_of, strategy_setup


def test_the_annotations_say_which_options_are_paths() -> None:
    assert paths(TrainingRecipe) == {"run": IsPath()}
    assert paths(Asnn)["table"].names == ("two_layer", "three_layer")
    assert "nasbench201" in paths(Table)["table"].names
    setup = setup_of("dataset=fashion_mnist", "dataset.root=data")
    assert path_options(setup.config) == {"dataset.root": "data"}
    assert path_options(setup_of("dataset=mnist").config) == {"dataset.root": None}
    assert path_options(strategy_setup("asnn", "strategy.table=two_layer").config) == {}
    table = setup_of("search_space=nasbench201", "evaluator=table", "dataset=cifar10", "evaluator.table=nasbench201")
    assert path_options(table.config) == {"dataset.root": None}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a run directory in it, which is the working directory."""
    (tmp_path / "project" / "photos").mkdir(parents=True)
    (tmp_path / "project" / "outputs" / "run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def found(directory: Path, header: RunStarted, path: str = "photos") -> str:
    config = OmegaConf.create({"dataset": {"path": path}})
    return str(find_paths(config, header, directory).dataset.path)


def test_a_relative_path_is_found_from_anywhere(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = project / "outputs" / "run"
    header = RunStarted(paths=header_entry({"dataset.path": "photos"}, Path("outputs/run")))
    assert header.paths == {"given": {"dataset.path": "photos"}, "folder": str(project), "from_run": "../.."}
    assert found(directory, header) == "photos"
    monkeypatch.chdir(tmp_path)
    assert found(directory, header) == found(Path("project/outputs/run"), header) == str(project / "photos")
    # Through a link to the folder of runs, which is elsewhere in truth.
    (tmp_path / "scratch").mkdir()
    (project / "outputs" / "run").rename(tmp_path / "scratch" / "run")
    (project / "outputs").rmdir()
    (project / "outputs").symlink_to(tmp_path / "scratch")
    assert found(directory, header) == str(project / "photos")
    assert found(tmp_path / "scratch" / "run", header) == str(project / "photos"), "the folder as it was recorded"
    project.rename(tmp_path / "renamed")
    assert found(tmp_path / "renamed" / "outputs" / "run", header) == str(tmp_path / "renamed" / "photos")
    assert found(tmp_path / "scratch" / "run", header) == "photos", "nowhere: left as it is"


@pytest.mark.parametrize("path", ["/somewhere/photos", "~/photos"])
def test_a_path_that_is_whole_stays(path: str, project: Path) -> None:
    header = RunStarted(paths=header_entry({"dataset.path": path}, Path("outputs/run")))
    assert header.paths == {"given": {"dataset.path": path}}, "nothing of the machine"
    assert found(project / "outputs" / "run", header, path) == path
    assert whole_path(path) == path
    assert whole_path("photos") == os.path.join(project, "photos")  # noqa: PTH118
    assert whole_path(None) is None


def test_what_may_be_given_anew_is_what_is_compared() -> None:
    given = {"dataset.path": "a", "evaluator.table": "b", "search_space.run": "c", "strategy.table": "d"}
    assert movable(RunStarted(paths={"given": given}, data={})) == ("dataset.path", "evaluator.table")
    assert movable(RunStarted(paths={"given": given})) == ()
    assert movable(RunStarted()) == ()
