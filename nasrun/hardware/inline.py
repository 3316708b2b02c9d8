"""The executor of one process: jobs run where the search runs, one group after another."""

from collections import deque
from collections.abc import Iterator, Sequence

from nasrun.protocols import Evaluator, Executor, Job, Measurement


class InlineExecutor(Executor):
    """Evaluates in the calling process, inside `wait`."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._queue: deque[Job] = deque()
        self._running: Iterator[Measurement] = iter(())

    def submit(self, jobs: Sequence[Job]) -> None:
        self._queue.extend(jobs)

    def wait(self) -> list[Measurement]:
        while True:
            measurement = next(self._running, None)
            if measurement is not None:
                return [measurement]
            if not self._queue:
                raise RuntimeError("wait() was called with no job in the queue")
            group = tuple(self._queue)
            self._queue.clear()
            self._running = iter(self._evaluator.evaluate(group))

    @property
    def free(self) -> int:
        return 0 if self._queue else 1

    def close(self) -> None:
        self._queue.clear()
        self._running = iter(())
