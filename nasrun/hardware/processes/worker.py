"""A worker process: waits for jobs, evaluates them, and ends with the runner in any case."""

import os
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from nasrun.core import Evaluator, Job
from nasrun.core.options import type_and_text
from nasrun.hardware.measuring import measured
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, PROGRESS, Recipe

if TYPE_CHECKING:
    from nasrun.datasets import Dataset


def work(connection: Connection, lifeline: int, evaluator: Evaluator, dataset: "Dataset", recipe: Recipe) -> None:
    """Evaluate the jobs that come through the connection until it is closed.

    `lifeline`: the reading end of a pipe whose writing end only the runner holds.
    """
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    # Networks that train together report from several threads.
    turn = threading.Lock()

    def say(kind: str, content: Any = None) -> None:
        with turn:
            connection.send((kind, content))

    try:
        if recipe.data is not None:
            dataset.hold(recipe.data.load())
        evaluator.prepare(recipe.facts)
        evaluator.on_progress = lambda progress: say(PROGRESS, progress)
        while True:
            jobs: Sequence[Job] = connection.recv()
            say(BEGUN)
            say(DONE, list(measured(evaluator, jobs)))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        say(ERROR, type_and_text(error))


def _end_with(lifeline: int) -> None:
    """End this process at once when the runner has ended, even during training."""
    os.read(lifeline, 1)
    os._exit(1)
