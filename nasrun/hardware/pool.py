"""The common part of executors with several workers, independent of how jobs reach them.

Which jobs are evaluated together depends only on the trial and on the number of workers, never on timing: the evaluator
groups each trial's jobs, and each group is split into as many equal shares as there are workers. A group's measurements
are returned when all of its shares are done, so that a resumed run forms the same groups.
"""

import itertools
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, TypeVar

from nasrun.core import Evaluator, Executor, Job, Measurement, WorkerState
from nasrun.hardware import worker_messages
from nasrun.hardware.measuring import next_group
from nasrun.hardware.worker_messages import WorkerError

MOST_DEATHS = 2
"""Maximum number of workers that may die over the same jobs: the first may have been bad luck."""
GRACE_SECONDS = 30.0
"""Seconds beyond its jobs' time limits after which a worker counts as hung: training runs stop by themselves."""
KILLED = "worker killed: its process ended while it evaluated this, twice (out of memory?)"


@dataclass
class Group:
    """Jobs whose measurements are returned together, when all of them are measured."""

    missing: int
    measurements: list[Measurement] = field(default_factory=list)

    def take(self, measurements: Iterable[Measurement]) -> None:
        """Add measurements of some of the jobs."""
        new = list(measurements)
        self.measurements += new
        self.missing -= len(new)


@dataclass
class Task:
    """The work of one worker at a time: a share of a group."""

    jobs: Sequence[Job]
    group: Group
    deaths: int = 0


@dataclass(kw_only=True)
class Worker:
    """A worker, and its current task. `name`: where it is. `since`: when it got the task; `deadline`: when it counts as
    hung."""

    name: str = ""
    is_set_up: bool = False
    task: Task | None = None
    since: float = 0.0
    deadline: float = float("inf")


W = TypeVar("W", bound=Worker)


class WorkerExecutor(Executor, Generic[W]):
    """Evaluates in workers, which are started when they are first needed and stay.

    Jobs whose worker dies are evaluated once more in another, and then recorded as failed. If several were evaluated
    together, they are then tried one by one, so that only the one at fault fails. With a time limit
    (`Evaluator.time_limit`), a worker that exceeds it by `grace` seconds is killed, and its job recorded as failed.

    Subclasses implement `_start`, `_send`, `_hear` and `_kill`.
    """

    def __init__(self, evaluator: Evaluator, workers: int, grace: float) -> None:
        """`evaluator`: the runner's own, prepared, which groups jobs and receives progress."""
        self._evaluator, self._grace = evaluator, grace
        self._workers: list[W | None] = [None] * workers
        self._tasks: deque[Task] = deque()
        self._groups: list[Group] = []

    @abstractmethod
    def _start(self, place: int) -> W:
        """Start a worker with index `place`."""

    @abstractmethod
    def _send(self, one: W, jobs: Sequence[Job]) -> None:
        """Send jobs to a worker; `_hear` notices if it is dead."""

    @abstractmethod
    def _hear(self, patience: float | None) -> bool:
        """Handle (`_take`, `_on_worker_exit`) messages of workers, waiting at most some seconds; returns whether there
        were any."""

    @abstractmethod
    def _kill(self, one: W) -> None:
        """End a worker, whatever it is doing."""

    def _may_begin(self, one: W) -> bool:
        """Whether a worker without a task may be given one."""
        return True

    def _may_start(self) -> bool:
        """Whether one more worker may be started for the waiting tasks."""
        return True

    def _is_to_blame(self, one: W) -> bool:
        """Whether a worker's task may have caused its death: not if its machine was taken from it."""
        return True

    def _patience_at_first(self) -> float:
        """Seconds that a worker has, with its first task, until it reports that it is set up."""
        return self._grace

    def submit(self, jobs: Sequence[Job]) -> None:
        for _, same in itertools.groupby(jobs, key=lambda job: job.trial.number):
            queue = list(same)
            while queue:
                group = next_group(self._evaluator, queue)
                taken = {job.repeat for job in group}
                queue = [job for job in queue if job.repeat not in taken]
                self._add(group)
        self._hand_out()

    def _add(self, jobs: Sequence[Job]) -> None:
        group = Group(len(jobs))
        self._groups.append(group)
        self._tasks += [Task(share, group) for share in shares(jobs, len(self._workers))]

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
        """Give waiting tasks to idle workers."""
        for place, one in enumerate(self._workers):
            if not self._tasks:
                return
            if one is None:
                if not self._may_start():
                    continue
                one = self._workers[place] = self._start(place)
            if one.task is None and self._may_begin(one):
                one.task = self._tasks.popleft()
                self._clock(one, len(one.task.jobs) if one.is_set_up else None)
                self._send(one, one.task.jobs)

    def _clock(self, one: W, jobs: int | None) -> None:
        """Start a worker's time: for a number of jobs, or (None) for its setup."""
        one.since, limit = time.monotonic(), self._evaluator.time_limit
        if limit is not None:
            one.deadline = one.since + (self._patience_at_first() if jobs is None else jobs * limit + self._grace)

    def _listen(self) -> None:
        """Handle messages of workers, until one has arrived or a worker is overdue."""
        deadline = min((one.deadline for one in self._workers if one is not None), default=float("inf"))
        patience = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        if self._hear(patience):  # a runner that was suspended first handles the messages that arrived meanwhile
            return
        for place, one in enumerate(self._workers):
            if one is not None and time.monotonic() > one.deadline:
                self._end_hung(place, one)

    def _take(self, one: W, kind: str, content: Any) -> None:
        """Handle a message of a worker."""
        if kind == worker_messages.ERROR:
            raise WorkerError(content)
        if kind == worker_messages.PROGRESS:
            self._evaluator.on_progress(content)
        elif kind == worker_messages.BEGUN:
            one.is_set_up, one.name, one.since = True, content or one.name, time.monotonic()
            if one.task is not None:
                self._clock(one, len(one.task.jobs))
        elif kind == worker_messages.DONE:
            assert one.task is not None
            one.task.group.take(content)
            one.task, one.deadline, one.since = None, float("inf"), time.monotonic()

    def _on_worker_exit(self, place: int, one: W) -> None:
        """Handle the death of a worker, and its jobs."""
        self._workers[place] = None
        if one.task is None:
            return
        one.task.deaths += self._is_to_blame(one)
        if one.task.deaths < MOST_DEATHS:
            self._tasks.appendleft(one.task)
        else:
            self._record_failure(one, KILLED)

    def _end_hung(self, place: int, one: W) -> None:
        """Kill a hung worker, and handle its jobs."""
        self._workers[place] = None
        self._kill(one)
        limit = self._evaluator.time_limit
        self._record_failure(one, f"worker hung: killed {self._grace:g} s beyond the time limit of {limit:g} s")

    def _record_failure(self, one: W, reason: str) -> None:
        """Record the jobs of a lost worker as failed; if there are several, retry each one alone."""
        task = one.task
        assert task is not None
        if len(task.jobs) > 1:
            alone = [Task([job], task.group, MOST_DEATHS - 1) for job in task.jobs]
            self._tasks.extendleft(reversed(alone))
            return
        [job] = task.jobs
        seconds = time.monotonic() - one.since
        task.group.take([Measurement(job.trial.number, job.repeat, "failed", {}, reason, seconds)])

    @property
    def free(self) -> int:
        idle = sum(one is None or one.task is None for one in self._workers)
        return max(0, idle - len(self._tasks))

    def at_work(self) -> list[WorkerState]:
        found, moment = [], time.monotonic()
        for one in list(self._workers):
            if one is not None:
                task = one.task
                trials = () if task is None else tuple(sorted({job.trial.number for job in task.jobs}))
                found.append(WorkerState(one.name, trials, moment - one.since))
        return found

    def close(self) -> None:
        """Kill the workers at once: weights are written atomically, and everything else is kept by the runner."""
        self._tasks.clear()
        self._groups.clear()
        there = [one for one in self._workers if one is not None]
        self._workers = [None] * len(self._workers)
        for one in there:
            self._kill(one)


def shares(jobs: Sequence[Job], workers: int) -> list[Sequence[Job]]:
    """A group split into one part per worker, as even as possible, in order; none is empty."""
    count = min(len(jobs), workers)
    cuts = [len(jobs) * number // count for number in range(count + 1)]
    return [jobs[start:end] for start, end in pairwise(cuts)]
