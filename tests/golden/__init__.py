"""Pinned trajectories, one per strategy. `python -m tests.golden` writes those that are missing or changed."""
