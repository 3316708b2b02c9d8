"""The test of a run's winner beyond its accuracy: its uncertainty, each class, and the confusions.

It is computed from the answers that the evaluator left in `best/` (`nasrun.storage.predictions`); a run without them
has no such tables.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasrun.core.options import ConfigError
from nasrun.reports.tables import csv_text, one_line
from nasrun.storage.predictions import Predictions, read_predictions
from nasrun.storage.records import write_text

CLASSES, CONFUSION = "test_classes.csv", "test_confusion.csv"
BINS = 15
"""Number of bins of the calibration error, as in its paper."""
NORMAL_95 = 1.959963984540054
"""Number of deviations around the mean that hold 95 % of a normal variable."""

Row = Sequence[object]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4f} to {self.high:.4f}"


def wilson(right: int, count: int) -> Interval:
    """The 95 % interval of a share, `right` of `count` (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1).

    (0, 1) if nothing was counted.
    """
    if not count:
        return Interval(0.0, 1.0)
    share, square = right / count, NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = NORMAL_95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    # Rounding would leave a value slightly above 0, or below 1.
    return Interval(middle - reach if right else 0.0, middle + reach if right < count else 1.0)


class ClassResult(NamedTuple):
    """The results for the test images of a class. `taken_for`: the most frequent wrong answer; None if there is
    none."""

    name: str
    images: int
    right: int
    interval: Interval
    taken_for: str | None

    @property
    def accuracy(self) -> float | None:
        """The share of correct answers; None if the test set has no image of the class."""
        return self.right / self.images if self.images else None


@dataclass(frozen=True)
class WinnerTest:
    """The test of a classifier, from its answers."""

    predictions: Predictions

    @property
    def images(self) -> int:
        """Images of the test set."""
        return len(self.predictions.labels)

    @property
    def right(self) -> int:
        """Number of correct answers."""
        return int(self.confusion.diagonal().sum())

    @property
    def interval(self) -> Interval:
        """The 95 % confidence interval of the accuracy on new images of the same kind."""
        return wilson(self.right, self.images)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Number of images by class and answer, int64 (classes, classes): a row for each true class."""
        classes = len(self.predictions.classes)
        pairs = self.predictions.labels * classes + self.predictions.answers
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @cached_property
    def calibration_error(self) -> float:
        """The expected calibration error: mean distance of confidence and accuracy over bins of equal width, weighted
        by their images (Guo et al. 2017, arXiv 1706.04599, equation 3)."""
        found = self.predictions
        bins = np.minimum((found.confidence * BINS).astype(int), BINS - 1)
        gaps = np.bincount(bins, found.confidence.astype(np.float64) - (found.answers == found.labels), BINS)
        return float(np.abs(gaps).sum() / self.images)

    @property
    def classes(self) -> list[ClassResult]:
        """The results of all classes, in order."""
        names, results = self.predictions.classes, []
        for place, row in enumerate(self.confusion):
            others = row.copy()
            others[place] = 0
            taken_for = names[int(others.argmax())] if others.any() else None
            right, images = int(row[place]), int(row.sum())
            results.append(ClassResult(names[place], images, right, wilson(right, images), taken_for))
        return results

    def summary(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "images": self.images,
            "right": self.right,
            "interval": list(self.interval),
            "calibration_error": self.calibration_error,
            "class_accuracy": {one.name: one.accuracy for one in self.classes},
        }

    def class_rows(self) -> Iterator[Row]:
        """Rows of `test_classes.csv`, with a header row."""
        yield ["class", "images", "right", "accuracy", "low", "high", "mostly_taken_for"]
        for one in self.classes:
            measured = [one.accuracy, *one.interval] if one.images else [None, None, None]
            yield [one_line(one.name), one.images, one.right, *measured, one.taken_for and one_line(one.taken_for)]

    def confusion_rows(self) -> Iterator[Row]:
        """Rows of `test_confusion.csv`, with a header row."""
        names = [one_line(name) for name in self.predictions.classes]
        yield ["class", *names]
        for name, row in zip(names, self.confusion.tolist(), strict=True):
            yield [name, *row]

    def wrong_rows(self) -> Iterator[Row]:
        """The wrong answers with the highest confidence, with a header row."""
        found, names = self.predictions, [one_line(name) for name in self.predictions.classes]
        yield ["test_image", "class", "answer", "confidence", "confidence_of_class"]
        for place in found.wrong.tolist():
            label, answer = names[found.labels[place]], names[found.answers[place]]
            yield [place, label, answer, float(found.confidence[place]), float(found.true_confidence[place])]


def better_by(one: WinnerTest, other: WinnerTest) -> tuple[float, Interval]:
    """The difference of two networks' accuracies on the same test images, with its 95 % interval: that of a mean of
    paired differences, which images that both get right or wrong do not widen."""
    images = one.images
    first, second = ((t.predictions.answers == t.predictions.labels).astype(float) for t in (one, other))
    differences = first - second
    middle, reach = float(differences.mean()), NORMAL_95 * float(differences.std()) / math.sqrt(images)
    return middle, Interval(middle - reach, middle + reach)


def read_tested(directory: Path, folder: str = "best") -> WinnerTest | None:
    """The test of a run's winner, or of the network in another `folder`; None if its evaluator left no answers.

    ConfigError if the file is damaged.
    """
    try:
        found = read_predictions(directory / folder)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return None if found is None else WinnerTest(found)


def write_test_tables(tested: WinnerTest, folder: Path) -> None:
    """Write `test_classes.csv` and `test_confusion.csv`; OSError passes through."""
    write_text(folder / CLASSES, csv_text(list(tested.class_rows())))
    write_text(folder / CONFUSION, csv_text(list(tested.confusion_rows())))


def facts_of_test(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts on the test in a summary besides the metrics: names and values."""
    test = summary.get("test")
    if test:
        interval = Interval(*test["interval"])
        yield "test accuracy, 95 % interval", f"{interval} ({test['right']:,} of {test['images']:,})"
        yield "expected calibration error", f"{test['calibration_error']:.4f}"
