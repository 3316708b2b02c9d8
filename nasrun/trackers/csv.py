"""Tracker `csv`: nothing besides the tables that every run writes into its directory."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker


class Csv(Tracker):
    """No tracker: `trials.csv`, `measurements.csv` and `history.csv` are there in any case."""

    active = False

    def begin(self, run: TrackedRun, trials: Sequence[TrackedTrial]) -> None:
        pass

    def log(self, trials: Sequence[TrackedTrial]) -> None:
        pass

    def finish(self, summary: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass
