"""Comparison of runs from Python, with the numbers of `nasrun compare`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrun.api.arguments import directory_of, keys_of
from nasrun.api.results import Run
from nasrun.core.options import ConfigError
from nasrun.reports.compare import runs as compared
from nasrun.reports.compare.curves import Curve, trial_curves
from nasrun.reports.compare.numbers import Measure, measures
from nasrun.reports.compare.tables import cells, summary_lines


@dataclass(frozen=True)
class Comparison:
    """Groups of runs of one benchmark, over seeds; created by `nasrun.compare`."""

    by: Sequence[str]
    """The keys that define the groups."""
    groups: Sequence[str]
    """The names of the groups, the values of `by`."""
    measures: Sequence[Measure]
    """The objective, and the test metrics and regrets that the runs have. Each has a table over seeds (`rows`), tests
    of all pairs (`tests`) and Friedman's p-value (`friedman`)."""
    curves: dict[str, Curve]
    """For each group the incumbent over trials (`x`, `mean`) with the 95 % bootstrap interval of the mean (`low`,
    `high`)."""
    remarks: Sequence[str]
    """Remarks for the reader, such as omitted runs."""
    text: str
    """The whole comparison as text, as shown by `print`."""

    def __str__(self) -> str:
        return self.text

    def frame(self, measure: str | None = None) -> Any:
        """The table over seeds of a measure as a pandas DataFrame, with one row per group.

        Args:
            measure: its name; None: the objective.

        Raises:
            KeyError: there is no such measure.
            ImportError: pandas is not installed.
        """
        import pandas

        names = {one.name: one for one in self.measures}
        if measure is not None and measure not in names:
            raise KeyError(f"{measure}: no such measure; known: {', '.join(names)}")
        chosen = names[measure] if measure is not None else self.measures[0]
        return pandas.DataFrame([row._asdict() for row in chosen.rows]).set_index("group")


def compare(runs: Sequence[Run | str | Path] | Run | str | Path, by: Sequence[str] | str = ()) -> Comparison:
    """Compare runs over seeds, with the numbers of `nasrun compare`.

    Args:
        runs: runs, or folders whose runs are all included; or a single one.
        by: the config key, or several keys, that define the groups; by default `strategy`.

    Raises:
        ConfigError: what is given are no runs, there is no finished run, or two runs differ in their benchmark; the
            text names the key.
    """
    given = runs if isinstance(runs, Iterable) and not isinstance(runs, Run | str | bytes) else [runs]
    expected = "a run or the path of a folder of runs, or a list of them"
    given = list(given)
    if not given:
        raise ConfigError(f"runs=[]: expected {expected}")
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
