"""The executor of several worker processes on one machine."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from nasrun.core import Evaluator, Job
from nasrun.hardware.pool import GRACE_SECONDS, Worker, WorkerExecutor
from nasrun.hardware.processes.fork_server import END_SECONDS, ForkServer
from nasrun.hardware.worker_messages import Recipe

START_SECONDS = 300.0
"""Maximum seconds of a worker's setup."""


@dataclass
class _Process(Worker):
    """A worker process, and its current task."""

    connection: Connection
    pid: int


class ProcessExecutor(WorkerExecutor[_Process]):
    """Evaluates in worker processes, forked from a server that has imported everything."""

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: Recipe,
        workers: int,
        gpus: Sequence[str] | None = None,
        *,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`gpus`: the value of CUDA_VISIBLE_DEVICES for each worker."""
        super().__init__(evaluator, workers, grace)
        self._gpus: Sequence[str | None] = gpus or [None] * workers
        self._recipe = recipe
        self._server = ForkServer(recipe)

    def _start(self, place: int) -> _Process:
        connection, pid = self._server.fork(self._gpus[place])
        return _Process(connection, pid, name=f"process {pid}")

    def _patience_at_first(self) -> float:
        return START_SECONDS

    def _send(self, one: _Process, jobs: Sequence[Job]) -> None:
        with contextlib.suppress(ConnectionError):
            one.connection.send(jobs)

    def _hear(self, patience: float | None) -> bool:
        there = {one.connection: place for place, one in enumerate(self._workers) if one is not None}
        speaking = wait(list(there), patience)
        for connection in speaking:
            assert isinstance(connection, Connection)
            place = there[connection]
            one = self._workers[place]
            assert one is not None
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                connection.close()
                self._on_worker_exit(place, one)
            else:
                self._take(one, kind, content)
        return bool(speaking)

    def _kill(self, one: _Process) -> None:
        """Kill a worker and wait until it has ended."""
        if not _gone(one.connection, 0.0):  # the process id of a dead one may be reused by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
            _gone(one.connection, END_SECONDS)
        one.connection.close()

    def close(self) -> None:
        super().close()
        self._server.close()
        if self._recipe.data is not None:
            self._recipe.data.close()


def _gone(connection: Connection, seconds: float) -> bool:
    """Whether the process at the other end ends within some seconds; discards its last messages."""
    deadline = time.monotonic() + seconds
    try:
        while connection.poll(max(0.0, deadline - time.monotonic())):
            connection.recv_bytes()
    except (EOFError, OSError):
        return True
    return False
