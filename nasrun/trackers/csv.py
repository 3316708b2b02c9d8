"""Tracker `csv`: only the tables that every run writes to its directory."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker


class Csv(Tracker):
    """No further tracker; every run writes `trials.csv`, `measurements.csv` and `history.csv`."""

    active = False

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        pass

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass
