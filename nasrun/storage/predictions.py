"""The predictions of a network for the test set, in a file next to its weights.

Reports use it for the confidence interval of the accuracy, the accuracy by class and the confusion matrix.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from nasrun.core.options import error_line

NAME = "test_predictions.safetensors"
WRONG = 24
"""Maximum number of misclassified images that are stored, those with the highest confidence first."""
ABOUT = "classes"


class ByIndex(Protocol):
    """Images uint8 (N, channels, height, width), in memory or elsewhere."""

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        """The images at some indices, as an array."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for N images.

    `labels`, `answers`: int64 (N,), the true and the predicted class. `confidence`, `true_confidence`: float32 (N,),
    the softmax probability of the predicted and of the true class. `wrong`: int64 (K,), the indices of the wrong
    predictions with the highest confidence, in descending order. `images`: uint8 (K, channels, height, width), their
    images. `classes`: the names.
    """

    labels: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    true_confidence: np.ndarray
    wrong: np.ndarray
    images: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray, images: ByIndex, classes: tuple[str, ...]) -> "Predictions":
        """The predictions from logits, float (N, classes), for images uint8 (N, channels, height, width)."""
        shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        answers, places = logits.argmax(1).astype(np.int64), np.arange(len(labels))
        confidence = shares[places, answers].astype(np.float32)
        wrong = np.flatnonzero(answers != labels)
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:WRONG].astype(np.int64)
        true = shares[places, labels].astype(np.float32)
        return cls(labels.astype(np.int64), answers, confidence, true, wrong, images[wrong], classes)

    def save(self, folder: Path) -> None:
        """Write the file to a folder atomically; OSError passes through."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(value) for name, value in vars(self).items() if name != ABOUT}
        folder.mkdir(exist_ok=True)  # no parents: a deleted run directory must not be created again
        temporary = folder / f".{NAME}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(save(arrays, {ABOUT: json.dumps(self.classes)}))
            temporary.replace(folder / NAME)
        finally:
            temporary.unlink(missing_ok=True)


def read_predictions(folder: Path) -> Predictions | None:
    """Read the file in a folder; None if there is none. ValueError, in one line, if it is damaged."""
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), "np") as file:
            classes = json.loads(file.metadata()[ABOUT])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = Predictions(classes=tuple(map(str, classes)), **arrays)
        _check(found)
        return found
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error_line(error)
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {reason}); delete it") from None


def _check(found: Predictions) -> None:
    """ValueError if the arrays are inconsistent."""
    count, classes = len(found.labels), len(found.classes)
    for name in ("labels", "answers", "wrong"):
        values, most = getattr(found, name), count if name == "wrong" else classes
        if (
            values.dtype != np.int64
            or values.ndim != 1
            or (values.size and not 0 <= values.min() <= values.max() < most)
        ):
            raise ValueError(f"{name} are not integers below {most}")
    for name in ("confidence", "true_confidence"):
        values = getattr(found, name)
        if values.dtype != np.float32 or values.shape != (count,) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} does not have one share for each of {count} images")
    if not count or found.answers.shape != (count,):
        raise ValueError(f"{len(found.answers)} answers for {count} images")
    if found.images.dtype != np.uint8 or found.images.ndim != 4 or len(found.images) != len(found.wrong):
        raise ValueError("the images do not match the wrong predictions")
