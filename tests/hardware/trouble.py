"""An evaluator that gets workers into trouble, and what real processes leave behind."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasrun.core import Evaluator, Genome, Job, Measurement, Progress, Proposal, Trial
from nasrun.datasets import Dataset
from nasrun.storage.journal import OutputError
from tests.support import setup_of


class Trouble(Evaluator):
    """Does what the genome of a job says, and writes down in `folder` which process did it.

    `fine`; `sleep`; `die`; `die-once`: the first process that begins with repeat 0 dies; `hang`; `raise`; `report`:
    gives signs of life. Jobs of a trial are one group. `dies_at_start`: the process dies when it is set up; `refuses`:
    it cannot be.
    """

    metrics = ("process", "tries", "company")

    def __init__(
        self, folder: Path, time_limit: float | None = None, dies_at_start: bool = False, refuses: bool = False
    ) -> None:
        self._folder, self.time_limit = folder, time_limit
        self._dies_at_start, self._refuses = dies_at_start, refuses

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if self._dies_at_start:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._refuses:
            raise OSError("no such drive")
        return dict(recorded or {})

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        return jobs

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            tries = self._note(job)
            self._act(job, tries)
            metrics = {"process": os.getpid(), "tries": tries, "company": len(jobs)}
            yield Measurement(job.trial.number, job.repeat, "ok", metrics)

    def _note(self, job: Job) -> int:
        """Write down that a job begins; returns how often it did."""
        path = self._folder / f"{job.trial.number}-{job.repeat}"
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return len(path.read_text().split())

    def _act(self, job: Job, tries: int) -> None:
        [word] = job.trial.proposal.genome
        if word == "die" or (word == "die-once" and (job.repeat, tries) == (0, 1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "sleep":
            time.sleep(0.3)
        if word == "hang":
            signal.pause()
        if word == "raise":
            raise OutputError("a mistake")
        if word == "report":
            for epoch in (1, 2, 3):
                self.on_progress(Progress(job.trial.number, job.repeat, epoch, 3, {"epoch": epoch}))


def make(folder: Path, **settings: Any) -> tuple[Evaluator, Dataset]:
    """The evaluator, with a data set that it does not use."""
    return Trouble(folder, **settings), setup_of().dataset


def jobs(number: int, word: str, repeats: int = 1) -> list[Job]:
    """The jobs of a trial that does what a word says."""
    genome: Genome = (word,)
    return [Job(Trial(number, Proposal(genome)), repeat, 1000 * number + repeat) for repeat in range(repeats)]


def processes_with(mark: str) -> list[int]:
    """The processes that have a word in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it is gone, or another user's
            continue
    return found


def gone_within(seconds: float, mark: str) -> bool:
    """Whether no process with a mark is left after some seconds at the latest; those that are left are killed."""
    deadline = time.monotonic() + seconds
    while processes_with(mark):
        if time.monotonic() > deadline:
            for process in processes_with(mark):
                os.kill(process, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


def parent_of(process: int) -> int:
    """The process that made a process which is there."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("PPid:"))


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def shared_files() -> set[Path]:
    """Named pieces of shared memory, less joblib's: another test's sweep has some for as long as it runs."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith(("sem.loky-", "joblib_"))}
