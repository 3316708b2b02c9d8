"""The record of a run's data, to identify them at any location, and to use its networks without them.

The record is in the header of the journal. Its digests are SHA-256: one per image with its targets, and one over these
in the order of a part. So the images are read once, at about 1 GB/s if the processor has SHA instructions.
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
"""Maximum number of class names in a message."""
ROUNDING = 1e-6
"""Relative tolerance of the normalisation constants, because libraries add floats in different orders."""


@dataclass(frozen=True)
class DataRecord:
    """The data of a run: the task, and a description of the images if they were read.

    `classes`: the names of the labels 0, 1, 2, ... `counts`: number of images per part. `images`: digest of all images
    with their labels, independent of part and order. `parts`: digest of each part, in its order. The normalisation
    constants are those of `Splits`. A run whose evaluator reads no images records only the task.
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
        """SHA-256, in hex, of the record without the name of the data set; None if no image was read.

        Runs on the same data have the same fingerprint, for any location of the data.
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
        """Parse a record written by `to_json`; ValueError, TypeError or LookupError if it is malformed."""
        task = Task(**content["task"])
        sizes = (task.channels, task.height, task.width, task.outputs)
        if any(type(size) is not int or size < 1 for size in sizes) or not isinstance(task.name, str):
            raise ValueError(f"task {show(content['task'])} is invalid")
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
        """Parse the entry `data` in the header of a journal; None if it is empty."""
        return None if data is None else cls.from_json(data)


def record_of(dataset: Dataset) -> DataRecord:
    """The current record of a data set: with its images if they are loaded, else only the task."""
    return DataRecord(dataset.task) if dataset.loaded is None else _record(dataset.task, dataset.loaded)


def doubt_of(version: str | None) -> str:
    """The caveat for a run of a nasrun `version` without record, in one line."""
    version = f"started by nasrun {version}, which did not record the data"
    return f"{version}: whether they are the same now cannot be checked"


def difference(one: DataRecord, other: DataRecord, here: str = "then", there: str = "now") -> str | None:
    """The difference between two data sets, in words; None if they are equal as far as recorded.

    `here`, `there`: names for the two in the text.
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
        return "split: the same images in different parts or in a different order"
    if changed:
        return f"contents: the same number of images, but different images or labels in {' and '.join(changed)}"
    for name in (*NUMBERS, "background"):
        first, second = (np.atleast_1d(getattr(record, name)).tolist() for record in (one, other))
        if len(first) != len(second) or not all(map(_close, first, second)):
            return f"normalisation: {name} {_few(first)} {here}, {_few(second)} {there}"
    return None


class RecordedDataset(Dataset):
    """The data set of a stored run as described by its header, without images."""

    def __init__(self, record: DataRecord) -> None:
        super().__init__()
        self.name, self._task = record.task.name, record.task

    @property
    def task(self) -> Task:
        """As recorded."""
        return self._task

    def read(self) -> NoReturn:
        raise DatasetError(f"dataset {self.name}: only the record of a run is available, without images")


def _record(task: Task, splits: Splits) -> DataRecord:
    parts = {name: part for name in PARTS if (part := getattr(splits, name)) is not None}
    entries: dict[int, np.ndarray] = {}
    for part in parts.values():
        if id(part) not in entries:  # the test images may also be the validation part
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
    """For each image the digests of its pixels and targets, and its label: uint8 (N, bytes)."""
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
    """The names that occur in only one of two sequences."""
    own = [_listed([n for n in names if n not in rest]) for names, rest in ((one, other), (other, one))]
    if not any(own):
        return "the same in a different order"
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
