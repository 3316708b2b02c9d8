"""Data sets: images as uint8 arrays, their labels, and a seeded split. numpy only: torch comes in with training."""

from nasrun.datasets.base import Dataset, DatasetError, Split, Splits

__all__ = ["Dataset", "DatasetError", "Split", "Splits"]
