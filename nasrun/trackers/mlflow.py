"""Tracker `mlflow`: a local store of MLflow's. Needs mlflow, or its smaller part with SQLAlchemy (`nasrun[mlflow]`)."""

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from filelock import FileLock

from nasrun.core.options import NotEmpty
from nasrun.trackers.base import FILES, TrackedRun, TrackedTrial, Tracker, require

T = TypeVar("T")

SQLITE = "sqlite:///"
STORE, ARTIFACTS = "mlflow.db", "mlflow_artifacts"
LOCK_SECONDS = 300
"""For so long the other runs of a sweep may take to make the store."""

MOST_METRICS, MOST_PARAMETERS, LONGEST = 1000, 100, 500
"""What one request of MLflow's takes at most, and the characters of a value that every version of it takes."""

MARK = "trial/ok"
"""A metric of every trial, failed ones included. It is written in one transaction with the others, so that a trial that
has it is there."""


class MLflow(Tracker):
    """A run of nasrun is a run of MLflow; its steps are the trials, as thousands of nested runs could not be looked at.

    The runs of a sweep are an experiment. Files (tables, best network, pictures) are stored at the end. A resumed run
    is found again by its tag `nasrun.id`, and what is missing of it is added.
    """

    def __init__(self, *, uri: str | None = None, experiment: Annotated[str, NotEmpty()] | None = None) -> None:
        """ValueError: `uri` is no SQLite file. ConfigError: no MLflow."""
        if uri is not None and (not uri.startswith(SQLITE) or uri == SQLITE):
            raise ValueError(f"uri={uri}: no local store; expected {SQLITE}FILE")
        require("mlflow", "mlflow", "sqlalchemy", "alembic")
        self._uri, self._experiment = uri, experiment
        self._client: Any = None
        self._entities: Any = None
        self._run: TrackedRun
        self._id = ""
        self._status = "KILLED"

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        self._run = run
        store = run.folder / STORE if self._uri is None else Path(self._uri.removeprefix(SQLITE)).absolute()
        store.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(store.with_name(f".{store.name}.lock"), timeout=LOCK_SECONDS):
            # Two processes of a sweep that make the same store at once would both fail.
            self._load(f"{SQLITE}{store}")
            experiment = self._experiment_id(self._experiment or run.sweep or "nasrun", store.parent / ARTIFACTS)
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

    def _load(self, uri: str) -> None:
        """Import MLflow, silent, and open the store, which is made where there is none."""
        module = importlib.import_module("mlflow")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._entities = importlib.import_module("mlflow.entities")
        self._client = module.MlflowClient(tracking_uri=uri)

    def _experiment_id(self, name: str, artifacts: Path) -> str:
        """The experiment of a name, made where there is none."""
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name, artifacts.as_uri()) if found is None else found.experiment_id)


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]
