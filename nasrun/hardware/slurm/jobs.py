"""Hardware that is a SLURM cluster, where workers are jobs (`pip install 'nasrun[submitit]'`): its options."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Annotated, Any

from nasrun.core.options import Above, AtLeast, ConfigError, Positive
from nasrun.hardware.devices import Hardware, Runtime

OWN = ("output", "error", "array", "requeue", "no-requeue", "job-name", "open-mode", "signal", "time", "cpus-per-task")
"""Options of sbatch that the runner sets."""


@dataclass(kw_only=True, frozen=True)
class SlurmJobs(Hardware):
    """The options of a run whose trials are evaluated by jobs of a SLURM cluster, each of which is a worker.

    `workers`: jobs at most; `least`: those that are kept where there is nothing to do; further ones end after `idle`
    seconds without a trial. `minutes`: the time limit of each job. `cpus`, `gpus`, `memory_mb`: what each takes of its
    node; `gpus` None is one where the run trains on CUDA. `threads` None is as many as `cpus`. `setup`: lines of shell
    before each worker. `sbatch`: further options by their long names. `host`: the name or address by which nodes reach
    the runner; None is its host name. Device, precision and threads are decided where the runner is, which also trains
    the winner.
    """

    workers: Annotated[int, AtLeast(1)] = 8
    least: Annotated[int, AtLeast(0)] = 1
    idle: Annotated[float, Above(0)] = 120.0
    minutes: Positive = 60
    partition: str | None = None
    account: str | None = None
    cpus: Positive = 1
    gpus: Annotated[int, AtLeast(0)] | None = None
    memory_mb: Positive | None = None
    setup: tuple[str, ...] = ()
    sbatch: dict[str, Any] | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.workers:
            raise ValueError(f"least={self.least}: must be at most workers={self.workers}")
        if self.device == "cpu" and self.gpus:
            raise ValueError(f"gpus={self.gpus}: device=cpu uses none; choose gpus=0, or device=cuda")
        if self.device == "cuda" and self.gpus == 0:
            raise ValueError("gpus=0: device=cuda needs some; choose gpus=1")
        for name in self.sbatch or {}:
            if name.replace("_", "-") in OWN:
                raise ValueError(f"sbatch.{name}: nasrun sets it itself; leave it out")
        if find_spec("submitit") is None:
            raise ValueError("partition: submitit is not installed; install it: pip install 'nasrun[submitit]'")

    @property
    def is_remote(self) -> bool:
        return True

    @property
    def shares_memory(self) -> bool:
        return False

    @property
    def worker_summary(self) -> str:
        return f"{self.least} to {self.workers} workers as SLURM jobs"

    @property
    def named(self) -> tuple[str, str]:
        return "hardware=slurm", "hardware=auto"

    @property
    def own_threads(self) -> int:
        return self.cpus

    def resolve(self) -> Runtime:
        without_gpu = self.device == "auto" and self.gpus == 0
        runtime = Hardware.resolve(replace(self, device="cpu") if without_gpu else self)
        if self.gpus and runtime.device == "cpu":
            raise ConfigError(f"hardware.gpus={self.gpus}: no CUDA device is usable here, where the winner is trained")
        return runtime

    @contextlib.contextmanager
    def opened(self, data_bytes: int = 0) -> Iterator[None]:
        for program in ("sbatch", "scontrol", "scancel"):
            if shutil.which(program) is None:
                raise ConfigError(
                    f"hardware=slurm: there is no {program} here; start the run on a node of the cluster, or choose "
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
        """What each job asks for, as submitit takes it."""
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
            # One that is lost has its jobs run again, by another: to queue it again would be one worker too many.
            "additional_parameters": {"no-requeue": True, **further},
        }
        return {name: value for name, value in asked.items() if value is not None}
