"""Tracker `mlflow`: a local MLflow store or an MLflow server. Needs mlflow, or mlflow-skinny with SQLAlchemy
(`nasrun[mlflow]`)."""

import importlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock

from nasrun.core.options import NotEmpty
from nasrun.trackers.base import FILES, TrackedRun, TrackedTrial, Tracker, require

T = TypeVar("T")

SQLITE = "sqlite:///"
STORE, ARTIFACTS = "mlflow.db", "mlflow_artifacts"
LOCK_SECONDS = 300
"""Seconds to wait for another run of the sweep to create the store."""

MOST_METRICS, MOST_PARAMETERS, LONGEST = 1000, 100, 500
"""Limits of an MLflow request, and the length of a value that every version accepts."""

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Timeout in seconds and number of retries for a server, unless set in the environment; the search waits for it. With
MLflow's defaults an unreachable server would block for a quarter of an hour."""

MARK = "trial/ok"
"""A metric of every trial, including failed ones. It is written in one transaction with the others, so its presence
proves that the trial is stored."""


class MLflow(Tracker):
    """Writes a run as an MLflow run whose steps are the trials; thousands of nested runs would be unusable.

    The runs of a sweep form an experiment. Files (tables, best network, plots) are stored at the end. A resumed run is
    identified by its tag `nasrun.id`, and missing trials are added.
    """

    def __init__(self, *, uri: str | None = None, experiment: Annotated[str, NotEmpty()] | None = None) -> None:
        """ValueError: `uri` is neither an SQLite file nor a server. ConfigError: no MLflow."""
        self._server = uri is not None and not uri.startswith(SQLITE)
        if uri is not None:
            _check_server(uri) if self._server else _check_file(uri)
        require("mlflow", "mlflow", *(() if self._server else ("sqlalchemy", "alembic")))
        self._uri, self._experiment = uri, experiment
        self._client: Any = None
        self._entities: Any = None
        self._run: TrackedRun
        self._id = ""
        self._status = "KILLED"

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        self._run = run
        experiment = self._open(self._experiment or run.sweep or "nasrun")
        self._entities = importlib.import_module("mlflow.entities")
        found = self._client.search_runs([experiment], f"tags.`nasrun.id` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            there = {metric.step for metric in self._client.get_metric_history(self._id, MARK)}
        else:
            tags = {f"nasrun.{name}": value for name, value in {"id": run.id, **run.tags}.items()}
            tags |= {"mlflow.source.type": "LOCAL", "mlflow.source.name": "nasrun"}
            made = self._client.create_run(experiment, int(run.started * 1000), tags=tags, run_name=run.name)
            self._id, there = made.info.run_id, set()
        known = self._client.get_run(self._id).data.params
        parameters = [
            self._entities.Param(name, str(value)[:LONGEST]) for name, value in run.config.items() if name not in known
        ]
        for some in _parts(parameters, MOST_PARAMETERS):
            self._client.log_batch(self._id, params=some)
        self.log([trial for trial in trials if trial.number not in there])

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        batch: list[Any] = []
        for trial in trials:
            when = int(trial.time * 1000)
            metrics = [self._entities.Metric(name, value, when, trial.number) for name, value in trial.values.items()]
            if len(batch) + len(metrics) > MOST_METRICS:
                self._client.log_batch(self._id, metrics=batch)
                batch = []
            batch += metrics
        if batch:
            self._client.log_batch(self._id, metrics=batch)
        best = next((trial for trial in reversed(trials) if trial.improved), None)
        if best is not None:
            self._client.set_tag(self._id, "nasrun.best_trial", str(best.number))
            self._client.set_tag(self._id, "nasrun.best_genome", best.genome[:LONGEST])

    def finish(self, summary: Mapping[str, Any]) -> None:
        for name, value in summary["final"].items():
            if isinstance(value, int | float):
                self._client.log_metric(self._id, f"final/{name}", float(value), step=0)
        for name in FILES:
            if (self._run.directory / name).is_file():
                self._client.log_artifact(self._id, str(self._run.directory / name))
        for name in ("best", "plots"):
            if (self._run.directory / name).is_dir():
                self._client.log_artifacts(self._id, str(self._run.directory / name), name)
        self._status = "FINISHED"

    def close(self) -> None:
        if self._id:
            self._client.set_terminated(self._id, self._status)

    def _open(self, experiment: str) -> str:
        """Connect to the server, or open the store and create it if needed; return the id of an experiment."""
        if self._server:
            assert self._uri is not None
            self._client = client_of(self._uri)
            return self._experiment_id(experiment, None)
        store = self._run.folder / STORE if self._uri is None else _file(self._uri)
        store.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(store.with_name(f".{store.name}.lock"), timeout=LOCK_SECONDS):
            # Two processes of a sweep that create the same store at once would both fail.
            uri = _uri(store)
            self._client = client_of(uri)
            made = self._experiment_id(experiment, (store.parent / ARTIFACTS).as_uri())
            _remove_stray(Path(uri.removeprefix(SQLITE)).parent, store)
            return made

    def _experiment_id(self, name: str, artifacts: str | None) -> str:
        """The experiment with a name, created if needed; its files are stored in `artifacts`, or where the server
        decides."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifacts))
            except importlib.import_module("mlflow.exceptions").MlflowException:
                found = self._client.get_experiment_by_name(name)  # created by another run of the sweep in the meantime
                if found is None:
                    raise
        return str(found.experiment_id)


def client_of(uri: str) -> Any:
    """MLflow's client of a store (`sqlite:///FILE`) or of a server, with MLflow imported, silent, and as patient as
    `PATIENCE` says."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    module = importlib.import_module("mlflow")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return module.MlflowClient(tracking_uri=uri)


def _check_file(uri: str) -> None:
    """ValueError unless the URI names a file."""
    path, _, query = uri.partition("?")
    if path == SQLITE:
        raise ValueError(f"uri={uri}: names no file; expected {SQLITE}FILE")
    if query:
        raise ValueError(f"uri={uri}: ? ends the file name; write %3F if it is part of the name")


def _check_server(uri: str) -> None:
    """ValueError unless the URI is a server without password, which would be stored with the run."""
    try:
        parts = urlsplit(uri)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"uri={uri}: neither a local store nor a server; expected {SQLITE}FILE or http://HOST:PORT")
    if "@" in parts.netloc:
        raise ValueError(
            f"uri={parts.scheme}://...@{parts.hostname}: would be stored with its password; set that in the "
            "environment as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )


def _file(uri: str) -> Path:
    """The file named by a URI, as MLflow interprets it."""
    return Path(importlib.import_module("sqlalchemy").make_url(uri).database).absolute()


def _uri(file: Path) -> str:
    """The URI of a file with any characters in its name."""
    uri: str = importlib.import_module("sqlalchemy").URL.create("sqlite", database=str(file)).render_as_string()
    return uri


def _remove_stray(folder: Path, store: Path) -> None:
    """Remove empty folders that MLflow creates from the undecoded URI, with %25 for %."""
    for stray in (folder, *folder.parents):
        if stray in store.parents or not stray.is_dir() or any(stray.iterdir()):
            return
        stray.rmdir()


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]
