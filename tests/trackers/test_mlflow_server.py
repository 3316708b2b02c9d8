"""A server of MLflow's gets the history of a run where the user names it, and never because a run directory does."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip("mlflow", reason="checked by the contract test: refused in one line")
pytest.importorskip("flask_cors", reason="needed by MLflow's server: nasrun[test]")

from tests.trackers.reading import empty_store

FAST = "strategy=random evaluator=synthetic dataset=synthetic output.plots=false output.console=plain"

Command = Callable[[str], Any]
SERVE = """
import sys
from mlflow.server import app
from werkzeug.serving import run_simple

run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
"""
"""MLflow's server, without the parts of it that need more than `mlflow-skinny` and Flask."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of MLflow's on this machine."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store(), folder / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # As `mlflow server --backend-store-uri ... --artifacts-destination ...` does for the processes that it starts.
    place = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    words = [sys.executable, "-c", SERVE, str(port)]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(words, env={**os.environ, **place}, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    """Whether a server answers at an address."""
    try:
        with urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Found:
    """The run of a name on a server: `run`, the numbers of its trials in the order of their arrival, its files."""

    def __init__(self, server: str, name: str) -> None:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=server)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        (self.run,) = client.search_runs(experiments, f"attributes.run_name = '{name}'")
        self.trials = [metric.step for metric in client.get_metric_history(self.run.info.run_id, "trial/ok")]
        self.files = {file.path for file in client.list_artifacts(self.run.info.run_id)}
        self.experiment = client.get_experiment(self.run.info.experiment_id).name


def test_a_server_has_what_a_local_store_has(server: str, nasrun_inprocess: Command, tmp_path: Path) -> None:
    done = nasrun_inprocess(f"{FAST} tracker=mlflow tracker.uri={server} trials=3 hydra.run.dir=sent")
    assert (done.returncode, done.stderr) == (0, "")
    assert "disabled" not in done.stdout
    found = Found(server, "sent")
    assert found.trials == [0, 1, 2]
    assert found.run.info.status == "FINISHED"
    assert {"trials.csv", "best.json", "summary.json"} <= found.files
    assert found.run.data.params["evaluator.noise"] == "0.01"
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlflow_artifacts").exists()


def test_a_server_is_told_of_a_resumed_run_only_if_it_is_named_again(
    server: str, nasrun_inprocess: Command, tmp_path: Path
) -> None:
    key = f"tracker.mlflow.uri={server}"
    assert nasrun_inprocess(f"{FAST} tracker=mlflow {key} trials=3 hydra.run.dir=twice").returncode == 0
    before = (tmp_path / "twice" / "journal.jsonl").read_bytes()
    refused = nasrun_inprocess("resume twice trials=5")
    assert refused.returncode == 2
    assert refused.stderr == (
        f"nasrun: {key}: was chosen by the run directory, not by you; to report to it: nasrun resume twice {key}, "
        "to no one: nasrun resume twice tracker=csv\n"
    )
    assert (tmp_path / "twice" / "journal.jsonl").read_bytes() == before
    assert nasrun_inprocess("report twice").returncode == 0
    assert Found(server, "twice").trials == [0, 1, 2]
    done = nasrun_inprocess("resume twice trials=5 tracker=csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert Found(server, "twice").trials == [0, 1, 2]
    done = nasrun_inprocess(f"resume twice trials=6 tracker=mlflow tracker.uri={server}")
    assert (done.returncode, done.stderr) == (0, "")
    assert Found(server, "twice").trials == [0, 1, 2, 3, 4, 5]
    done = nasrun_inprocess(f"resume twice trials=7 {key}")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(Found(server, "twice").trials) == list(range(7))


def test_a_sweep_started_again_names_the_server_again(server: str, nasrun_inprocess: Command) -> None:
    command = (
        f"-m {FAST} tracker=[tensorboard,mlflow] tracker.mlflow.uri={server} trials=3 seed=0,1 resume=true "
        "hydra.sweep.dir=day/sent"
    )
    for _ in range(2):
        done = nasrun_inprocess(command)
        assert (done.returncode, done.stderr) == (0, "")
    for seed in (0, 1):
        found = Found(server, f"{seed}_random_synthetic_seed{seed}")
        assert (found.trials, found.experiment) == ([0, 1, 2], "day/sent")


def test_a_program_that_calls_again_names_the_server_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nasrun

    monkeypatch.chdir(tmp_path)
    words = [*FAST.split(), "tracker=mlflow", f"tracker.uri={server}", "trials=3", "resume=true"]
    for _ in range(2):
        nasrun.run(words, directory="called")
    assert Found(server, "called").trials == [0, 1, 2]
    with pytest.raises(nasrun.ConfigError, match="was chosen by the run directory"):
        nasrun.resume("called", ["trials=5"])


def test_a_server_that_does_not_answer_is_said_and_the_run_goes_on(
    nasrun_inprocess: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as holder:  # nobody listens
        holder.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{holder.getsockname()[1]}"
        chosen = f"tracker=[tensorboard,mlflow] tracker.mlflow.uri={address}"
        done = nasrun_inprocess(f"{FAST} {chosen} trials=3 hydra.run.dir=run")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [line for line in done.stdout.splitlines() if "disabled" in line]
    assert "tracker mlflow failed and is disabled; the run continues (MlflowException: " in line
    assert (tmp_path / "run" / "best.json").is_file()
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://user:secret@host:5000", "would be stored with its password; set that in the environment as"),
        ("http://", "neither a local store nor a server; expected sqlite:///FILE or http://HOST:PORT"),
        ("http://host:port", "neither a local store nor a server; expected sqlite:///FILE or http://HOST:PORT"),
        ("databricks", "neither a local store nor a server; expected sqlite:///FILE or http://HOST:PORT"),
        ("sqlite:///", "names no file; expected sqlite:///FILE"),
        ("sqlite:///what?.db", "? ends the file name; write %3F if it is part of the name"),
    ],
)
def test_addresses_that_are_none_are_refused(uri: str, reason: str, nasrun_inprocess: Command, tmp_path: Path) -> None:
    done = nasrun_inprocess(f"{FAST} tracker=mlflow \"tracker.mlflow.uri='{uri}'\"")
    assert done.returncode == 2
    assert done.stderr.startswith("nasrun: tracker.mlflow.uri=")
    assert reason in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
