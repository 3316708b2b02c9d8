"""The worker in a SLURM job, which evaluates jobs for a runner on another node, and ends with it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasrun.core import Job
from nasrun.hardware.measuring import measured
from nasrun.hardware.remote_worker import Place, said_of, set_up
from nasrun.hardware.slurm.link import connect
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, PROGRESS

TALK, LIFELINE = 0, 1
"""The purposes of a connection: messages, or a lifeline whose end shows that the runner has ended."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""Signals that SLURM sends before a job ends. Submitit would ignore the first, and queue the job again at the
second."""
TAKEN = b"!"
"""The worker's message in that case, so that its task is not considered at fault."""


class SlurmWorker(NamedTuple):
    """A worker, as it is passed to its job. `worker`: its number among all workers of the run. `hosts`, `port`: of the
    runner; `key`: the file with the key of the run. `recipe`: a pickled `Recipe`."""

    worker: int
    hosts: Sequence[str]
    port: int
    key: str
    place: Place
    recipe: bytes

    def __call__(self) -> None:
        """Evaluate what the runner sends until it needs this worker no more, or has ended."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: os._exit(0))
        self.place.enter()
        try:
            key = Path(self.key).read_bytes()
            host = _reachable(self.hosts, self.port)
            lifeline = connect(host, self.port, key, self.worker, LIFELINE)
            connection = connect(host, self.port, key, self.worker, TALK)
        except (OSError, ValueError) as error:  # such as when the run is over
            print(f"{error}; hardware.host names an address of its machine", file=sys.stderr, flush=True)
            os._exit(0)
        for number in SIGNALS:
            signal.signal(number, lambda *_: _end_early(lifeline.fileno()))
        threading.Thread(target=_end_with, args=(lifeline.fileno(),), daemon=True).start()
        turn = threading.Lock()

        def say(kind: str, content: Any = None) -> None:
            with turn:
                connection.send((kind, content))

        try:
            try:
                evaluator = set_up(self.place, self.recipe, say, lambda dataset: None)
                evaluator.on_progress = lambda progress: say(PROGRESS, progress)
                say(BEGUN, _name())
                while True:
                    jobs: Sequence[Job] = connection.recv()
                    say(DONE, list(measured(evaluator, jobs)))
            except (EOFError, ConnectionError):
                pass
            except Exception as error:
                say(ERROR, said_of(error))
                connection.recv()  # until the runner has received it
        except (EOFError, ConnectionError):
            pass
        os._exit(0)  # unloading all imported modules would keep the node for seconds


def _reachable(hosts: Sequence[str], port: int) -> str:
    """The first name of the runner at which it answers; OSError if none does."""
    for host in hosts:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            continue
        return host
    raise ConnectionError(f"the runner cannot be reached as {', '.join(hosts)}, port {port}")


def _name() -> str:
    node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    return f"{node}, SLURM job {os.environ.get('SLURM_JOB_ID', '?')}"


def _end_early(lifeline: int) -> None:
    """Tell the runner that SLURM ends the job, and exit at once: its trials run again elsewhere."""
    try:
        os.write(lifeline, TAKEN)
    finally:
        os._exit(0)


def _end_with(lifeline: int) -> None:
    """End this process at once when the runner has ended, even during training."""
    try:
        os.read(lifeline, 1)
    finally:
        os._exit(1)
