"""The executor of several workers that are actors of a Ray cluster."""

import contextlib
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrun.core import Evaluator, Job
from nasrun.core.environment import describe_processor
from nasrun.datasets import Splits
from nasrun.hardware.pool import GRACE_SECONDS, Worker, WorkerExecutor
from nasrun.hardware.ray.cluster import library
from nasrun.hardware.ray.worker import Place, RayWorker
from nasrun.hardware.worker_messages import NOTICE, Recipe, WorkerError

NOTICE_SECONDS = 20.0
"""After this long without a worker that was asked for, the user is told."""
MOST_FAILED_STARTS = 5
"""Workers in a row that may die before they are set up: with more it is no bad luck."""
FAILING_SECONDS = 60.0
"""For how long they may do so at least: a node that is lost is taken for a good one until Ray notices."""


@dataclass
class _Actor(Worker):
    """An actor, and the call that is under way there; None where it has nothing to do."""

    handle: Any
    call: Any
    place: int


class RayExecutor(WorkerExecutor[_Actor]):
    """Evaluates in actors of the cluster that this process is connected to.

    They are spread over the nodes. Where a node is lost, Ray puts new ones on what is left; jobs wait, as long as it
    takes, for workers that no node has room for. The data are put into the cluster's memory once, and each node holds
    one copy. Actors end with the runner, whatever becomes of that.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: Recipe,
        workers: int,
        resources: Mapping[str, float],
        *,
        splits: Splits | None = None,
        directory: Path | None = None,
        journal: str = "",
        say: Callable[[str], None] = lambda text: None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`resources`: of each actor, as Ray's `options` takes them. `directory`: the run's, if checkpoints go there.

        `journal`: the name of the file in it by which nodes know that they see the same. `say`: tells the user a line.
        """
        super().__init__(evaluator, workers, grace)
        self._ray, self._say = library(), say
        place = Place(str(Path.cwd()), [path for path in sys.path if path], processor=describe_processor())
        if directory is not None:
            with (directory / journal).open("rb") as file:
                place = place._replace(directory=str(directory.absolute()), journal=journal, first_line=file.readline())
        self._place, self._recipe = place, pickle.dumps(recipe)
        self._kind = self._ray.remote(max_restarts=0, max_task_retries=0)(RayWorker)
        self._resources = resources
        self._splits = None if splits is None else self._ray.put(splits)
        self._failed_starts, self._failing_since = 0, 0.0
        self._noticed: set[str] = set()
        self._told = False

    def _start(self, place: int) -> _Actor:
        handle = self._kind.options(scheduling_strategy="SPREAD", **self._resources).remote(self._place)
        one = _Actor(handle, handle.set_up.remote(self._recipe, self._splits), place)
        one.since = time.monotonic()
        return one

    def _may_begin(self, one: _Actor) -> bool:
        return one.is_set_up

    def _send(self, one: _Actor, jobs: Sequence[Job]) -> None:
        one.call = one.handle.turn.remote(list(jobs))

    def _hear(self, patience: float | None) -> bool:
        there = {one.call: one for one in self._workers if one is not None and one.call is not None}
        notice = self._seconds_to_notice()
        limits = [limit for limit in (patience, notice) if limit is not None]
        speaking, _ = self._ray.wait(list(there), timeout=min(limits) if limits else None)
        for call in speaking:
            self._answer(there[call], call)
        if not speaking and notice is not None and self._seconds_to_notice() == 0.0:
            self._notice()
        return bool(speaking)

    def _answer(self, one: _Actor, call: Any) -> None:
        one.call = None
        try:
            said = self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                raise WorkerError(f"a worker cannot be started on the Ray cluster: {_last_line(error)}") from error
            self._lost(one, _last_line(error))
            return
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"Ray: {_last_line(error)}") from error
        was_set_up = one.is_set_up
        for kind, content in said:
            self._take(one, kind, content)
        if one.is_set_up and not was_set_up:
            self._failed_starts = 0
            self._told = self._told and bool(self._starting())
        if one.task is not None or not one.is_set_up:
            one.call = one.handle.turn.remote()

    def _take(self, one: _Actor, kind: str, content: Any) -> None:
        if kind != NOTICE:
            super()._take(one, kind, content)
        elif content not in self._noticed:
            self._noticed.add(content)
            self._say(content)

    def _lost(self, one: _Actor, reason: str) -> None:
        """An actor or its node is dead, or out of reach, and then it is to end."""
        if not one.is_set_up:
            now = time.monotonic()
            self._failing_since = self._failing_since if self._failed_starts else now
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS and now >= self._failing_since + FAILING_SECONDS:
                raise WorkerError(f"{self._failed_starts} workers in a row died at their start, the last: {reason}")
        self._kill(one)
        self._on_worker_exit(one.place, one)

    def _starting(self) -> list[_Actor]:
        return [one for one in self._workers if one is not None and not one.is_set_up]

    def _seconds_to_notice(self) -> float | None:
        """Seconds until the user is to be told of workers that do not come; None where there is nothing to tell."""
        starting = self._starting()
        if not starting or self._told:
            return None
        return max(0.0, min(one.since for one in starting) + NOTICE_SECONDS - time.monotonic())

    def _notice(self) -> None:
        self._told = True
        needs = ", ".join(f"{name.removeprefix('num_')} {value:g}" for name, value in self._resources.items() if value)
        self._say(
            f"{len(self._starting())} of {len(self._workers)} workers wait for room on the Ray cluster ({needs} each); "
            "the search goes on with what there is"
        )

    def _kill(self, one: _Actor) -> None:
        with contextlib.suppress(Exception):  # it is dead, or the cluster is
            self._ray.kill(one.handle)

    def close(self) -> None:
        super().close()
        self._splits = None


def _last_line(error: Exception) -> str:
    """What matters of Ray's many lines: the last, where the remote error is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
