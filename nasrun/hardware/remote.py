"""The common part of executors whose workers run on other machines, start when there is room, and may be lost."""

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nasrun.core import Evaluator
from nasrun.hardware.pool import Worker, WorkerExecutor
from nasrun.hardware.worker_messages import NOTICE, WorkerError

NOTICE_SECONDS = 20.0
"""Seconds of waiting for a requested worker after which the user is told."""
MOST_FAILED_STARTS = 5
"""Maximum number of workers in a row that may die during setup: more are not bad luck."""
FAILING_SECONDS = 60.0
"""Minimum seconds for which they may do so: a lost node looks healthy until its cluster notices."""


@dataclass(kw_only=True)
class RemoteWorker(Worker):
    """A worker on another machine. `place`: its index among the workers."""

    place: int


W = TypeVar("W", bound=RemoteWorker)


class RemoteExecutor(WorkerExecutor[W]):
    """Evaluates in workers on other machines. Jobs wait without a limit for workers that there is no room for; the user
    is told. If all workers die during setup, the run ends."""

    def __init__(self, evaluator: Evaluator, workers: int, grace: float, say: Callable[[str], None]) -> None:
        """`say`: shows a line to the user."""
        super().__init__(evaluator, workers, grace)
        self._say = say
        self._failed_starts, self._failing_since = 0, 0.0
        self._noticed: set[str] = set()
        self._told = False

    @abstractmethod
    def _waiting_for(self) -> str:
        """What missing workers are waiting for, for messages."""

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
        """Handle a worker that is dead or unreachable, or whose machine is; it is also ended."""
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
        """Seconds until the user should be told of missing workers; None if there is nothing to tell."""
        starting = self._starting()
        if not starting or self._told:
            return None
        return max(0.0, min(one.since for one in starting) + NOTICE_SECONDS - time.monotonic())

    def _notice(self) -> None:
        """Tell the user if it is time."""
        if self._seconds_to_notice() == 0.0:
            self._told = True
            self._say(
                f"{len(self._starting())} of {len(self._workers)} workers wait for {self._waiting_for()}; "
                "the search continues with the others"
            )
