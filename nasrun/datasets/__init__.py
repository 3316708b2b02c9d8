"""Data sets: images as uint8 arrays, their labels, and a seeded split. Uses only NumPy, not torch."""

from nasrun.datasets.base import Dataset, DatasetError, Split, Splits

__all__ = ["Dataset", "DatasetError", "Split", "Splits"]
