"""The connections between a runner and workers on other machines: TCP, only between those that know the run's key.

Both sides prove that they know the key, without sending it, before anything is read that could run code. The traffic is
not encrypted, because a cluster's network belongs to its users.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

HANDSHAKE_SECONDS = 20.0
NONCE, DIGEST = 32, hashlib.sha256().digest_size
_NUMBER = struct.Struct("!II")
_ROLES = (b"runner", b"worker")


class Listener:
    """Accepts connections of workers that know the key, and passes each on with the two numbers that the worker
    sent."""

    def __init__(self, host: str, key: bytes, welcome: Callable[[socket.socket, int, int], None]) -> None:
        """OSError if nothing can listen at that host. `welcome` is called in a thread."""
        self._key, self._welcome = key, welcome
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.bind(address)
        self._socket.listen(64)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(one,), daemon=True).start()

    def _greet(self, one: socket.socket) -> None:
        try:
            _shake_hands(one, self._key, *_ROLES)
            numbers = _NUMBER.unpack(_read(one, _NUMBER.size))
            _keep(one)
            self._welcome(one, *numbers)
        except (OSError, ValueError):
            one.close()

    def close(self) -> None:
        """Accept no further connections."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def connect(host: str, port: int, key: bytes, worker: int, purpose: int) -> Connection:
    """A worker's connection to its runner; OSError or ValueError if there is none, or it does not know the key."""
    one = socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS)
    try:
        _shake_hands(one, key, *reversed(_ROLES))
        one.sendall(_NUMBER.pack(worker, purpose))
        _keep(one)
    except BaseException:
        one.close()
        raise
    return Connection(one.detach())


def _shake_hands(one: socket.socket, key: bytes, own: bytes, other: bytes) -> None:
    """ValueError if the other side does not know the key."""
    one.settimeout(HANDSHAKE_SECONDS)
    mine = secrets.token_bytes(NONCE)
    one.sendall(mine)
    theirs = _read(one, NONCE)
    one.sendall(hmac.digest(key, own + mine + theirs, "sha256"))
    if not hmac.compare_digest(_read(one, DIGEST), hmac.digest(key, other + theirs + mine, "sha256")):
        raise ValueError("the other side does not know the key of the run")


def _read(one: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = one.recv(size - len(content))
        if not part:
            raise ConnectionError("the other side closed the connection")
        content += part
    return content


def _keep(one: socket.socket) -> None:
    """Make the system notice within two minutes if the other machine is lost."""
    one.settimeout(None)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 6}.items():
        if hasattr(socket, name):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def write_key(path: str, key: bytes) -> None:
    """Write the key into a new file that nobody else can read."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, key)
    finally:
        os.close(file)
