"""What runs in an actor of a Ray cluster: a worker that evaluates jobs, far from the runner."""

import importlib
import os
import pickle
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasrun.core import Job
from nasrun.core.environment import describe_processor, differences
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, NOTICE, PROGRESS, Recipe

Message = tuple[str, Any]


class Place(NamedTuple):
    """Where the runner is, as far as it matters to workers elsewhere.

    `folder`: its working directory, for relative paths. `paths`: where it finds modules. `directory`: the run's, if
    checkpoints go there; `first_line`: of the file `journal` there, by which another machine's folder of that name is
    told from it. `processor`: what its numeric libraries go by.
    """

    folder: str
    paths: Sequence[str]
    directory: str | None = None
    journal: str = ""
    first_line: bytes = b""
    processor: Mapping[str, str] = {}


class RayWorker:
    """Evaluates jobs in a thread of its own, always the same, and is asked what it has to say.

    Every call waits for something to say, so that the runner has one call under way for each worker that is at work.
    """

    def __init__(self, place: Place) -> None:
        sys.path += [path for path in place.paths if path not in sys.path]
        if Path(place.folder).is_dir():
            os.chdir(place.folder)
        self._place = place
        self._said: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()

    def set_up(self, recipe: bytes, splits: Any) -> list[Message]:
        """Prepare the evaluator. `recipe`: a pickled `Recipe`; `splits`: the data, in memory of this node, or None."""
        threading.Thread(target=self._work, args=(recipe, splits), daemon=True).start()
        return self.turn()

    def turn(self, jobs: Sequence[Job] = ()) -> list[Message]:
        """Take jobs, if any, and return what was said since the last call, as soon as there is anything."""
        if jobs:
            self._jobs.put(jobs)
        said = [self._said.get()]
        while not self._said.empty():
            said.append(self._said.get())
        return said

    def _work(self, pickled: bytes, splits: Any) -> None:
        try:
            if reason := self._misplaced():
                self._said.put((ERROR, reason))
                return
            for name, (runners, here) in differences(self._place.processor, describe_processor()).items():
                others = f"a node of the Ray cluster ({os.uname().nodename}) has {name} {here}, the runner {runners}"
                self._said.put((NOTICE, f"{others}: results may differ in the last digits by where a trial runs"))
            recipe: Recipe = pickle.loads(pickled)
            evaluator, dataset = recipe.make()
            for name in evaluator.preload:
                importlib.import_module(name)
            if splits is not None:
                dataset.hold(splits)
            evaluator.prepare(recipe.facts)
            evaluator.on_progress = lambda progress: self._said.put((PROGRESS, progress))
            self._said.put((BEGUN, f"{os.uname().nodename}, process {os.getpid()}"))
            while True:
                self._said.put((DONE, list(evaluator.evaluate(self._jobs.get()))))
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
            self._said.put((ERROR, text))

    def _misplaced(self) -> str | None:
        """Why this node cannot work for the run: checkpoints are written and read by path."""
        directory, found = self._place.directory, b""
        if directory is None:
            return None
        try:
            with (Path(directory) / self._place.journal).open("rb") as file:
                found = file.readline()
        except OSError:
            pass
        if found == self._place.first_line:
            return None
        return (
            f"{directory}: a node of the Ray cluster ({os.uname().nodename}) does not see this run directory; "
            "put it on a file system that all nodes share, or choose output.keep=none"
        )
