"""The table of a run with architecture weights: `architecture.csv`, a row for each epoch, position and choice."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nasrun.core import SearchSpace
from nasrun.storage.events import SharedTrained
from nasrun.storage.records import write_text

ARCHITECTURE = "architecture.csv"


def write_architecture(directory: Path, epochs: Sequence[SharedTrained], space: SearchSpace) -> None:
    """Write `architecture.csv`, atomically; writes nothing if no architecture was derived."""
    if not any(event.derived for event in epochs):
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", "position", "choice", "weight", "derived"])
    positions = space.positions()
    for event in epochs:
        if event.derived is None:
            continue
        genome, weights = event.derived
        for position, (choices, row) in enumerate(zip(positions, weights, strict=True)):
            for choice, weight in zip(choices, row, strict=True):
                table.writerow([event.version, position, choice, repr(weight), int(choice == genome[position])])
    write_text(directory / ARCHITECTURE, text.getvalue())
