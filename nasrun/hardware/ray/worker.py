"""The worker in an actor of a Ray cluster, which evaluates jobs away from the runner."""

import os
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nasrun.core import Job
from nasrun.hardware.measuring import measured
from nasrun.hardware.remote_worker import Message, Place, said_of, set_up
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, PROGRESS

if TYPE_CHECKING:
    from nasrun.datasets import Dataset


class RayWorker:
    """Evaluates jobs in one thread of its own, and returns messages when asked.

    Every call waits for a message, so that the runner has one call in progress for each busy worker.
    """

    def __init__(self, place: Place) -> None:
        place.enter()
        self._place = place
        self._said: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()

    def set_up(self, recipe: bytes, splits: Any) -> list[Message]:
        """Prepare the evaluator. `recipe`: a pickled `Recipe`; `splits`: the data, in memory of this node, or None."""
        threading.Thread(target=self._work, args=(recipe, splits), daemon=True).start()
        return self.turn()

    def turn(self, jobs: Sequence[Job] = ()) -> list[Message]:
        """Take jobs, if any, and return the messages since the last call, as soon as there are any."""
        if jobs:
            self._jobs.put(jobs)
        said = [self._said.get()]
        while not self._said.empty():
            said.append(self._said.get())
        return said

    def _work(self, pickled: bytes, splits: Any) -> None:
        def provide(dataset: "Dataset") -> None:
            if splits is not None:
                dataset.hold(splits)

        try:
            evaluator = set_up(self._place, pickled, lambda kind, content: self._said.put((kind, content)), provide)
            evaluator.on_progress = lambda progress: self._said.put((PROGRESS, progress))
            self._said.put((BEGUN, f"{os.uname().nodename}, process {os.getpid()}"))
            while True:
                self._said.put((DONE, list(measured(evaluator, self._jobs.get()))))
        except Exception as error:
            self._said.put((ERROR, said_of(error)))
