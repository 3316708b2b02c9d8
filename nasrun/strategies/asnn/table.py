"""The table that the ASNN learns from: widths of dense networks and the results of their repeats."""

from collections.abc import Sequence

import numpy as np

from nasrun.core import Objective
from nasrun.core.averages import exact_mean
from nasrun.core.options import show
from nasrun.core.words import counted
from nasrun.tables.asnn import Widths, measured_widths


class MeasuredTable:
    """Architectures of one depth, in the order in which they were added, with their scores: higher is better.

    A score is the objective of one repeat, negated if lower is better. Architectures may differ in the number of
    repeats.
    """

    def __init__(self, depth: int, objective: Objective) -> None:
        self._depth, self._objective = depth, objective
        self._sign = 1.0 if objective.mode == "max" else -1.0
        self._scores: dict[Widths, list[float]] = {}

    def __len__(self) -> int:
        return len(self._scores)

    def __contains__(self, widths: Widths) -> bool:
        return widths in self._scores

    def add(self, widths: Widths, values: Sequence[float]) -> None:
        """Add the objective values of some repeats; those of a known architecture are appended to its others."""
        if values:
            self._scores.setdefault(widths, []).extend(self._sign * value for value in values)

    def value(self, score: float) -> float:
        """The objective's value for a score."""
        return self._sign * score

    @property
    def measurements(self) -> int:
        """Number of scores of all architectures."""
        return sum(map(len, self._scores.values()))

    @property
    def best(self) -> tuple[Widths, list[float]]:
        """The architecture with the highest mean (the first of equal ones), and its scores."""
        return max(self._scores.items(), key=lambda row: exact_mean(row[1]))

    @property
    def deviation(self) -> float:
        """Standard deviation of the architectures' means."""
        return float(np.std([exact_mean(scores) for scores in self._scores.values()]))

    def augmented(self, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Training rows: scores (rows, repeats) in random orders, and their widths (rows, depth).

        `repeats` is the largest number that any architecture has. For an architecture with fewer, the missing scores
        are drawn from its own with replacement, anew in each row. The architectures share the rows evenly.
        """
        repeats = max(map(len, self._scores.values()))
        inputs, widths = np.empty((rows, repeats)), np.empty((rows, self._depth))
        for place, (key, scores) in enumerate(self._scores.items()):
            mine = slice(place, rows, len(self._scores))
            shuffled = np.tile(np.array(scores), (len(range(rows)[mine]), 1))
            drawn = rng.choice(scores, (len(shuffled), repeats - len(scores)))
            inputs[mine] = rng.permuted(np.hstack([shuffled, drawn]), axis=1)
            widths[mine] = key
        return inputs, widths

    def load(self, source: str) -> None:
        """Add a shipped table by its name, or the trials of an earlier run by its directory.

        From a run, it takes the architectures of this depth that have the objective's metric. ValueError, beginning
        with `table=`, if there are none.
        """
        given = f"table={show(source)}"
        try:
            for widths, values in measured_widths(source, self._depth, self._objective.metric):
                self.add(widths, values)
        except ValueError as error:
            raise ValueError(f"{given}: {error}") from None
        if not self._scores:
            what = f"architectures of {counted(self._depth, 'layer')} with {self._objective.metric}"
            raise ValueError(f"{given}: holds no {what}, as the search space has")
