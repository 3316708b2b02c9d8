"""The lock of a run directory or sweep: its holder, the holder's progress, and how to stop it.

The operating system frees a lock when its process ends. While the lock is held, the content of the file is rewritten
every second, so that others can see the progress, also on a shared file system. A file next to it asks the holder to
stop as at Ctrl-C. Neither affects the result of a run.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nasrun.core.options import ConfigError, shell_command
from nasrun.storage.journal import now
from nasrun.storage.stored_config import refuse_links

NAME = ".lock"
STOP = ".stop"
"""The ending of the file that asks the holder of a lock to stop: `.lock.stop`."""
SECONDS = 0.5
"""Seconds between two checks for such a file."""
LOOKED_AT = 0.3
"""Seconds for which a process that only tests whether a lock is free may hold it."""
ABSENT = 15.0
"""Seconds without an update after which a holder on another machine counts as dead, if locks do not work across
machines."""
MOST_BYTES = 2**20

Describe = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Holder:
    """The content of a lock file. `alive`: the lock is held.

    `began`, `seen`: times of acquisition and of the last update, in seconds since 1970. `says`: the holder's progress.
    `stoppable`: it can be asked to stop. `asked`: it was asked. `stopped`: it ended because of that. `complete`: it
    ended with all work done.
    """

    alive: bool
    host: str = ""
    pid: int = 0
    job: str | None = None
    began: float | None = None
    seen: float | None = None
    stoppable: bool = True
    asked: bool = False
    stopped: bool = False
    complete: bool = False
    says: Mapping[str, Any] | None = None

    @property
    def place(self) -> str:
        """The location of the holder, in words."""
        return f"{self.host}, process {self.pid}" + (f", SLURM job {self.job}" if self.job else "")


class Hold:
    """A lock held by this process. `describe`: returns the progress as JSON; may be set at any time.

    `complete`: to be set when all work is done; it is written when the lock is freed.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stop = path, path.with_name(path.name + STOP)
        self._began, self._over = now(), threading.Event()
        self._in_main = threading.current_thread() is threading.main_thread()
        self._turn, self._stopped = threading.Lock(), False
        self._attendant = threading.Thread(target=self._attend, name="nasrun-lock", daemon=True)
        self._before = path.read_bytes() if path.is_file() else b""
        self.describe: Describe = dict
        self.complete = False

    def begin(self) -> None:
        """Write the holder to the file, and check for stop requests from now on."""
        self._stop.unlink(missing_ok=True)  # left by an earlier holder
        self.write()
        self._attendant.start()

    def end(self) -> None:
        """Write that the lock is free; afterwards stop requests have no effect."""
        if self._over.is_set():
            return
        with self._turn:
            self._over.set()
        if self._attendant.is_alive():
            self._attendant.join()
        self.write(ended=now())
        with contextlib.suppress(OSError):
            self._stop.unlink(missing_ok=True)

    def undo(self) -> None:
        """After `end`: restore the earlier content of the file, because nothing was started."""
        with contextlib.suppress(OSError):
            self._replace(self._before)

    def _attend(self) -> None:
        turn = 0
        while not self._over.wait(SECONDS):
            turn += 1
            if turn % 2 == 0:
                self.write()
            with self._turn:
                if self._in_main and not self._over.is_set() and self._stop.is_file():
                    self._stopped = True
                    # Sent to the main thread, which interrupts its waiting.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return

    def write(self, ended: float | None = None) -> None:
        """Write the progress to the file; `ended`: time of the end, if it has ended.

        A full disk or missing folder is ignored here; the run itself will notice.
        """
        with contextlib.suppress(
            OSError, RuntimeError, ValueError
        ):  # RuntimeError: the progress changed in the meantime
            said = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}
            said |= {"began": self._began, "seen": now(), "stoppable": self._in_main, "ended": ended}
            said |= {"stopped": self._stopped, "complete": self.complete and ended is not None}
            self._replace(json.dumps({**said, "says": dict(self.describe())}).encode() + b"\n")

    def _replace(self, text: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.pwrite(file, text, 0)
            os.ftruncate(file, len(text))
        finally:
            os.close(file)


@contextlib.contextmanager
def locked(directory: Path, name: str = NAME) -> Iterator[Hold]:
    """Lock a run directory for this process; ConfigError if another one holds it.

    `ask_to_stop` raises the signal of Ctrl-C in the holder.
    """
    refuse_links(directory)
    lock = FileLock(directory / name, timeout=LOOKED_AT)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        stop = shell_command("stop", directory)
        raise ConfigError(f"{directory}: in use by another nasrun process; stop it with: {stop}") from None
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    hold = Hold(directory / name)
    try:
        with contextlib.suppress(OSError):
            hold.begin()
        yield hold
    except ConfigError:  # rejected: keep the information about the earlier holder
        hold.end()
        hold.undo()
        raise
    finally:
        hold.end()
        lock.release()


def holder_of(path: Path) -> Holder:
    """The current or last holder of a lock; reading does not interfere with it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return Holder(alive=False)
    with os.fdopen(descriptor, "rb") as file:
        held = _is_held(file.fileno())
        said = _read(file.fileno())
        silent = now() - os.fstat(file.fileno()).st_mtime
    elsewhere = bool(said) and said.get("host") != socket.gethostname() and said.get("ended") is None
    alive = held or (elsewhere and silent < ABSENT)  # not every file system supports locks across machines
    asked = path.with_name(path.name + STOP).is_file()
    try:
        return Holder(
            alive=alive,
            host=str(said.get("host", "")),
            pid=int(said.get("pid", 0)),
            job=None if said.get("job") is None else str(said["job"]),
            began=None if said.get("began") is None else float(said["began"]),
            seen=None if said.get("seen") is None else float(said["seen"]),
            stoppable=bool(said.get("stoppable", True)),
            asked=asked,
            stopped=bool(said.get("stopped", False)),
            complete=bool(said.get("complete", False)) and not alive,
            says=said["says"] if isinstance(said.get("says"), dict) else None,
        )
    except (TypeError, ValueError):
        return Holder(alive=alive, asked=asked)


def ask_to_stop(path: Path) -> None:
    """Ask the holder of a lock to stop; ConfigError if the request cannot be written."""
    try:
        path.with_name(path.name + STOP).touch()
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be written to ({error.strerror}); its owner must stop it") from error


def take_back(path: Path) -> None:
    """Withdraw a stop request, because the holder ended by itself."""
    with contextlib.suppress(OSError):
        path.with_name(path.name + STOP).unlink(missing_ok=True)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _read(descriptor: int) -> dict[str, Any]:
    """The content of the file; empty if it is missing or malformed. It may be rewritten at this moment."""
    for _ in range(5):
        try:
            found = json.loads(os.pread(descriptor, MOST_BYTES, 0).partition(b"\n")[0])
        except (ValueError, RecursionError):
            continue
        except OSError:
            break
        return found if isinstance(found, dict) else {}
    return {}
