"""The executor whose workers are jobs of a SLURM cluster, which start and end during the run."""

import contextlib
import pickle
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from threading import Lock
from typing import Any

from nasrun.core import Evaluator, Job
from nasrun.hardware.remote import RemoteExecutor, RemoteWorker
from nasrun.hardware.remote_worker import Place
from nasrun.hardware.slurm.jobs import SlurmJobs
from nasrun.hardware.slurm.link import Listener, write_key
from nasrun.hardware.slurm.worker import TAKEN, TALK, SlurmWorker
from nasrun.hardware.worker_messages import DONE, Recipe, WorkerError

FOLDER = ".slurm"
"""The folder in the run directory, during the run, with the files that jobs are started from, and their logs."""
POLL_SECONDS = 5.0
"""Seconds between two checks of the queue, for jobs that ended before they had connected."""
END_SECONDS = 10.0
"""Maximum seconds to wait until SLURM says why a job has ended."""
OWN_FAULT = ("FAILED", "OUT_OF_MEMORY")
"""States of a job that ended by its own fault, not because its node was taken away."""
OVER = ("COMPLETED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", *OWN_FAULT)


@dataclass
class _SlurmJob(RemoteWorker):
    """A job, with the connection to it once it runs. `number`: its number among all jobs of the run. `done`: number of
    shares of trials that it has measured. `end`: its final state in SLURM. `taken`: it reported that SLURM told it to
    end."""

    job: Any
    number: int
    connection: Connection | None = None
    lifeline: socket.socket | None = None
    done: int = 0
    end: str = ""
    taken: bool = False

    @property
    def id(self) -> str:
        """Its number in the queue."""
        return str(self.job.job_id)


class SlurmExecutor(RemoteExecutor[_SlurmJob]):
    """Evaluates in jobs, which are queued when trials wait for them, and end when they are idle.

    A job that is preempted, cancelled, out of time or whose node is lost costs only time: its trials run again
    elsewhere, with their own seeds. Workers read the data by their path, and end with the runner.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: Recipe,
        options: SlurmJobs,
        directory: Path,
        *,
        on_gpus: bool,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(evaluator, options.workers, options.grace, say)
        self._options, self._recipe = options, pickle.dumps(recipe)
        self._place = Place.here("SLURM cluster", directory)
        self._directory, self._on_gpus = directory.absolute(), on_gpus
        self._submit: Callable[..., Any] | None = None
        self._listener: Listener | None = None
        self._numbers, self._looked = 0, time.monotonic()
        self._arrived: list[tuple[socket.socket, int, int]] = []
        self._turn = Lock()
        self._bell, self._ring = Pipe(duplex=False)

    def _open(self) -> None:
        """Open what is needed once there is something to do."""
        import submitit

        folder, key = self._directory / FOLDER, secrets.token_bytes(32)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_key(str(folder / "key"), key)
        hosts = [self._options.host] if self._options.host else [socket.getfqdn(), socket.gethostname()]
        try:
            self._listener = Listener(hosts[-1], key, self._welcome)
        except OSError as error:
            raise WorkerError(f"hardware.host={hosts[-1]}: nothing can listen there ({error})") from error
        self._hosts = list(dict.fromkeys([*hosts, *self._addresses(hosts)]))
        queue = submitit.SlurmExecutor(folder / "%j")
        queue.update_parameters(**self._options.parameters(self._on_gpus), use_srun=False)
        self._submit = queue.submit

    def _addresses(self, hosts: Sequence[str]) -> list[str]:
        found = []
        for host in hosts:
            with contextlib.suppress(OSError):
                found += [str(entry[4][0]) for entry in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]
        return found

    def _may_start(self) -> bool:
        return len(self._starting()) < len(self._tasks)

    def _hand_out(self) -> None:
        super()._hand_out()
        if self._tasks or self._groups:
            there = [one for one in self._workers if one is not None]
            free = [place for place, one in enumerate(self._workers) if one is None]
            for place in free[: max(0, self._options.least - len(there))]:
                self._workers[place] = self._start(place)

    def _start(self, place: int) -> _SlurmJob:
        if self._submit is None or self._listener is None:
            self._open()
        assert self._submit is not None
        assert self._listener is not None
        self._numbers += 1
        key = str(self._directory / FOLDER / "key")
        worker = SlurmWorker(self._numbers, self._hosts, self._listener.port, key, self._place, self._recipe)
        try:
            job = self._submit(worker)
        except Exception as error:  # submitit's own, of several kinds
            raise WorkerError(f"SLURM refuses a worker: {_reason(error)}") from error
        one = _SlurmJob(job, self._numbers, place=place, name=f"SLURM job {job.job_id}, in the queue")
        one.since = time.monotonic()
        return one

    def _welcome(self, connection: socket.socket, worker: int, purpose: int) -> None:
        """Register a worker's connection; called in a thread of the listener."""
        with self._turn:
            self._arrived.append((connection, worker, purpose))
            self._ring.send_bytes(b"!")

    def _send(self, one: _SlurmJob, jobs: Sequence[Job]) -> None:
        assert one.connection is not None
        with contextlib.suppress(OSError):
            one.connection.send(list(jobs))

    def _hear(self, patience: float | None) -> bool:
        self._end_idle()
        there = {one.connection: one for one in self._workers if one is not None and one.connection is not None}
        limits = [limit for limit in (patience, self._seconds_to_notice(), POLL_SECONDS) if limit is not None]
        speaking = wait([self._bell, *there], min(limits))
        for connection in speaking:
            if connection is self._bell:
                self._bell.recv_bytes()
                self._take_in()
                continue
            assert isinstance(connection, Connection)
            one = there[connection]
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                one.end, one.taken = _state_at_end(one.id), _was_taken(one.lifeline)
                self._lost(one, self._why(one))
            else:
                one.done += kind == DONE
                self._take(one, kind, content)
        self._notice()
        self._look_at_queue()
        return bool(speaking)

    def _take_in(self) -> None:
        """Handle connections of workers that have arrived; those no longer expected are closed."""
        with self._turn:
            arrived, self._arrived = self._arrived, []
        by_number = {one.number: one for one in self._workers if one is not None}
        for connection, worker, purpose in arrived:
            one = by_number.get(worker)
            if one is None or (one.connection if purpose == TALK else one.lifeline) is not None:
                connection.close()
            elif purpose == TALK:
                one.connection = Connection(connection.detach())
            else:
                one.lifeline = connection

    def _look_at_queue(self) -> None:
        """Handle jobs that ended before they had connected."""
        if time.monotonic() < self._looked + POLL_SECONDS:
            return
        self._looked = time.monotonic()
        for one in self._starting():
            if one.connection is None and (state := _state(one.id)) in OVER:
                one.end = state
                self._lost(one, self._why(one))

    def _end_idle(self) -> None:
        """End workers that have been idle for a while, except the minimum number."""
        there = [one for one in self._workers if one is not None]
        idle = [one for one in there if one.task is None and one.is_set_up]
        late = [one for one in idle if time.monotonic() > one.since + self._options.idle] if not self._tasks else []
        for one in late[: max(0, len(there) - self._options.least)]:
            self._workers[one.place] = None
            self._kill(one)

    def _is_to_blame(self, one: _SlurmJob) -> bool:
        if one.end == "TIMEOUT":
            return one.done == 0  # a trial that takes longer than a whole job would never end
        return not one.taken and one.end in (*OWN_FAULT, "")

    def _why(self, one: _SlurmJob) -> str:
        return f"SLURM job {one.id} ended ({one.end or 'unknown to SLURM'}){self._last_words(one)}"

    def _last_words(self, one: _SlurmJob) -> str:
        """The last line of a job's log, if there is one."""
        with contextlib.suppress(OSError):
            lines = [line.strip() for line in one.job.paths.stderr.read_text(errors="replace").splitlines()]
            if said := [line for line in lines if line]:
                return f": {said[-1][:200]}"
        return ""

    def _waiting_for(self) -> str:
        return "room on the SLURM cluster (squeue --me shows why)"

    def _kill(self, one: _SlurmJob) -> None:
        for connection in (one.connection, one.lifeline):
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.close()
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # the job or the controller has ended
            subprocess.run(["scancel", one.id], capture_output=True, check=False, timeout=60)

    def close(self) -> None:
        super().close()
        if self._listener is not None:
            self._listener.close()
            self._listener = self._submit = None
            shutil.rmtree(self._directory / FOLDER, ignore_errors=True)
        for connection in (self._bell, self._ring):
            connection.close()


def _state(job: str) -> str:
    """SLURM's state of a job; empty if SLURM does not know it (any more), or does not answer."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "job", "-o", job], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\bJobState=(\w+)", done.stdout)
    return found[1] if found else ""


def _state_at_end(job: str) -> str:
    """SLURM's state of a job that has just ended, and may not be in its records yet."""
    deadline = time.monotonic() + END_SECONDS
    while (state := _state(job)) not in (*OVER, "") and time.monotonic() < deadline:
        time.sleep(0.2)
    return state


def _was_taken(lifeline: socket.socket | None) -> bool:
    """Whether a worker that has ended reported that SLURM told its job to end."""
    if lifeline is None:
        return False
    try:
        lifeline.settimeout(1.0)
        return lifeline.recv(1) == TAKEN
    except OSError:
        return False


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower()]
    return (told or lines or [type(error).__name__])[-1][:300]
