"""Several trackers at once: each has the whole history, and none costs another anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrun.storage.records import read_run
from nasrun.storage.run_directory import load_config
from nasrun.trackers import TrackedTrial
from nasrun.trackers.csv import Csv
from nasrun.trackers.tensorboard import TensorBoard
from tests.support import options
from tests.trackers.reading import missing, run, run_on, tracked

INSTALLED = [name for name in options("tracker") if not missing(name)]


class Failing(Csv):
    """A tracker that is told of the trials and fails at that."""

    active = True

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        raise OSError("no luck")

    def finish(self, summary: Mapping[str, Any]) -> None:
        raise AssertionError("it was left out")


def steps(tracker: str, directory: Path) -> list[int]:
    """The numbers of the trials that a tracker has, in order."""
    return [number for number, _ in tracked(tracker, directory)]


def test_each_has_every_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "run"
    run(directory, f"[{','.join(INSTALLED)}]", "trials=4")
    assert "disabled" not in capsys.readouterr().out
    for tracker in INSTALLED:
        assert steps(tracker, directory) == ([] if tracker == "csv" else [0, 1, 2, 3])


def test_one_that_fails_is_left_out_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    directory = tmp_path / "run"
    broken = "+tracker.broken={_target_: tests.trackers.test_several.Failing}"
    run(directory, "tensorboard", broken, "trials=4")
    said = [line for line in capsys.readouterr().out.splitlines() if "disabled" in line]
    assert said == ["tracker broken failed and is disabled; the run continues (OSError: no luck)"]
    assert steps("tensorboard", directory) == [0, 1, 2, 3]


def test_a_resume_adds_and_takes_away_trackers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    directory = tmp_path / "run"
    run(directory, "csv", "trials=3")
    run_on(directory, tracker=["csv", "tensorboard"], **{"tracker.tensorboard.detailed": 1})
    assert steps("tensorboard", directory) == [0, 1, 2]
    assert (directory / "tensorboard" / "trial_00000").is_dir()
    run_on(directory, trials=4)
    assert steps("tensorboard", directory) == [0, 1, 2, 3]
    run_on(directory, tracker="csv", trials=5)
    assert steps("tensorboard", directory) == [0, 1, 2, 3]
    stored = load_config(directory, read_run(directory).changes)
    assert OmegaConf.to_container(stored.tracker) == {"csv": {"_target_": f"{Csv.__module__}.Csv"}}


@pytest.mark.parametrize("key", ["tracker.detailed", "tracker.tensorboard.detailed"])
def test_a_run_of_a_version_with_one_tracker_goes_on(key: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    directory = tmp_path / "run"
    run(directory, "tensorboard", "trials=3")
    path = directory / ".hydra" / "config.yaml"
    config = OmegaConf.load(path)
    config.tracker = config.tracker.tensorboard
    assert config.tracker._target_ == f"{TensorBoard.__module__}.TensorBoard"
    OmegaConf.save(config, path)
    run_on(directory, trials=4)
    assert steps("tensorboard", directory) == [0, 1, 2, 3]
    run_on(directory, **{key: 1, "trials": 5})
    assert steps("tensorboard", directory) == [0, 1, 2, 3, 4]
    stored = load_config(directory, read_run(directory).changes)
    assert stored.tracker.tensorboard.detailed == 1
