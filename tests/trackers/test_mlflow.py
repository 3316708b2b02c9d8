"""What MLflow shows of a run, and of a sweep."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="checked by the contract test: refused in one line")

from tests.trackers.reading import empty_store, mlflow_runs, run, tracked

SWEEP = (
    "-m tracker=mlflow seed=0,1 strategy=random evaluator=synthetic dataset=synthetic trials=3 "
    "output.plots=false output.console=none hydra.sweep.dir=day/sweep"
)


def test_the_runs_of_a_sweep_are_an_experiment(nasrun_inprocess: Callable[[str], Any], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "day" / "sweep").mkdir(parents=True)
    shutil.copyfile(empty_store(), tmp_path / "day" / "sweep" / "mlflow.db")
    done = nasrun_inprocess(SWEEP)
    assert (done.returncode, done.stderr) == (0, "")
    found = sorted(mlflow_runs(tmp_path / "day" / "sweep"), key=lambda run: run.data.tags["nasrun.job"])
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'day' / 'sweep' / 'mlflow.db'}")
    assert {client.get_experiment(run.info.experiment_id).name for run in found} == {"day/sweep"}
    for number, one in enumerate(found):
        assert one.info.run_name == f"{number}_random_synthetic_seed{number}"
        assert one.info.status == "FINISHED"
        tags = {name[7:]: value for name, value in one.data.tags.items() if name.startswith("nasrun.")}
        expected = {"strategy": "random", "seed": str(number), "sweep": "day/sweep", "job": str(number)}
        assert {**tags, **expected} == tags
        assert one.data.params["seed"] == str(number)
        assert one.data.params["evaluator.noise"] == "0.01"
        assert "trials" not in one.data.params  # a resume may change it, and no parameter of MLflow's can be changed
        directory = tmp_path / "day" / "sweep" / one.info.run_name
        artifacts = Path(client.download_artifacts(one.info.run_id, ""))
        assert (artifacts / "trials.csv").read_bytes() == (directory / "trials.csv").read_bytes()
        assert (artifacts / "best.json").is_file()


ALONE = """
import sys
from pathlib import Path
from tests.support import made_run
from tests.trackers.reading import WORDS

made_run(Path(sys.argv[1]), *WORDS, "tracker=mlflow", "trials=2")
"""


def test_two_processes_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    words = [[sys.executable, "-c", ALONE, str(tmp_path / name)] for name in ("one", "other")]
    both = [subprocess.Popen(each, cwd=root, stdout=subprocess.PIPE, text=True) for each in words]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert not [text for text in said if "failed and is disabled" in text]
    assert sorted(one.info.run_name for one in mlflow_runs(tmp_path)) == ["one", "other"]


def test_thousands_of_trials_are_written_in_parts(tmp_path: Path) -> None:
    run(tmp_path / "run", "mlflow", "trials=700", "strategy=random", "tracker.mlflow.experiment=mine")
    (found,) = mlflow_runs(tmp_path)
    rows = tracked("mlflow", tmp_path / "run")
    assert [number for number, _ in rows] == list(range(700))
    assert all(len(values) == 6 for _, values in rows)
    assert found.data.tags["nasrun.best_trial"].isdigit()


def test_a_store_elsewhere_is_made_there(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copyfile(empty_store(), tmp_path / "other" / "mlflow.db")
    run(tmp_path / "run", "mlflow", "trials=2", f"tracker.mlflow.uri=sqlite:///{tmp_path / 'other' / 'mlflow.db'}")
    assert [one.info.run_name for one in mlflow_runs(tmp_path / "other")] == ["run"]
    assert mlflow_runs(tmp_path) == []


@pytest.mark.parametrize("name", ["a%20b", "what?", "one#two", "sp ace", "日本"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from sqlalchemy import URL

    (tmp_path / name).mkdir()
    run(tmp_path / name / "run", "mlflow", "trials=2")
    assert {path.name for path in tmp_path.iterdir()} == {name}
    store = URL.create("sqlite", database=str(tmp_path / name / "mlflow.db")).render_as_string()
    client = MlflowClient(tracking_uri=store)
    (found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert "trials.csv" in {file.path for file in client.list_artifacts(found.info.run_id)}
    assert (tmp_path / name / "mlflow_artifacts" / found.info.run_id / "artifacts" / "trials.csv").is_file()


def test_a_file_is_named_as_in_any_address(tmp_path: Path) -> None:
    (tmp_path / "other one").mkdir()
    shutil.copyfile(empty_store(), tmp_path / "other one" / "mlflow.db")
    run(tmp_path / "run", "mlflow", "trials=2", f"tracker.mlflow.uri='sqlite:///{tmp_path}/other%20one/mlflow.db'")
    assert [one.info.run_name for one in mlflow_runs(tmp_path / "other one")] == ["run"]
    assert mlflow_runs(tmp_path) == []
    assert not (tmp_path / "other%20one").exists()
