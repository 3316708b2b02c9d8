"""The table of a run with shared weights: `shared.csv`, a row for each epoch of their training."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nasrun.storage.events import SharedTrained
from nasrun.storage.records import write_text

SHARED = "shared.csv"


def write_shared(directory: Path, epochs: Sequence[SharedTrained]) -> None:
    """Write `shared.csv`, atomically; writes nothing if no shared weights were trained."""
    if not epochs:
        return
    names = list(dict.fromkeys(name for event in epochs for name in event.metrics))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", *names, "seconds"])
    for event in epochs:
        values = [event.metrics.get(name) for name in names]
        table.writerow([event.version, *("" if value is None else repr(value) for value in values), event.seconds])
    write_text(directory / SHARED, text.getvalue())
