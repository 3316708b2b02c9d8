"""Files that one process makes while others wait for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, name: str, does: str) -> Iterator[None]:
    """Hold a lock file; say so once where another process holds it for more than a moment.

    `name`: what is made, for that message; `does`: what the other process does with it. A lock ends with its process,
    however that ends. OSError where the file cannot be made.
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
