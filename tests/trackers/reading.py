"""Small tracked runs, and what their trackers wrote, read back with the trackers' own libraries."""

import atexit
import importlib.util
import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nasrun.config.compose import compose_config, task_config
from nasrun.runner.run import resume, start

LIBRARIES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
"""The library that a tracker needs."""

WORDS = (
    "search_space=sequential_cnn",
    "recipe=plain",
    "evaluator=synthetic",
    "dataset=synthetic",
    "output.console=plain",
    "output.plots=false",
)

Rows = list[tuple[int, dict[str, float]]]
"""What was tracked of each trial, in the order in which it was written; a trial written twice is there twice."""


def missing(tracker: str) -> bool:
    """Whether the library of a tracker is not installed."""
    return tracker in LIBRARIES and importlib.util.find_spec(LIBRARIES[tracker]) is None


def run(directory: Path, tracker: str, *overrides: str, **more: Any) -> dict[str, Any]:
    """A small run in this process; returns its summary."""
    if tracker == "mlflow" and not (directory.parent / "mlflow.db").exists():
        shutil.copyfile(empty_store(), directory.parent / "mlflow.db")
    config = task_config(compose_config([*WORDS, f"tracker={tracker}", *overrides]))
    return start(config, directory, unique=False, choices={"strategy": "aging_evolution", "tracker": tracker}, **more)


def run_on(directory: Path, **overrides: Any) -> dict[str, Any]:
    """Go on with a run."""
    return resume(directory, overrides)


@cache
def empty_store() -> Path:
    """A store of MLflow's without runs: to make one takes seconds, to copy it none."""
    from nasrun.trackers.mlflow import client_of

    folder = Path(tempfile.mkdtemp("mlflow"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client_of(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


def tracked(tracker: str, directory: Path) -> Rows:
    """The trials as the library of the tracker reads them."""
    readers = {"csv": lambda _: [], "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    return readers[tracker](directory)


def events(folder: Path) -> Any:
    """All that TensorBoard finds in a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def _tensorboard(directory: Path) -> Rows:
    found = events(directory / "tensorboard")
    trials: dict[int, dict[str, float]] = {}
    steps = []
    for tag in found.Tags()["scalars"]:
        if not tag.startswith("final/"):
            for event in found.Scalars(tag):
                trials.setdefault(event.step, {})[tag] = event.value
                if tag == "trial/ok":
                    steps.append(event.step)
    return [(step, trials[step]) for step in steps]


def mlflow_runs(folder: Path) -> list[Any]:
    """The runs of all experiments in the store of a folder."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def _mlflow(directory: Path) -> Rows:
    from mlflow import MlflowClient

    (found,) = [run for run in mlflow_runs(directory.parent) if run.info.run_name == directory.name]
    client = MlflowClient(tracking_uri=f"sqlite:///{directory.parent / 'mlflow.db'}")
    trials: dict[int, dict[str, float]] = {}
    steps = []
    for name in found.data.metrics:
        for metric in client.get_metric_history(found.info.run_id, name) if not name.startswith("final/") else ():
            trials.setdefault(metric.step, {})[name] = metric.value
            if name == "trial/ok":
                steps.append(metric.step)
    return [(step, trials[step]) for step in steps]


def _wandb(directory: Path) -> Rows:
    rows = []
    for record in wandb_records(directory):
        if record.WhichOneof("record_type") == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            if "trial/ok" in row:
                rows.append((row["trial"], {name: value for name, value in row.items() if "/" in name}))
    return rows


def wandb_records(directory: Path) -> Iterator[Any]:
    """The records of the one file of W&B's in a run directory.

    The file is a log as LevelDB's: after a head of 7 bytes, blocks of 32 KiB with pieces of records, each after its
    checksum (4 bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last).
    """
    from wandb.proto import wandb_internal_pb2

    (path,) = (directory / "wandb").glob("offline-run-*/*.wandb")
    data, place, record = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if place % 32768 > 32768 - 7:
            place += -place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)  # type: ignore[attr-defined]
            record = b""
