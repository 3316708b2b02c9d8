"""Runs on a cluster of several hosts that are hit by faults, and their results; for `bench_ray_faults.py`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from crash_campaign import results
from ray_hosts import QUIET, Host
from ray_nodes import children

NASRUN = str(Path(sys.executable).with_name("nasrun"))
LIMIT = 1500.0
UNDISTURBED = "none"


class Ended(NamedTuple):
    """How a runner ended."""

    code: int
    said: str
    seconds: float


class Runner:
    """A run as a process on a host of a cluster."""

    def __init__(self, host: Host, directory: Path, *words: str) -> None:
        self.directory, self._began = directory, time.monotonic()
        self._log = directory.parent / f"{directory.name}.log"
        self._errors = directory.parent / f"{directory.name}.err"
        with self._log.open("a") as log, self._errors.open("a") as errors:
            self.process = host.open(
                NASRUN, *words, env={**os.environ, **QUIET}, stdout=log, stderr=errors, cwd=directory.parent
            )

    def measured(self) -> int:
        """Number of measurements so far."""
        journal = self.directory / "journal.jsonl"
        return journal.read_bytes().count(b'"event":"measure"') if journal.is_file() else 0

    def wait_for(self, count: int) -> None:
        """Wait until so many trials are measured, or the run has ended."""
        while self.measured() < count and self.process.poll() is None:
            time.sleep(0.1)

    def end(self) -> Ended:
        """Wait for the end."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            for one in children(self.process.pid):
                os.kill(one, signal.SIGKILL)
            code = self.process.wait()
        said = [line for line in self._errors.read_text().splitlines() if line.strip()]
        told = said[-1] if len(said) == 1 else f"{len(said)} lines: {' / '.join(said)[:600]}" if said else ""
        return Ended(code, told, time.monotonic() - self._began)


class Campaign:
    """Injects faults into runs, and records the results."""

    def __init__(self, folder: Path, others: Sequence[Path]) -> None:
        self.folder, self.others = folder, others
        self.failed = False
        self._alone: dict[tuple[str, ...], Path] = {}
        self._usual: dict[tuple[str, ...], float] = {}
        self._count = 0

    def alone(self, words: tuple[str, ...]) -> Path:
        """The same search in one process, without workers."""
        if words not in self._alone:
            directory = self.folder / f"alone{len(self._alone)}"
            given = [word for word in words if not word.startswith("evaluator.delay")]
            done = subprocess.run(
                [NASRUN, *given, "hardware=cpu", "output.console=none", f"hydra.run.dir={directory}"],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            self._alone[words] = directory
        return self._alone[words]

    def begin(self, host: Host, address: str, words: Sequence[str], workers: int = 3) -> Runner:
        """Start a run on a host of a cluster."""
        self._count += 1
        directory = self.folder / f"run{self._count}"
        where = ("hardware=ray", f"hardware.address={address}", f"hardware.workers={workers}")
        return Runner(host, directory, *words, *where, "output.console=plain", f"hydra.run.dir={directory}")

    def finish(self, title: str, runner: Runner, words: tuple[str, ...], again: Callable[[], tuple[Host, str]]) -> None:
        """Wait for the end of a run, resume it if it did not finish, and print the row of the table.

        `again`: restores the cluster; returns the host to resume on, and its address.
        """
        ended = runner.end()
        seconds, how = ended.seconds, "goes on by itself"
        if ended.code:
            measured = runner.measured()
            host, address = again()
            went_on = Runner(host, runner.directory, "resume", str(runner.directory), f"hardware.address={address}")
            last = went_on.end()
            seconds += last.seconds
            how = f"ends after {ended.seconds:.0f} s ({measured} measured), code {ended.code}: `{ended.said}`; resumed"
            how += "" if last.code == 0 else f", which ended with {last.code}: `{last.said}`"
        same = self.same(runner.directory, words)
        if title == UNDISTURBED:
            self._usual[words] = seconds
        usual = self._usual.get(words)
        lost = f"{seconds:.0f} s in all" if usual is None else f"{seconds - usual:+.0f} s of {usual:.0f} s"
        self.row(title, how, same, lost)

    def same(self, directory: Path, words: tuple[str, ...]) -> bool:
        """Whether a run has the same results as in one process."""
        return results(directory) == results(self.alone(words))

    def row(self, title: str, how: str, same: bool | None, lost: str) -> None:
        """Print the result of a fault."""
        self.failed |= same is False
        equal = {True: "equal", False: "OTHER", None: "-"}[same]
        print(f"| {title} | {how} | {equal} | {lost} |", flush=True)
