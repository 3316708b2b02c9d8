"""The clock of a run that has a budget of time: of the wall, or of the processor."""

import os
import time
from typing import Literal, NamedTuple

Kind = Literal["wall", "cpu"]
MOST_DELAY = 8.0
BEGAN = "NASRUN_BEGAN"
"""The variable of the environment in which `scripts/nasrun`, which sets up an environment first, says when it is done
with that: seconds since the system started, as the first number of /proc/uptime."""


class Instant(NamedTuple):
    """A moment by both clocks, in seconds: `time.monotonic`, and `time.process_time` (all threads of this process)."""

    wall: float
    cpu: float


def this_moment() -> Instant:
    """This moment."""
    return Instant(time.monotonic(), time.process_time())


def process_start() -> Instant:
    """When this process began: what was imported before nasrun could look at a clock counts too.

    Where it was another program at first, which says when it became nasrun (`BEGAN`), it began then.
    """
    return Instant(time.monotonic() - _age(), 0.0)


def _age() -> float:
    """Seconds since this process was started; where the system does not say (only Linux does), since it used the
    processor."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:
            now = float(file.read().split()[0])
        # A process that was started later inherits what another one said.
        began = max(ticks / float(os.sysconf("SC_CLK_TCK")), _said(now))
        return max(0.0, now - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.process_time()


def _said(now: float) -> float:
    """When another program became nasrun, as it says; 0 where it says nothing, or nothing that can be."""
    try:
        said = float(os.environ.get(BEGAN, "0"))
    except ValueError:
        return 0.0
    return said if 0 <= said <= now else 0.0


class Clock:
    """Seconds of a budget that are spent: those since `began`, and `before`, those of an interrupted run so far."""

    def __init__(self, kind: Kind, began: Instant, before: float = 0.0) -> None:
        self.kind, self._began, self.before = kind, began, before

    @property
    def spent(self) -> float:
        """Seconds spent so far."""
        return self.before + self.read() - (self._began.wall if self.kind == "wall" else self._began.cpu)

    @property
    def delay(self) -> float:
        """How many times as long as on a machine of its own this process takes by the clock; 1 where it is the
        processor's. As far as one can tell from what it got of the processors so far."""
        if self.kind == "cpu":
            return 1.0
        wall, cpu = (time.monotonic() - self._began.wall), (time.process_time() - self._began.cpu)
        return min(MOST_DELAY, max(1.0, wall / cpu)) if cpu > 0 else 1.0

    def read(self) -> float:
        """The time of the clock itself, in seconds from some moment on."""
        return time.monotonic() if self.kind == "wall" else time.process_time()
