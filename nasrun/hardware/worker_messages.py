"""The messages between a runner and its workers, independent of how they are sent (pipes, Ray, TCP)."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nasrun.core import Evaluator
from nasrun.hardware.shared_memory import SharedObject

if TYPE_CHECKING:
    from nasrun.datasets import Dataset

BEGUN, PROGRESS, DONE, NOTICE, ERROR = "begun", "progress", "done", "notice", "error"
"""A worker's messages: (BEGUN, where it is, or None), (PROGRESS, Progress), (DONE, [Measurement, ...]), (NOTICE, text
for the user) or (ERROR, text)."""


class WorkerError(Exception):
    """Workers cannot be set up, or an error occurred in one; the text is the reason, in one line."""


class Recipe(NamedTuple):
    """What a worker is made from; can be pickled.

    `make` gives an unprepared evaluator and its data set. `facts`: what the runner's own evaluator decided. `data`: the
    splits in shared memory; None if the runner has loaded none.
    """

    make: "Callable[[], tuple[Evaluator, Dataset]]"
    facts: Mapping[str, Any]
    data: SharedObject | None = None
