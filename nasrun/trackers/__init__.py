"""Trackers: where the history of a run goes besides its own tables. None of them can change the run."""

from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker

__all__ = ["TrackedRun", "TrackedTrial", "Tracker"]
