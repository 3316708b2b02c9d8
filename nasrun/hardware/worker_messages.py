"""What a runner and its workers tell each other, whatever carries it: pipes, or Ray."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun.core import Evaluator
from nasrun.hardware.shared_memory import SharedObject

if TYPE_CHECKING:
    from nasrun.datasets import Dataset

BEGUN, PROGRESS, DONE, NOTICE, ERROR = "begun", "progress", "done", "notice", "error"
"""What a worker says: (BEGUN, where it is, or None), (PROGRESS, Progress), (DONE, [Measurement, ...]), (NOTICE, text
for the user) or (ERROR, text)."""


class WorkerError(Exception):
    """Workers that cannot be set up, or an error in one; the text is the reason, in one line."""


class Recipe(NamedTuple):
    """What the workers of a run are made of; it can be pickled.

    `make` gives an unprepared evaluator and its data set. `facts`: what the runner's own evaluator decided. `data`: the
    splits in shared memory; None where the runner has loaded none.
    """

    make: "Callable[[], tuple[Evaluator, Dataset]]"
    facts: Mapping[str, Any]
    data: SharedObject | None = None
