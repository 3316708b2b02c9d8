"""The lock of a run directory, or of a sweep: who holds it, what it is at, and how it is asked to stop.

The operating system frees a lock when its process ends, however it ends. What the file says beside that is rewritten
every second while the lock is held, so that others see, through a shared file system too, what goes on; and a file
beside it asks the holder to end as at Ctrl-C. Neither has a part in what a run comes to.
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
"""Between two looks for such a file."""
LOOKED_AT = 0.3
"""Seconds for which a lock may be held by whoever only looks whether it is free."""
ABSENT = 15.0
"""Seconds without a sign of life after which a holder on another machine counts as gone, where locks do not reach."""
MOST_BYTES = 2**20

Describe = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Holder:
    """What a lock file says. `alive`: the lock is held.

    `began`, `seen`: seconds since 1970 of the taking of the lock and the last sign of life. `says`: what the holder is
    at. `stoppable`: it can be asked to stop. `asked`: it was. `stopped`: it ended because of that. `complete`: it ended
    with all done that it was to do.
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
        """Where it is, in words."""
        return f"{self.host}, process {self.pid}" + (f", SLURM job {self.job}" if self.job else "")


class Hold:
    """A lock that this process holds. `describe`: says what it is at, as JSON; may be set at any time.

    `complete`: is to be set when all is done; the file says so once the lock is free."""

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
        """Show who holds the lock, and from now on look for a wish to stop."""
        self._stop.unlink(missing_ok=True)  # one of an earlier time
        self.write()
        self._attendant.start()

    def end(self) -> None:
        """Show that the lock is free; from here on nobody is interrupted."""
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
        """After `end`: have the file say what it said before, since nothing was begun."""
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
                    # To the main thread itself: what it waits for ends only then.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return

    def write(self, ended: float | None = None) -> None:
        """Say in the file what the run is at, as happens every few seconds; `ended`: when it ended, if it did.

        A disk that is full, or a folder that is gone, is for the run itself to notice.
        """
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # RuntimeError: what it is at changed meanwhile
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
    """Hold a run directory for this process alone; ConfigError if another one does.

    Whoever asks the holder to stop (`ask_to_stop`) has the signal of Ctrl-C raised in it.
    """
    refuse_links(directory)
    lock = FileLock(directory / name, timeout=LOOKED_AT)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        stop = shell_command("stop", directory)
        raise ConfigError(f"{directory}: in use by another nasrun process; end that: {stop}") from None
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written to ({error.strerror})") from error
    hold = Hold(directory / name)
    try:
        with contextlib.suppress(OSError):
            hold.begin()
        yield hold
    except ConfigError:  # refused: who held it before, and how that ended, is still what is to be seen
        hold.end()
        hold.undo()
        raise
    finally:
        hold.end()
        lock.release()


def holder_of(path: Path) -> Holder:
    """Who holds the lock of that path, or held it last; reading takes nothing from anyone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return Holder(alive=False)
    with os.fdopen(descriptor, "rb") as file:
        held = _is_held(file.fileno())
        said = _read(file.fileno())
        silent = now() - os.fstat(file.fileno()).st_mtime
    elsewhere = bool(said) and said.get("host") != socket.gethostname() and said.get("ended") is None
    alive = held or (elsewhere and silent < ABSENT)  # not every file system carries locks to other machines
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
    """Ask whoever holds the lock of that path to end; ConfigError if that cannot be written."""
    try:
        path.with_name(path.name + STOP).touch()
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be written to ({error.strerror}); ask its owner to end it") from error


def take_back(path: Path) -> None:
    """Ask for nothing any more: the holder ended by itself."""
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
    """What the file says; empty if that is nothing, or not of a holder. It may be rewritten at this moment."""
    for _ in range(5):
        try:
            found = json.loads(os.pread(descriptor, MOST_BYTES, 0).partition(b"\n")[0])
        except (ValueError, RecursionError):
            continue
        except OSError:
            break
        return found if isinstance(found, dict) else {}
    return {}
