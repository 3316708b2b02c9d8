"""Trackers: further destinations for the history of a run. They cannot affect the run."""

from nasrun.trackers.base import TrackedRun, TrackedTrial, Tracker

__all__ = ["TrackedRun", "TrackedTrial", "Tracker"]
