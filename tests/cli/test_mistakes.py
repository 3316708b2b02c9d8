"""Mistakes in a command, and the one-line answer to each.

Every answer: exit code 2, one line on stderr, nothing on stdout, nothing created or changed.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.core.config_files import GROUPS, conf_dir
from tests.cli.mistakes import AS_COMMAND, FLAGS, IN_FOLDERS, KEYS, OPTIONS, SWEEPS, VALUES
from tests.cli.refusals import assert_one_line, check_refused, snapshot


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of six trials, in the default population of eight."""
    from omegaconf import OmegaConf

    from nasrun.config.compose import compose_config, task_config
    from nasrun.runner.run import start

    directory = tmp_path_factory.mktemp("mistakes") / "run"
    words = ["evaluator=synthetic", "trials=6", "output.plots=false", "output.console=none"]
    config = task_config(compose_config(words))
    assert OmegaConf.select(config, "strategy.population") == 8
    start(config, directory, unique=False)
    return directory


def words(row: tuple[str, ...]) -> str:
    return row[0][:60]


@pytest.mark.parametrize("row", [*KEYS, *OPTIONS, *VALUES, *FLAGS, *SWEEPS], ids=words)
def test_mistake_gets_one_line(row: tuple[str, ...], nasrun_inprocess: Callable, tmp_path: Path) -> None:
    check_refused(row, tmp_path, nasrun_inprocess)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", IN_FOLDERS, ids=words)
def test_mistake_about_a_folder_gets_one_line(
    row: tuple[str, ...],
    nasrun_inprocess: Callable,
    tmp_path: Path,
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    files = {
        "full/file": "",
        "mine/strategy/gone.yaml": "_target_: gone_away.Strategy\n",
        "mine/strategy/broken.yaml": "_target_: broken_module.Strategy\n",
        "mine/broken_module.py": "raise RuntimeError('no good')\n",
        "mine/experiment/typo.yaml": "# @package _global_\nevaluator:\n  epoch: 3\n",
        "mine/experiment/sweep.yaml": "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      seed: 0,abc\n",
        "mine/experiment/damaged.yaml": "# @package _global_\ntrials: [\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    check_refused(row, tmp_path, nasrun_inprocess)


def test_working_folder_is_not_replaced_by_a_run(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    answer = nasrun_inprocess("evaluator=synthetic hydra.run.dir=.")
    assert_one_line(answer, ("hydra.run.dir=.: the folder that nasrun is run in; choose another",))
    assert snapshot(tmp_path) == {}


def test_folder_that_was_there_stays_when_its_run_never_begins(nasrun_inprocess: Callable, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    answer = nasrun_inprocess("dataset=arrays dataset.path=gone.npz hydra.run.dir=kept/a/b")
    assert_one_line(answer, ("dataset.path=gone.npz: no such file",))
    assert snapshot(tmp_path) == {"kept": None}


@pytest.mark.parametrize("row", AS_COMMAND, ids=words)
def test_installed_command_answers_alike(row: tuple[str, ...], nasrun: Callable, tmp_path: Path) -> None:
    assert_one_line(nasrun(row[0], CUDA_VISIBLE_DEVICES=""), row[1:])
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("group", [*GROUPS, "experiment"])
def test_every_group_knows_the_nearest_option(group: str, nasrun_inprocess: Callable) -> None:
    option = min(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    answer = nasrun_inprocess(f"{group}={option}q")
    assert_one_line(answer, (f"{group}={option}q: no such option; did you mean {option!r}?",))


def test_debug_adds_the_traceback(nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess("trials=-1 debug=true")
    assert answer.returncode == 2
    assert answer.stderr.startswith("Traceback")
    assert answer.stderr.endswith("nasrun: trials=-1: must be at least 1\n")
