"""The executor of one process: runs jobs where the search runs, one group after another."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from nasrun.core import Evaluator, Executor, Job, Measurement
from nasrun.hardware.measuring import HungError, measured, next_group
from nasrun.hardware.pool import GRACE_SECONDS


class InlineExecutor(Executor):
    """Evaluates jobs in the calling process, inside `wait`.

    With a time limit (`Evaluator.time_limit`), jobs that exceed it by `grace` seconds are interrupted, and recorded as
    failed. That needs a system with alarms, the main thread, and a job that runs Python code now and then: a library
    call that never returns cannot be interrupted; only worker processes can be killed.
    """

    def __init__(self, evaluator: Evaluator, grace: float = GRACE_SECONDS) -> None:
        self._evaluator, self._grace = evaluator, grace
        self._queue: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self._queue.extend(jobs)

    def wait(self) -> list[Measurement]:
        if not self._queue:
            raise RuntimeError("wait() was called with no job in the queue")
        group = next_group(self._evaluator, self._queue)
        self._queue = [job for job in self._queue if job not in group] if len(group) > 1 else self._queue[1:]
        limit = self._evaluator.time_limit
        if limit is None:
            return list(measured(self._evaluator, group))
        measurements: list[Measurement] = []
        try:
            with _alarm(len(group) * limit + self._grace, limit, self._grace):
                measurements.extend(measured(self._evaluator, group))
        except HungError as error:  # most evaluators turn it into a failure themselves
            done = {(measurement.trial, measurement.repeat) for measurement in measurements}
            lost = [job for job in group if (job.trial.number, job.repeat) not in done]
            measurements += [
                Measurement(job.trial.number, job.repeat, "failed", {}, str(error), limit + self._grace) for job in lost
            ]
        return measurements

    @property
    def free(self) -> int:
        return 0 if self._queue else 1

    def close(self) -> None:
        self._queue.clear()


@contextlib.contextmanager
def _alarm(seconds: float, limit: float, grace: float) -> Iterator[None]:
    """A scope that HungError ends after some seconds, and again whenever it is caught inside; without alarms it does
    nothing."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise HungError(f"trial hung: interrupted {grace:g} s beyond the time limit of {limit:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, limit + grace)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
