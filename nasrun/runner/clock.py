"""The clock of a run with a time budget: wall time or processor time."""

import os
import time
from typing import Literal, NamedTuple

Kind = Literal["wall", "cpu"]
MOST_DELAY = 8.0
BEGAN = "NASRUN_BEGAN"
"""Environment variable in which `scripts/nasrun` says when it has finished setting up an environment: seconds since the
system started, as the first number of /proc/uptime."""


class Instant(NamedTuple):
    """A moment by both clocks, in seconds: `time.monotonic`, and `time.process_time` (all threads of this process)."""

    wall: float
    cpu: float


def this_moment() -> Instant:
    """The current moment."""
    return Instant(time.monotonic(), time.process_time())


def process_start() -> Instant:
    """The moment when this process started, so that the time of imports counts.

    If the process was another program first, which says when it became nasrun (`BEGAN`), the moment is that one.
    """
    return Instant(time.monotonic() - _age(), 0.0)


def _age() -> float:
    """Seconds since this process started; if the system does not say (only Linux does), the processor time it has
    used."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:
            now = float(file.read().split()[0])
        # A process that starts later inherits the variable of an earlier one.
        began = max(ticks / float(os.sysconf("SC_CLK_TCK")), _said(now))
        return max(0.0, now - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.process_time()


def _said(now: float) -> float:
    """When another program became nasrun, by its own account; 0 if it gives no valid time."""
    try:
        said = float(os.environ.get(BEGAN, "0"))
    except ValueError:
        return 0.0
    return said if 0 <= said <= now else 0.0


class Clock:
    """Seconds spent of a budget: those since `began`, and `before`, those of an interrupted run so far."""

    def __init__(self, kind: Kind, began: Instant, before: float = 0.0) -> None:
        self.kind, self._began, self.before = kind, began, before

    @property
    def spent(self) -> float:
        """Seconds spent so far."""
        return self.before + self.read() - (self._began.wall if self.kind == "wall" else self._began.cpu)

    @property
    def delay(self) -> float:
        """How many times longer this process takes by the clock than on an idle machine, estimated from its share of
        processor time so far; 1 for processor time."""
        if self.kind == "cpu":
            return 1.0
        wall, cpu = (time.monotonic() - self._began.wall), (time.process_time() - self._began.cpu)
        return min(MOST_DELAY, max(1.0, wall / cpu)) if cpu > 0 else 1.0

    def read(self) -> float:
        """The current time of the clock, in seconds from an arbitrary origin."""
        return time.monotonic() if self.kind == "wall" else time.process_time()
