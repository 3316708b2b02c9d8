"""Hardware that is a Ray cluster (`pip install 'nasrun[ray]'`): its options, and the connection to it.

Only this module imports Ray. What runs there is in `ray_executor` and `ray_worker`.
"""

import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

from nasrun.core.options import AtLeast, ConfigError, error_line
from nasrun.core.words import counted
from nasrun.hardware.cluster import ClusterHardware

LONGEST_FOLDER = 40
"""Maximum length of the path of a local cluster's folder: Ray adds up to 64 characters for its sockets' names, which
the system limits to 107."""
STORE_BYTES = 100 * 2**20
"""Shared memory of a local cluster besides the data; Ray needs at least 75 MiB."""
STARTS = 3
"""Attempts to start a local cluster: on a busy machine its processes may exceed Ray's own limit of 15 s."""
CONNECT_SECONDS = 10.0
QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Hides Ray's own output from the user's terminal (the last pattern matches everything)."""
CLEANUP_SCRIPT = """
import os, shutil, sys, time
done, absent = sys.stdin.read(), 0
for turn in range(100 if done else 1200):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    absent = 0 if os.path.lexists(sys.argv[1]) else absent + 1
    if absent > (1 if done else 50):
        break
    time.sleep(0.1)
"""
"""Waits until the runner has ended, and removes the folder of its cluster, whose processes end with it.

Those of a killed runner may take seconds, in which they would create folders again.
"""


@dataclass(kw_only=True, frozen=True)
class RayCluster(ClusterHardware):
    """The options of a run whose trials are evaluated by actors on a Ray cluster.

    `address`: None starts a cluster on this machine, which ends with the run; otherwise the address of an existing one
    (`auto`, `host:port`, `ray://host:port`). `workers`: number of actors. `cpus` and `gpus` may be fractions, as in
    Ray.
    """

    option = "ray"
    some_gpus = "gpus=1, or a fraction such as gpus=0.5"

    workers: Annotated[int, AtLeast(1)] = 2
    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if value is not None and value > 1 and value != int(value):
                raise ValueError(f"{name}={value:g}: must be a whole number if above 1")
        if self.address is not None and not (self.address == "auto" or ":" in self.address):
            raise ValueError(f"address={self.address}: expected auto, host:port or ray://host:port")
        if find_spec("ray") is None:
            raise ValueError("address: Ray is not installed; install it: pip install 'nasrun[ray]'")

    @property
    def worker_summary(self) -> str:
        return f"{counted(self.workers, 'worker')} on {'a Ray cluster' if self.address else 'Ray, on this machine'}"

    def resources(self, on_gpus: bool) -> dict[str, float]:
        """The resources of one worker on its node: arguments of Ray's `options`."""
        gpus = self.gpus if self.gpus is not None else float(on_gpus)
        memory = {} if self.memory_mb is None else {"memory": self.memory_mb * 2**20}
        return {"num_cpus": self.cpus, "num_gpus": gpus, **memory}

    @contextlib.contextmanager
    def opened(self, data_bytes: int = 0) -> Iterator[None]:
        with environment(QUIET if self.address else QUIET | _key()):
            if library().is_initialized():  # by the caller of nasrun, such as a launcher whose jobs are Ray tasks
                yield
                return
            with self._connection(data_bytes):
                yield

    @contextlib.contextmanager
    def _connection(self, data_bytes: int) -> Iterator[None]:
        ray = library()
        options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
        with contextlib.ExitStack() as stack:
            if self.address is None:
                folder = stack.enter_context(short_folder())
                options |= {"address": "local", "include_dashboard": False, "_temp_dir": folder}
                options |= {"num_cpus": math.ceil(self.workers * self.cpus), "_node_ip_address": "127.0.0.1"}
                options |= {"dashboard_port": stack.enter_context(_taken_port())}
                options |= {"object_store_memory": 2 * data_bytes + STORE_BYTES}
                if self.memory_mb is not None:
                    options["_memory"] = self.workers * self.memory_mb * 2**20
            else:
                options["address"] = self.address
            stack.callback(ray.shutdown)
            for attempt in range(1 if self.address else STARTS):
                try:
                    if self.address and self.address != "auto":
                        _check_reachable(self.address)
                    with _own_sigterm():
                        ray.init(**options)
                    break
                except Exception as error:
                    if self.address or attempt == STARTS - 1:
                        raise ConfigError(self._unreachable(error)) from error
                    ray.shutdown()
            yield

    def _unreachable(self, error: Exception) -> str:
        reason = error_line(error)
        if self.address is None:
            return f"hardware=ray: no Ray cluster could be started on this machine ({reason})"
        return (
            f"hardware.address={self.address}: no Ray cluster can be reached ({reason}); start one with "
            "'ray start --head', or use hardware.address=null"
        )


def library() -> Any:
    """The module `ray`, with its log silenced."""
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """A scope that sets these environment variables unless they are set already, and restores them afterwards."""
    before = dict(os.environ)
    os.environ |= {name: value for name, value in wanted.items() if name not in before}
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ |= before


def _check_reachable(address: str) -> None:
    """OSError or ValueError if nothing listens at an address; Ray would try for a minute, with much output."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


@contextlib.contextmanager
def _taken_port() -> Iterator[int]:
    """A port of this machine that is occupied, so that nothing else can listen there.

    Used as the port of Ray's dashboard, it prevents that process from starting. Without its pages, and with usage
    statistics switched off, the dashboard would only ask the metadata servers of three clouds whether it runs on one of
    them.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """A scope that restores the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def short_folder() -> Iterator[str]:
    """A folder for the files of a local cluster, removed at the end, even if this process is killed."""
    place = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="nasrun-", dir=place if len(place) < LONGEST_FOLDER - 16 else "/tmp"
    ) as folder:
        client = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", CLEANUP_SCRIPT, folder], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            yield folder
        finally:
            client.communicate(b"done")


_KEY: dict[str, str] = {}


def _key() -> dict[str, str]:
    """The key that keeps others out of this process's local clusters. Ray reads it once, when it is imported.

    Ray would create a key itself, and leave it in the user's home folder.
    """
    if not _KEY and "RAY_AUTH_MODE" not in os.environ:
        _KEY.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    return _KEY
