"""The interface of executors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nasrun.core.types import Job, Measurement, WorkerState

if TYPE_CHECKING:
    pass


class Executor(ABC):
    """Runs jobs somewhere, without knowledge of their content."""

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs.

        Args:
            jobs: the jobs of one or more trials; those of a trial are next to one another.
        """

    @abstractmethod
    def wait(self) -> list[Measurement]:
        """Wait until at least one measurement is available.

        Returns:
            All available measurements, one per job.

        Raises:
            RuntimeError: no job is queued or running.
        """

    @property
    @abstractmethod
    def free(self) -> int:
        """Number of further jobs that can start immediately."""

    def at_work(self) -> Sequence[WorkerState]:
        """The state of each worker; empty if the caller's process is the only one. Thread-safe."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Stop running jobs and free the resources."""
