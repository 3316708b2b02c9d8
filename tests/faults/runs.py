"""Small runs to do harm to, what must come out of them all the same, and what nothing may leave behind."""

import csv
import io
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from nasrun.storage import journal
from tests.hardware.trouble import gone_within
from tests.support import made_run

COMMAND = str(Path(sys.executable).with_name("nasrun"))
QUICK = (
    "evaluator=synthetic",
    "dataset=synthetic",
    "output.plots=false",
    "output.console=none",
    "search_space=sequential_cnn",
)
"""A run of milliseconds."""
TABLES = ("trials.csv", "measurements.csv", "history.csv")


def run(directory: Path, *words: str) -> Path:
    """A run in this process."""
    return made_run(directory, *QUICK, *words)


def results(directory: Path) -> dict[str, object]:
    """The results of a run, without times."""
    found: dict[str, object] = {}
    for name in TABLES:
        rows = csv.DictReader(io.StringIO((directory / name).read_text()))
        found[name] = [{column: cell for column, cell in row.items() if column != "seconds"} for row in rows]
    for name in ("genomes.txt", "best.json"):
        found[name] = (directory / name).read_bytes()
    weights = directory / "best" / "model.safetensors"
    found[weights.name] = weights.read_bytes() if weights.is_file() else None
    found["checkpoints"] = sorted((path.name, path.read_bytes()) for path in directory.glob("checkpoints/*"))
    return found


def count(directory: Path, event: str) -> int:
    """Events of a kind in the journal of a run that may be going on."""
    path = directory / journal.NAME
    return path.read_bytes().count(b'"event":"%s"' % event.encode()) if path.is_file() else 0


def eventually(wanted: Callable[[], object], seconds: float = 180) -> None:
    """Wait until something holds, on a machine that may be busy."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cut(directory: Path, event: str, number: int = 0) -> None:
    """Take the journal back to just before an event of a kind, as a kill at that moment leaves it."""
    path = directory / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    position = [at for at, line in enumerate(lines) if b'"event":"%s"' % event.encode() in line][number]
    path.write_bytes(b"".join(lines[:position]))


class Process:
    """The command in a process of its own, which is marked, like all processes that it starts."""

    def __init__(self, folder: Path, *words: str, program: Iterable[str] = (COMMAND,), **environment: str) -> None:
        self.mark = f"nasrun-fault-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [*program, *words],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NASRUN_TEST_MARK": self.mark, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, directory: Path, event: str, number: int) -> None:
        """Until the journal of the run holds so many events of a kind."""
        while count(directory, event) < number:
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.01)

    def end(self, seconds: float = 5) -> tuple[int, str]:
        """The exit code and what was said on stderr; no process of the run may be left after so many seconds."""
        error = self.process.communicate(timeout=300)[1]
        assert gone_within(seconds, self.mark), "processes are left"
        return self.process.returncode, error


def temporary_files(folder: Path) -> list[str]:
    """Half-written files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tmp"))


def shared_names() -> set[str]:
    """What has a name in shared memory, or was left in the folder for temporary files by multiprocessing."""
    folders = (Path("/dev/shm").glob("*"), Path(tempfile.gettempdir()).glob("pymp-*"))
    return {path.name for paths in folders for path in paths if not path.name.startswith(("plasma", "ray"))}
