"""Memory that really runs out: of the addresses of this process, or of a control group of the kernel's."""

import contextlib
import os
import resource
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def few_addresses(megabytes: int) -> Iterator[None]:
    """A scope in which this process can take so much memory more, and not a byte beyond that."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:")]
    limit = int(line.split()[1]) * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[Path | None]:
    """A control group whose processes have so much memory together, beyond which the kernel kills one of them.

    Yields the file to which a process writes its id to enter; None where no such group can be made here, as by a user
    who is not root.
    """
    group = None
    for parent, limit in ((CGROUPS, "memory.max"), (CGROUPS / "memory", "memory.limit_in_bytes")):
        folder = parent / f"nasrun-test-{uuid.uuid4().hex}"
        try:
            folder.mkdir()
            # The folder of all groups may be an ordinary one, whose folders are no groups.
            if (folder / limit).is_file():
                (folder / limit).write_text(str(megabytes * 2**20))
                group = folder
                break
        except OSError:
            pass
        if folder.is_dir():
            folder.rmdir()
    try:
        yield None if group is None else group / "cgroup.procs"
    finally:
        if group is not None:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _remove(group)


def kills(group: Path) -> int:
    """How many processes of a group the kernel has killed for their memory; `group`: what `memory_group` yields."""
    counts: list[str] = []
    for name in ("memory.events", "memory.oom_control"):
        if (group.parent / name).is_file():
            counts += (group.parent / name).read_text().splitlines()
    return sum(int(line.split()[1]) for line in counts if line.startswith("oom_kill "))


def _remove(folder: Path) -> None:
    """Remove a group as soon as its last process is buried."""
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.05)
    folder.rmdir()
