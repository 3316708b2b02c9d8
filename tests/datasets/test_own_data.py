"""What a user's own data set may read."""

from typing import Any

import numpy as np
import pytest

from nasrun.core import Task
from nasrun.datasets import Dataset, DatasetError, Split
from nasrun.datasets.base import Raw

LABELS = np.arange(8) % 2


def images(count: int = 8, channels: int = 1, kind: Any = np.uint8) -> np.ndarray:
    return np.zeros((count, channels, 4, 4), kind)


def part(labels: Any = LABELS, **settings: Any) -> Split:
    return Split(images(**settings), labels)


class Own(Dataset):
    """Reads what a function returns."""

    name = "own"
    task = Task("own", 1, 4, 4, 2)

    def __init__(self, read: Any) -> None:
        super().__init__(validation=0.5)
        self._answer = read

    def read(self) -> Any:
        return self._answer()


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: None, " returned None; expected a nasrun.datasets.base.Raw"),
        (lambda: Raw(part(), None, ("a", "b")), ": test is None; expected a nasrun.datasets.Split"),  # type: ignore[arg-type]
        (lambda: Raw(part(), part(), ("a",)), ": 1 names of classes; expected 2, as its task says"),
        (lambda: Raw(part(), part(LABELS + 1), ("a", "b")), ": test has label 2; expected 0 to 1"),
        (lambda: Raw(part(LABELS - 1), part(), ("a", "b")), ": training has label -1; expected 0 to 1"),
        (
            lambda: Raw(part(channels=3), part(), ("a", "b")),
            ": training images are (3, 4, 4); expected (1, 4, 4), as its task says",
        ),
        (
            lambda: Raw(part(), part(), ("a", "b"), validation=part(channels=3)),
            ": validation images are (3, 4, 4); expected (1, 4, 4), as its task says",
        ),
        (lambda: part(kind=np.float32), ": images must be uint8 (N, C, H, W), not float32 (8, 1, 4, 4)"),
        (lambda: Split([1], LABELS), ": images must be an array, not [1]"),  # type: ignore[arg-type]
        (lambda: Split(images(), [0, 1]), ": labels must be an array, not [0, 1]"),  # type: ignore[arg-type]
        (lambda: int("no labels"), ": invalid literal for int() with base 10: 'no labels'"),
    ],
)
def test_what_its_task_does_not_describe_is_refused(read: Any, says: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Own(read).load()
    assert str(caught.value) == f"dataset: Own.read{says}"


def test_what_its_task_describes_is_taken() -> None:
    assert len(Own(lambda: Raw(part(), part(), ("a", "b"))).load().train) == 4
