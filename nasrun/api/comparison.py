"""Comparing runs from Python: the numbers of `nasrun compare`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrun.api.arguments import directory_of, keys_of
from nasrun.api.results import Run
from nasrun.reports.compare import runs as compared
from nasrun.reports.compare.curves import Curve, trial_curves
from nasrun.reports.compare.numbers import Measure, measures
from nasrun.reports.compare.tables import cells, summary_lines


@dataclass(frozen=True)
class Comparison:
    """Runs of one benchmark in groups, over seeds; `nasrun.compare` makes it."""

    by: Sequence[str]
    """The keys that tell the groups apart."""
    groups: Sequence[str]
    """The names of the groups, the values of `by`."""
    measures: Sequence[Measure]
    """The objective, the test metrics and the regrets, as far as the runs have them. Each has a table over seeds
    (`rows`), tests of all pairs (`tests`) and Friedman's p-value (`friedman`)."""
    curves: dict[str, Curve]
    """By group, the incumbent over trials (`x`, `mean`) with the 95 % bootstrap interval of the mean (`low`,
    `high`)."""
    remarks: Sequence[str]
    """What a reader must know, such as runs that were left out."""
    text: str
    """All of it as text; what `print` shows."""

    def __str__(self) -> str:
        return self.text

    def frame(self, measure: str | None = None) -> Any:
        """The table over seeds of a measure as a pandas frame, a row per group.

        Args:
            measure: its name; None: the objective.

        Raises:
            KeyError: there is no such measure.
            ImportError: pandas is not installed.
        """
        import pandas

        names = {one.name: one for one in self.measures}
        if measure is not None and measure not in names:
            raise KeyError(f"{measure}: there is {', '.join(names)}")
        chosen = names[measure] if measure is not None else self.measures[0]
        return pandas.DataFrame([row._asdict() for row in chosen.rows]).set_index("group")


def compare(runs: Sequence[Run | str | Path] | Run | str | Path, by: Sequence[str] | str = ()) -> Comparison:
    """Compare runs over seeds; the numbers are those of `nasrun compare`.

    Args:
        runs: runs, or folders below which all runs are taken; or one of them.
        by: the key of the config that tells the groups apart, or several; by default `strategy`.

    Raises:
        ConfigError: what is given are no runs, there is no finished one, or two are not of the same benchmark; it names
            the key.
    """
    given = runs if isinstance(runs, Iterable) and not isinstance(runs, Run | str | bytes) else [runs]
    expected = "a run or the path of a folder of runs, or a list of them"
    folders = [one.directory if isinstance(one, Run) else directory_of(one, expected) for one in given]
    comparison = compared.compare_runs(folders, keys_of(by, "by"))
    found = measures(comparison)
    lines = [*summary_lines(comparison), *(line for one in found for line in ("", one.name, *_aligned(cells(one))))]
    return Comparison(
        tuple(comparison.by),
        tuple(comparison.groups),
        found,
        trial_curves(comparison),
        comparison.remarks,
        "\n".join(lines),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
