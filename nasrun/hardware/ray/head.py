"""Watches whether the head of a Ray cluster can be reached: without it Ray itself ends this process, after a minute and
with many lines of output."""

import contextlib
import socket
import threading
import time

from nasrun.hardware.worker_messages import WorkerError

LOST_SECONDS = 40.0
"""Seconds without a connection to the head after which the run ends. Ray waits for 60 s, by its setting
`gcs_rpc_server_reconnect_timeout_s`; a head that is cut off briefly may be back before."""
LOOK_SECONDS = 5.0


class Head:
    """Checks the head every few seconds, in its own thread. `address`: host:port of its control store."""

    def __init__(self, address: str, *, lost: float = LOST_SECONDS, look: float = LOOK_SECONDS) -> None:
        self._address, self._lost, self._look = address, lost, look
        self._seen, self._over = time.monotonic(), threading.Event()
        threading.Thread(target=self._watch, name="nasrun-ray-head", daemon=True).start()

    def _watch(self) -> None:
        host, _, port = self._address.rpartition(":")
        while not self._over.wait(self._look):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=self._look).close()
                self._seen = time.monotonic()

    @property
    def is_lost(self) -> bool:
        """Whether it was unreachable for too long."""
        return time.monotonic() > self._seen + self._lost

    def check(self) -> None:
        """WorkerError if it is lost."""
        if self.is_lost:
            raise WorkerError(
                f"the head of the Ray cluster ({self._address}) could not be reached for {self._lost:.0f} s; "
                "start the cluster again"
            )

    def close(self) -> None:
        """Stop checking."""
        self._over.set()
