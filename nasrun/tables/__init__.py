"""Benchmark tables: published accuracies of whole search spaces. Uses only NumPy."""

from nasrun.core import SearchSpace
from nasrun.core.home import at_home
from nasrun.core.options import show
from nasrun.tables.asnn import Asnn
from nasrun.tables.base import BenchmarkTable, ShippedTable, TableError, Trainings, mean
from nasrun.tables.nasbench101.table import EcNas, RecordFile
from nasrun.tables.nasbench201 import NasBench201
from nasrun.tables.own import ENDINGS, OwnTable

__all__ = ["SHIPPED", "BenchmarkTable", "ShippedTable", "TableError", "Trainings", "choose", "mean"]

SHIPPED: tuple[type[ShippedTable], ...] = (NasBench201, EcNas, Asnn)


def choose(table: str, space: SearchSpace) -> BenchmarkTable:
    """The table with a name, in a file, or (`auto`) of a search space; nothing is read yet.

    ValueError, starting with `table=`, if there is no such table, or it belongs to another space.
    """
    spaces = [kind.__module__.removeprefix("nasrun.spaces.").partition(".")[0] for kind in type(space).__mro__]
    if table == "auto":
        fitting = next((kind for kind in SHIPPED if kind.space in spaces), None)
        if fitting is None:
            known = ", ".join(f"search_space={kind.space}" for kind in SHIPPED)
            raise ValueError(f"table=auto: no table for this search space; there are tables for {known}")
        return fitting()
    named = next((kind for kind in SHIPPED if kind.name == table), None)
    chosen = named() if named is not None else _file(table, space)
    if chosen.space and chosen.space not in spaces:
        raise ValueError(f"table={show(table)}: only has architectures of search_space={chosen.space}")
    return chosen


def _file(table: str, space: SearchSpace) -> BenchmarkTable:
    path = at_home(table)
    if not path.is_file():
        known = ", ".join(kind.name for kind in SHIPPED)
        raise ValueError(f"table={show(table)}: no such table, and no such file; known: auto, {known}")
    return OwnTable(path, space) if path.suffix.lower() in ENDINGS else RecordFile(path)
