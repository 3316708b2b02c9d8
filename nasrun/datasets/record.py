"""What a run records of its data: enough to know them again, wherever they lie, and to use its networks without them.

The record is in the header of the journal. Its digests are SHA-256: one of each image with its targets, and one of all
these in the order of a part; so the images are read once, at about 1 GB/s where the processor has instructions for it.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import numpy as np

from nasrun.core import Task
from nasrun.core.options import printable, show
from nasrun.datasets.base import Dataset, DatasetError, Split, Splits
from nasrun.datasets.mapped import image_digests

PARTS = ("train", "validation", "test", "left_out")
NUMBERS = ("mean", "std", "target_mean", "target_std")
SHOWN = 5
"""Names of classes that a message lists at most."""
ROUNDING = 1e-6
"""How far, as a share, the numbers of the normalisation may differ: libraries add floats in different orders."""


@dataclass(frozen=True)
class DataRecord:
    """The data of a run: the task, and once images were read what they were.

    `classes`: the names of the labels 0, 1, 2, ... `counts`: images of each part. `images`: digest of all images with
    their labels, in whatever part and order. `parts`: digest of each part, in its order. The numbers of the
    normalisation are those of `Splits`. A run whose evaluator reads no images records the task alone.
    """

    task: Task
    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    images: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    background: float = 0.0

    @property
    def fingerprint(self) -> str | None:
        """SHA-256, in hex, of all that is recorded but the name of the data set; None if no image was read.

        Runs on the same data have the same one, wherever the data lay.
        """
        if self.images is None:
            return None
        content = {**asdict(self), "task": _shape(self.task)}
        content |= {name: [f"{value:.5g}" for value in getattr(self, name)] for name in NUMBERS}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object, for the header of a journal."""
        content = asdict(self) if self.images is not None else {"task": asdict(self.task)}
        return {"fingerprint": self.fingerprint, **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataRecord":
        """The record that `to_json` wrote; ValueError, TypeError or LookupError if it did not."""
        task = Task(**content["task"])
        sizes = (task.channels, task.height, task.width, task.outputs)
        if any(type(size) is not int or size < 1 for size in sizes) or not isinstance(task.name, str):
            raise ValueError(f"task {show(content['task'])} is none")
        if content.get("images") is None:
            return cls(task)
        numbers: dict[str, Any] = {name: tuple(map(float, content[name])) for name in NUMBERS}
        if len(numbers["mean"]) != task.channels or len(numbers["std"]) != task.channels:
            raise ValueError(f"the normalisation is not for {task.channels} channels")
        return cls(
            task,
            tuple(map(str, content["classes"])),
            {str(name): int(count) for name, count in content["counts"].items()},
            str(content["images"]),
            {str(name): str(digest) for name, digest in content["parts"].items()},
            background=float(content["background"]),
            **numbers,
        )

    @classmethod
    def of_header(cls, data: Mapping[str, Any] | None) -> "DataRecord | None":
        """What the header of a journal records as `data`, read by `from_json`; None if that is nothing."""
        return None if data is None else cls.from_json(data)


def record_of(dataset: Dataset) -> DataRecord:
    """The record of a data set as it is: of its images where they are loaded, else of the task alone."""
    return DataRecord(dataset.task) if dataset.loaded is None else _record(dataset.task, dataset.loaded)


def doubt_of(version: str | None) -> str:
    """What a user is told of a run without a record, begun by a `version` of nasrun, in one line."""
    version = f"begun by nasrun {version}, which recorded nothing of the data"
    return f"{version}: whether they are the same now cannot be checked"


def difference(one: DataRecord, other: DataRecord, here: str = "then", there: str = "now") -> str | None:
    """What differs between two data sets, in words; None if they are the same, or nothing more is recorded.

    `here`, `there`: what each of them is called.
    """
    if one.images is not None and other.images is not None and one.classes != other.classes:
        return f"class names: {_names(one.classes, other.classes, here, there)}"
    shapes = [_shape(record.task) for record in (one, other)]
    if shapes[0] != shapes[1]:
        return f"task: {shapes[0]} {here}, {shapes[1]} {there}"
    if one.images is None or other.images is None:
        return None
    for part in PARTS:
        counts = [record.counts.get(part, 0) for record in (one, other)]
        if counts[0] != counts[1]:
            return f"{part} images: {counts[0]:,} {here}, {counts[1]:,} {there}"
    changed = [part for part in PARTS if one.parts.get(part) != other.parts.get(part)]
    if changed and one.images == other.images:
        return "split: the same images, but in other parts or in another order"
    if changed:
        return f"contents: as many images, but others or with other labels in {' and '.join(changed)}"
    for name in (*NUMBERS, "background"):
        first, second = (np.atleast_1d(getattr(record, name)).tolist() for record in (one, other))
        if len(first) != len(second) or not all(map(_close, first, second)):
            return f"normalisation: {name} {_few(first)} {here}, {_few(second)} {there}"
    return None


class RecordedDataset(Dataset):
    """The data set of a stored run as its header describes it: what its networks are for is known, no image is."""

    def __init__(self, record: DataRecord) -> None:
        super().__init__()
        self.name, self._task = record.task.name, record.task

    @property
    def task(self) -> Task:
        """As recorded."""
        return self._task

    def read(self) -> NoReturn:
        raise DatasetError(f"dataset {self.name}: known from the record of a run only, without images")


def _record(task: Task, splits: Splits) -> DataRecord:
    parts = {name: part for name in PARTS if (part := getattr(splits, name)) is not None}
    entries: dict[int, np.ndarray] = {}
    for part in parts.values():
        if id(part) not in entries:  # the test images may be the validation part too
            entries[id(part)] = _entries(part)
    everything = sorted(entry.tobytes() for rows in entries.values() for entry in rows)
    return DataRecord(
        task,
        splits.classes,
        {name: len(part) for name, part in parts.items()},
        hashlib.sha256(b"".join(everything)).hexdigest(),
        {name: hashlib.sha256(entries[id(part)].tobytes()).hexdigest() for name, part in parts.items()},
        splits.mean,
        splits.std,
        splits.target_mean,
        splits.target_std,
        splits.background,
    )


def _entries(part: Split) -> np.ndarray:
    """For each image its digest, that of what is to be said of it, and its label: uint8 (N, bytes)."""
    columns = [image_digests(part.images)]
    columns += [image_digests(array) for array in (part.targets, part.weights) if array is not None]
    labels = np.ascontiguousarray(part.labels, dtype="<i8")
    columns.append(labels.view(np.uint8).reshape(len(part), labels.itemsize))
    return np.concatenate(columns, axis=1)


def _shape(task: Task) -> str:
    size = f"{task.channels} x {task.height} x {task.width}"
    outputs = "classes" if task.kind == "classification" else f"x {task.height} x {task.width}"
    return f"{size} to {task.outputs} {outputs}"


def _names(one: Sequence[str], other: Sequence[str], here: str, there: str) -> str:
    """Which names only one of two sequences has."""
    own = [_listed([n for n in names if n not in rest]) for names, rest in ((one, other), (other, one))]
    if not any(own):
        return "the same in another order"
    if all(own):
        return f"{own[0]} {here}, {own[1]} {there}"
    return f"{own[0]} {here} only" if own[0] else f"{own[1]} {there} only"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(show, names[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING**2)


def _few(values: Sequence[float]) -> str:
    return printable(" ".join(f"{value:.6g}" for value in values[:4]) or "none")
