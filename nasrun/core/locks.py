"""Lock files for work that one process does while others wait."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, name: str, does: str) -> Iterator[None]:
    """Hold a lock file; print a message once if another process holds it for more than a second.

    `name`: the locked thing, for that message; `does`: what the other process does with it, as a verb. The lock ends
    with its process, however that ends. OSError if the file cannot be created.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"{name}: waiting for another process that {does} it ({path})", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
