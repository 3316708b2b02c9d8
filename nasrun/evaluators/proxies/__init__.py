"""Scores of untrained networks."""
