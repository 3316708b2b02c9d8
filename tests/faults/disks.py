"""Disks that are full or read-only, for real: small file systems in memory where these can be mounted."""

import contextlib
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PAGE = 4096


@cache
def can_mount() -> bool:
    """Whether this process may mount file systems (root outside of most containers)."""
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


@contextlib.contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of some size in a new folder; a folder like any other where none can be mounted."""
    folder.mkdir()
    if not can_mount():
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def filled(folder: Path, left: int) -> Iterator[None]:
    """Only so many bytes are left on the disk of a folder; where it is not one of `disk`, no file may become longer."""
    if os.path.ismount(folder):
        space = os.statvfs(folder)
        filler = folder / "filler"
        filler.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - left) // PAGE * PAGE))
        try:
            yield
        finally:
            filler.unlink()
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written into a folder: for everyone where that can be mounted, else for others than root.

    Files that are open at the time can still be written to.
    """
    if can_mount():
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        yield
    finally:
        for place in places:
            place.chmod(0o755)
