"""Hardware that is a SLURM cluster, whose jobs are the workers (`pip install 'nasrun[submitit]'`): its options."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

from nasrun.core.options import Above, AtLeast, ConfigError, Positive
from nasrun.hardware.cluster import ClusterHardware

OWN = ("output", "error", "array", "requeue", "no-requeue", "job-name", "open-mode", "signal", "time", "cpus-per-task")
"""Options of sbatch that the runner sets."""


@dataclass(kw_only=True, frozen=True)
class SlurmJobs(ClusterHardware):
    """The options of a run whose trials are evaluated by jobs of a SLURM cluster, each of which is a worker.

    `workers`: maximum number of jobs; `least`: number of jobs that are kept when idle; others end after `idle` seconds
    without a trial. `minutes`: the time limit of each job. `setup`: shell lines to run before each worker. `sbatch`:
    further options by their long names. `host`: the name or address by which nodes reach the runner; None: its host
    name.
    """

    option = "slurm"

    workers: Annotated[int, AtLeast(1)] = 8
    least: Annotated[int, AtLeast(0)] = 1
    idle: Annotated[float, Above(0)] = 120.0
    minutes: Positive = 60
    partition: str | None = None
    account: str | None = None
    cpus: Positive = 1
    gpus: Annotated[int, AtLeast(0)] | None = None
    setup: tuple[str, ...] = ()
    sbatch: dict[str, Any] | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.workers:
            raise ValueError(f"least={self.least}: must be <= workers={self.workers}")
        for name in self.sbatch or {}:
            if name.replace("_", "-") in OWN:
                raise ValueError(f"sbatch.{name}: nasrun sets it itself; leave it out")
        if find_spec("submitit") is None:
            raise ValueError("partition: submitit is not installed; install it: pip install 'nasrun[submitit]'")

    @property
    def worker_summary(self) -> str:
        return f"{self.least} to {self.workers} workers as SLURM jobs"

    @contextlib.contextmanager
    def opened(self, data_bytes: int = 0) -> Iterator[None]:
        for program in ("sbatch", "scontrol", "scancel"):
            if shutil.which(program) is None:
                raise ConfigError(
                    f"hardware=slurm: {program} was not found; start the run on a node of the cluster, or use "
                    "hardware=auto"
                )
        host = self.host or socket.gethostname()
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.bind(address)
        except OSError as error:
            raise ConfigError(
                f"hardware.host={host}: nothing can listen there ({error.strerror}); give a name or address of this "
                "machine by which the nodes reach it"
            ) from error
        yield

    def parameters(self, on_gpus: bool) -> dict[str, Any]:
        """The resources that each job asks for, as submitit takes them."""
        gpus = self.gpus if self.gpus is not None else int(on_gpus)
        further = {name.replace("_", "-"): value for name, value in (self.sbatch or {}).items()}
        asked = {
            "job_name": "nasrun-worker",
            "time": self.minutes,
            "partition": self.partition,
            "account": self.account,
            "cpus_per_task": self.cpus,
            "gpus_per_node": gpus or None,
            "mem": f"{self.memory_mb}M" if self.memory_mb else None,
            "setup": list(self.setup) or None,
            # Another worker runs a lost worker's jobs, so queueing it again would give one worker too many.
            "additional_parameters": {"no-requeue": True, **further},
        }
        return {name: value for name, value in asked.items() if value is not None}
