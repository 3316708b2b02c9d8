"""The executor of one process: jobs run where the search runs, one group after another."""

from collections.abc import Sequence

from nasrun.protocols import Evaluator, Executor, Job, Measurement


class InlineExecutor(Executor):
    """Evaluates in the calling process, inside `wait`."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._queue: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self._queue.extend(jobs)

    def wait(self) -> list[Measurement]:
        if not self._queue:
            raise RuntimeError("wait() was called with no job in the queue")
        group = self._evaluator.group(self._queue)
        self._queue = [job for job in self._queue if job not in group] if len(group) > 1 else self._queue[1:]
        return list(self._evaluator.evaluate(group))

    @property
    def free(self) -> int:
        return 0 if self._queue else 1

    def close(self) -> None:
        self._queue.clear()
