"""What runs in a SLURM job: a worker that evaluates jobs for a runner on another node, and ends with it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasrun.core import Job
from nasrun.hardware.remote_worker import Place, said_of, set_up
from nasrun.hardware.slurm.link import connect
from nasrun.hardware.worker_messages import BEGUN, DONE, ERROR, PROGRESS

TALK, LIFELINE = 0, 1
"""What a connection is for: messages, or to tell by its end that the runner has ended."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""What SLURM sends where the job is to end. Submitit would ignore the one, and queue the job again at the other."""
TAKEN = b"!"
"""What a worker says then, so that nothing that it was at is to blame."""


class SlurmWorker(NamedTuple):
    """A worker, as it is handed to its job. `worker`: its number among all that the run ever had. `hosts`, `port`: of
    the runner; `key`: the file with the key of the run. `recipe`: a pickled `Recipe`."""

    worker: int
    hosts: Sequence[str]
    port: int
    key: str
    place: Place
    recipe: bytes

    def __call__(self) -> None:
        """Evaluate what the runner sends until it needs this worker no more, or is gone."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: os._exit(0))
        self.place.enter()
        try:
            key = Path(self.key).read_bytes()
            host = _reachable(self.hosts, self.port)
            lifeline = connect(host, self.port, key, self.worker, LIFELINE)
            connection = connect(host, self.port, key, self.worker, TALK)
        except (OSError, ValueError) as error:  # as where the run is over
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
                    say(DONE, list(evaluator.evaluate(jobs)))
            except (EOFError, ConnectionError):
                pass
            except Exception as error:
                say(ERROR, said_of(error))
                connection.recv()  # until it is heard
        except (EOFError, ConnectionError):
            pass
        os._exit(0)  # to take down all that was imported would keep the node for seconds


def _reachable(hosts: Sequence[str], port: int) -> str:
    """The first name of the runner under which it answers; OSError where none does."""
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
    """The job is to end: its trials run again elsewhere, the sooner the better."""
    try:
        os.write(lifeline, TAKEN)
    finally:
        os._exit(0)


def _end_with(lifeline: int) -> None:
    """End this process at once when the runner is gone, in the midst of a training too."""
    try:
        os.read(lifeline, 1)
    finally:
        os._exit(1)
