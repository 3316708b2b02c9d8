"""What executors have in common whose workers are on other machines, come when there is room, and may be lost."""

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nasrun.core import Evaluator
from nasrun.hardware.pool import Worker, WorkerExecutor
from nasrun.hardware.worker_messages import NOTICE, WorkerError

NOTICE_SECONDS = 20.0
"""After this long without a worker that was asked for, the user is told."""
MOST_FAILED_STARTS = 5
"""Workers in a row that may die before they are set up: with more it is no bad luck."""
FAILING_SECONDS = 60.0
"""For how long they may do so at least: a node that is lost is taken for a good one until its cluster notices."""


@dataclass(kw_only=True)
class RemoteWorker(Worker):
    """A worker elsewhere. `place`: its number among the workers."""

    place: int


W = TypeVar("W", bound=RemoteWorker)


class RemoteExecutor(WorkerExecutor[W]):
    """Evaluates in workers on other machines. Jobs wait, as long as it takes, for workers that there is no room for;
    the user is told. Workers that all die at their start end the run."""

    def __init__(self, evaluator: Evaluator, workers: int, grace: float, say: Callable[[str], None]) -> None:
        """`say`: tells the user a line."""
        super().__init__(evaluator, workers, grace)
        self._say = say
        self._failed_starts, self._failing_since = 0, 0.0
        self._noticed: set[str] = set()
        self._told = False

    @abstractmethod
    def _waiting_for(self) -> str:
        """What workers that do not come wait for, in words."""

    def _may_begin(self, one: W) -> bool:
        return one.is_set_up

    def _take(self, one: W, kind: str, content: Any) -> None:
        if kind == NOTICE:
            if content not in self._noticed:
                self._noticed.add(content)
                self._say(content)
            return
        was_set_up = one.is_set_up
        super()._take(one, kind, content)
        if one.is_set_up and not was_set_up:
            self._failed_starts = 0
            self._told = self._told and bool(self._starting())

    def _lost(self, one: W, reason: str) -> None:
        """A worker or its machine is dead, or out of reach, and then it is to end."""
        if not one.is_set_up and self._is_to_blame(one):
            now = time.monotonic()
            self._failing_since = self._failing_since if self._failed_starts else now
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS and now >= self._failing_since + FAILING_SECONDS:
                raise WorkerError(f"{self._failed_starts} workers in a row died at their start, the last: {reason}")
        self._kill(one)
        self._on_worker_exit(one.place, one)

    def _starting(self) -> list[W]:
        return [one for one in self._workers if one is not None and not one.is_set_up]

    def _seconds_to_notice(self) -> float | None:
        """Seconds until the user is to be told of workers that do not come; None where there is nothing to tell."""
        starting = self._starting()
        if not starting or self._told:
            return None
        return max(0.0, min(one.since for one in starting) + NOTICE_SECONDS - time.monotonic())

    def _notice(self) -> None:
        """Tell the user, where it is time."""
        if self._seconds_to_notice() == 0.0:
            self._told = True
            self._say(
                f"{len(self._starting())} of {len(self._workers)} workers wait for {self._waiting_for()}; "
                "the search goes on with what there is"
            )
