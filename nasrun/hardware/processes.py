"""The executor of several worker processes on one machine.

Which jobs are evaluated together depends on the trial and on the number of workers alone, never on timing: each trial's
jobs are grouped by the evaluator, and each group is cut into as many equal shares as there are workers. A group's
measurements are handed out when all of its shares are done, so that a resumed run forms the same groups.
"""

import contextlib
import itertools
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection, wait

from nasrun.hardware import worker
from nasrun.hardware.fork_server import END_SECONDS, ForkServer, WorkerError
from nasrun.hardware.worker import Recipe
from nasrun.protocols import Evaluator, Executor, Job, Measurement

MOST_DEATHS = 2
"""Workers that may die over the same jobs: the first may have been bad luck."""
GRACE_SECONDS = 30.0
"""How far beyond its jobs' time limits a worker may be before it counts as hung: trainings stop by themselves."""
START_SECONDS = 300.0
"""How long a worker may take to set itself up."""
KILLED = "worker killed: its process ended while it evaluated this, twice (out of memory?)"


@dataclass
class _Group:
    """Jobs that are handed out together when all of them are measured."""

    missing: int
    measurements: list[Measurement] = field(default_factory=list)

    def take(self, measurements: Iterable[Measurement]) -> None:
        new = list(measurements)
        self.measurements += new
        self.missing -= len(new)


@dataclass
class _Task:
    """What one worker evaluates at a time: a share of a group."""

    jobs: Sequence[Job]
    group: _Group
    deaths: int = 0


@dataclass
class _Worker:
    """A worker process, and what it is at."""

    connection: Connection
    pid: int
    is_set_up: bool = False
    task: _Task | None = None
    since: float = 0.0
    deadline: float = float("inf")


class ProcessExecutor(Executor):
    """Evaluates in worker processes, which are started when they are first needed and stay.

    Jobs whose worker dies are evaluated once more in a new one, and then recorded as failed; several that were
    evaluated together are then tried one by one, so that only the one to blame fails. With a time limit
    (`Evaluator.time_limit`) a worker that exceeds it by `grace` seconds is killed, and its job recorded as failed.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: Recipe,
        workers: int,
        gpus: Sequence[str] | None = None,
        *,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`evaluator`: the runner's own, prepared, which says what is grouped and is told of progress.

        `gpus`: the value of CUDA_VISIBLE_DEVICES for each worker.
        """
        self._evaluator, self._grace = evaluator, grace
        self._gpus: Sequence[str | None] = gpus or [None] * workers
        self._recipe = recipe
        self._server = ForkServer(recipe)
        self._workers: list[_Worker | None] = [None] * workers
        self._tasks: deque[_Task] = deque()
        self._groups: list[_Group] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        for _, same in itertools.groupby(jobs, key=lambda job: job.trial.number):
            queue = list(same)
            while queue:
                group = self._evaluator.group(queue)
                taken = {job.repeat for job in group}
                queue = [job for job in queue if job.repeat not in taken]
                self._add(group)
        self._hand_out()

    def _add(self, jobs: Sequence[Job]) -> None:
        group = _Group(len(jobs))
        self._groups.append(group)
        self._tasks += [_Task(share, group) for share in shares(jobs, len(self._workers))]

    def wait(self) -> list[Measurement]:
        while True:
            done = [group for group in self._groups if not group.missing]
            if done:
                self._groups = [group for group in self._groups if group.missing]
                return [measurement for group in done for measurement in group.measurements]
            if not self._groups:
                raise RuntimeError("wait() was called with no job in the queue")
            self._hand_out()
            self._listen()

    def _hand_out(self) -> None:
        """Give waiting tasks to workers that have none."""
        for place, one in enumerate(self._workers):
            if not self._tasks:
                return
            if one is None:
                one = self._workers[place] = _Worker(*self._server.fork(self._gpus[place]))
            if one.task is None:
                one.task, one.since = self._tasks.popleft(), time.monotonic()
                if self._evaluator.time_limit is not None:
                    one.deadline = one.since + (self._grace if one.is_set_up else START_SECONDS)
                with contextlib.suppress(ConnectionError):  # it is dead, which `_listen` finds
                    one.connection.send(one.task.jobs)

    def _listen(self) -> None:
        """Take in what the workers say, until one of them has said something or is overdue."""
        there = {one.connection: place for place, one in enumerate(self._workers) if one is not None}
        deadline = min(one.deadline for one in self._workers if one is not None)
        patience = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        speaking = wait(list(there), patience)
        for connection in speaking:
            assert isinstance(connection, Connection)
            self._hear(there[connection])
        if speaking:  # a runner that was stopped for a while first takes in what was said meanwhile
            return
        for place, one in enumerate(self._workers):
            if one is not None and time.monotonic() > one.deadline:
                self._end_hung(place, one)

    def _hear(self, place: int) -> None:
        one = self._workers[place]
        assert one is not None
        try:
            kind, content = one.connection.recv()
        except (EOFError, OSError):
            self._bury(place, one)
            return
        if kind == worker.ERROR:
            raise WorkerError(content)
        if kind == worker.PROGRESS:
            self._evaluator.on_progress(content)
            return
        assert one.task is not None
        if kind == worker.BEGUN:
            one.since, one.is_set_up = time.monotonic(), True
            if self._evaluator.time_limit is not None:
                one.deadline = one.since + len(one.task.jobs) * self._evaluator.time_limit + self._grace
        elif kind == worker.DONE:
            one.task.group.take(content)
            one.task, one.deadline = None, float("inf")

    def _bury(self, place: int, one: _Worker) -> None:
        """A worker is dead: see to its jobs."""
        self._workers[place] = None
        one.connection.close()
        if one.task is None:
            return
        one.task.deaths += 1
        if one.task.deaths < MOST_DEATHS:
            self._tasks.appendleft(one.task)
        else:
            self._blame(one, KILLED)

    def _end_hung(self, place: int, one: _Worker) -> None:
        """A worker does not come to an end: kill it, and see to its jobs."""
        self._workers[place] = None
        _kill(one)
        assert one.task is not None
        limit = self._evaluator.time_limit
        self._blame(one, f"worker hung: killed {self._grace:g} s beyond the time limit of {limit:g} s")

    def _blame(self, one: _Worker, reason: str) -> None:
        """The jobs of a worker that was lost fail; where they are several, each has one chance by itself."""
        task = one.task
        assert task is not None
        if len(task.jobs) > 1:
            alone = [_Task([job], task.group, MOST_DEATHS - 1) for job in task.jobs]
            self._tasks.extendleft(reversed(alone))
            return
        [job] = task.jobs
        seconds = time.monotonic() - one.since
        task.group.take([Measurement(job.trial.number, job.repeat, "failed", {}, reason, seconds)])

    @property
    def free(self) -> int:
        idle = sum(one is None or one.task is None for one in self._workers)
        return max(0, idle - len(self._tasks))

    def close(self) -> None:
        """Kill the workers, whatever they are at: weights are written atomically, all else is the runner's."""
        self._tasks.clear()
        self._groups.clear()
        there = [one for one in self._workers if one is not None]
        self._workers = [None] * len(self._workers)
        for one in there:
            _kill(one)
        self._server.close()
        if self._recipe.data is not None:
            self._recipe.data.close()


def shares(jobs: Sequence[Job], workers: int) -> list[Sequence[Job]]:
    """A group cut into one part per worker, as even as can be, in order; none is empty."""
    count = min(len(jobs), workers)
    cuts = [len(jobs) * number // count for number in range(count + 1)]
    return [jobs[start:end] for start, end in pairwise(cuts)]


def _kill(one: _Worker) -> None:
    """Kill a worker and wait until it is gone."""
    if not _gone(one.connection, 0.0):  # a dead one's process id may be another's by now
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
        _gone(one.connection, END_SECONDS)
    one.connection.close()


def _gone(connection: Connection, seconds: float) -> bool:
    """Whether the process at the other end ends within some seconds; what it said last is passed over."""
    deadline = time.monotonic() + seconds
    try:
        while connection.poll(max(0.0, deadline - time.monotonic())):
            connection.recv_bytes()
    except (EOFError, OSError):
        return True
    return False
