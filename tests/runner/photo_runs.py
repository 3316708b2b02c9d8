"""Runs on a folder of photos, and their records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nasrun.storage import journal
from nasrun.storage.journal import Line
from tests.conftest import Answer

WORDS = (
    "trials=2 strategy=random search_space=mlp evaluator.epochs=1 evaluator.final_epochs=2 evaluator.batch_size=8 "
    "hardware=cpu hardware.threads=1 hardware.precision=fp32 output.plots=false output.console=plain"
)
FOLDER = "dataset=image_folder dataset.path=photos dataset.height=8 dataset.width=8"
Call = Callable[[str], Answer]


def make_photos(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 30) -> None:
    """Noisy pictures of a brightness for each class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for picture in range(count):
            pixels = rng.integers(80 * number, 80 * number + 90, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{picture}.png")


def change_header(directory: Path, change: Callable[[Line], Any]) -> None:
    """Change the first line of a journal, which stays whole."""
    path = directory / journal.NAME
    first, rest = path.read_bytes().split(b"\n", 1)
    header = journal.parse(first)
    assert header is not None
    change(header)
    path.write_bytes(journal.line_of(header) + rest)


def events(directory: Path) -> list[Line]:
    return journal.read(directory / journal.NAME)


def refused(answer: Answer, *words: str) -> None:
    """Exit code 2, and one line that holds the words."""
    assert answer.returncode == 2, answer
    assert answer.stderr.count("\n") == 1, answer.stderr
    for word in words:
        assert word in answer.stderr
