"""A process that imports everything once, and forks worker processes from itself.

Starting Python and importing torch takes about a second, a fork some milliseconds. The server trains nothing and starts
no threads, so that it can be forked safely. nasrun has its own, because the standard library's leaves a socket in the
temporary folder when the runner is killed, and runs the main module again in every worker.
"""

import contextlib
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NoReturn

from nasrun.core.signals import BATCH_SIGNALS
from nasrun.hardware.devices import GPUS
from nasrun.hardware.processes.worker import work
from nasrun.hardware.worker_messages import Recipe, WorkerError

START = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from nasrun.hardware.processes.fork_server import serve
serve({control}, {lifeline})
"""

END_SECONDS = 5.0


class ForkServer:
    """The runner's side: starts the server, and requests workers from it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._lifeline, self._lifeline_end = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, gpu: str | None = None) -> tuple[Connection, int]:
        """A new worker: the connection to it and its process id.

        `gpu`: the value of CUDA_VISIBLE_DEVICES in it; None leaves it unchanged. WorkerError if none can be started.
        """
        for _ in range(2):  # a server that was killed is started once more
            if self._process is None:
                self._start()
            assert self._control is not None
            ours, theirs = Pipe()
            try:
                socket.send_fds(self._control, [(gpu or "-").encode()], [theirs.fileno()])
                answer = self._control.recv(32)
            except ConnectionError:
                answer = b""
            finally:
                theirs.close()
            if answer:
                return ours, int(answer)
            ours.close()
            self._end()
        raise WorkerError("hardware.workers: worker processes could not be started; the reason is above")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        data = [] if self._recipe.data is None else [self._recipe.data.descriptor]
        start = START.format(control=theirs.fileno(), lifeline=self._lifeline)
        with theirs:
            # A session of its own: Ctrl-C in the terminal is for the runner, which ends the workers.
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno(), self._lifeline, *data],
                start_new_session=True,
            )
        self._control = ours
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(pickle.dumps(sys.path) + pickle.dumps(self._recipe))

    def _end(self) -> None:
        """Stop the server; waits a limited time for its workers to end."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._control = None

    def close(self) -> None:
        """End all workers that are left, and the server."""
        for descriptor in (self._lifeline, self._lifeline_end):
            if descriptor >= 0:
                os.close(descriptor)
        self._lifeline = self._lifeline_end = -1
        self._end()


def serve(control: int, lifeline: int) -> NoReturn:
    """The server's side: import, then fork a worker for each request, until the runner closes the socket."""
    for number in BATCH_SIGNALS:  # the runner gets them too, and ends its workers
        signal.signal(number, signal.SIG_IGN)
    recipe: Recipe = pickle.load(sys.stdin.buffer)
    evaluator, dataset = recipe.make()
    for name in evaluator.preload:
        importlib.import_module(name)
    # Ignored, so that the kernel reaps workers that exit: none stays as a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=control) as requests:
        while True:
            request, descriptors, _, _ = socket.recv_fds(requests, 4096, 1)
            if not request:
                _end_workers()
                os._exit(0)  # unloading all imported modules would keep a core busy for seconds
            worker = os.fork()
            if worker == 0:
                code = 1
                try:
                    requests.close()
                    _offer_to_be_killed()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    if request != b"-":
                        os.environ[GPUS] = request.decode()
                    work(Connection(descriptors[0]), lifeline, evaluator, dataset, recipe)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            os.close(descriptors[0])
            requests.send(str(worker).encode())


def _offer_to_be_killed() -> None:
    """Make the kernel (Linux) kill a worker, which is replaced, before the runner when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _end_workers() -> None:
    """End the workers, including stopped or stuck ones: they are the server's process group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os.killpg(0, signal.SIGCONT)
    # The process that adopts orphans on this machine may not reap them.
    with contextlib.suppress(ChildProcessError):
        os.wait()
