"""A Ray cluster of several nodes on this machine, whose nodes can be killed: for the campaign and the tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def children(process: int) -> list[int]:
    """The child processes of a process (Linux)."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def command_line(process: int) -> bytes:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


class Nodes:
    """A head, on which the runner runs, and nodes that can be lost, each with one processor.

    `address`: that of the head, for `hardware.address`. `on_head`: processors of the head.
    """

    def __init__(self, on_head: int = 1) -> None:
        from ray.util import get_node_ip_address

        with socket.socket() as probe:
            probe.bind(("", 0))
            host: str = get_node_ip_address()  # type: ignore[no-untyped-call]
            self.address = f"{host}:{probe.getsockname()[1]}"
        self._nodes: list[subprocess.Popen[str]] = []
        port = self.address.rpartition(":")[2]
        # Lost nodes are noticed after five seconds instead of fifteen.
        often = '--system-config={"health_check_period_ms":1000}'
        self._start("--head", f"--port={port}", f"--num-cpus={on_head}", "--include-dashboard=false", often)

    def add(self) -> None:
        """Add a node."""
        self._start(f"--address={self.address}", "--num-cpus=1", "--object-store-memory=100000000")

    def _start(self, *words: str) -> None:
        """Start a node; on a busy machine it may exceed Ray's own time limits, and is tried again."""
        program = str(Path(sys.executable).with_name("ray"))
        command = [program, "start", "--block", "--dashboard-agent-listen-port=0", *words]
        for _ in range(6):
            node = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            assert node.stdout is not None
            if any("Ray runtime started" in line for line in node.stdout):
                self._nodes.append(node)
                return
            node.communicate()
        raise RuntimeError("Ray could not be started")

    def at_work(self) -> list[int]:
        """The raylets of nodes with an actor of nasrun, without the head's."""
        raylets = [raylet for node in self._nodes[1:] for raylet in _raylets(node)]
        return [one for one in raylets if any(b"RayWorker" in command_line(child) for child in children(one))]

    def kill_one(self) -> None:
        """Kill the raylet of the last node; the workers there end with it."""
        [raylet] = _raylets(self._nodes[-1])
        os.kill(raylet, signal.SIGKILL)

    def mend(self) -> None:
        """Replace the nodes that were lost."""
        lost = [node for node in self._nodes[1:] if not _raylets(node)]
        for node in lost:
            self._nodes.remove(node)
            node.terminate()
            node.communicate()
            self.add()

    def end(self) -> None:
        """End all nodes."""
        for node in reversed(self._nodes):
            node.terminate()
            node.communicate()


def _raylets(node: "subprocess.Popen[str]") -> list[int]:
    return [pid for pid in children(node.pid) if b"raylet/raylet" in command_line(pid)]


@contextlib.contextmanager
def cluster(nodes: int, on_head: int = 1) -> Iterator[Nodes]:
    """A scope with a cluster of some nodes besides its head, isolated from any other on this machine."""
    wanted = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_prestart_worker_first_driver": "0"}
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="nr-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update(wanted, RAY_TMPDIR=folder)
        try:
            made = Nodes(on_head)
            try:
                for _ in range(nodes):
                    made.add()
                yield made
            finally:
                made.end()
        finally:
            os.environ.clear()
            os.environ.update(before)
