"""The table that the ASNN learns from: widths of dense networks and the results of their repeats."""

from collections.abc import Sequence

import numpy as np

from nasrun.core import Genome, Objective
from nasrun.core.averages import exact_mean
from nasrun.core.home import at_home
from nasrun.core.options import show
from nasrun.core.words import counted
from nasrun.storage.journal import JournalError
from nasrun.storage.records import read_run
from nasrun.tables.asnn import UNITS, Asnn

SHIPPED = ("two_layer", "three_layer")
"""The grids of the paper. Its suggestions, which the shipped file also holds, are left out."""

Widths = tuple[int, ...]


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
        if source in SHIPPED:
            self._load_shipped(source)
        else:
            try:
                run = read_run(at_home(source))
            except (OSError, JournalError) as error:
                hint = f"neither a run directory nor one of {', '.join(SHIPPED)}"
                reason = hint if isinstance(error, OSError) else str(error)
                raise ValueError(f"{given}: {reason}") from None
            for record in run.trials.values():
                genome, reused = record.trial.proposal.genome, record.trial.proposal.reuse_of
                if reused is None and (widths := widths_of(genome, self._depth)):
                    self.add(widths, record.values(self._objective.metric))
        if not self._scores:
            what = f"architectures of {counted(self._depth, 'layer')} with {self._objective.metric}"
            raise ValueError(f"{given}: holds no {what}, as the search space has")

    def _load_shipped(self, part: str) -> None:
        shipped = Asnn()
        shipped.load()
        for row in shipped.rows_of(part).tolist():
            widths = tuple(width for width in shipped.arrays["widths"][row].tolist() if width)
            if len(widths) == self._depth:
                self.add(widths, (shipped.arrays["accuracies"][row] / UNITS).tolist())


def widths_of(genome: Genome, depth: int) -> Widths | None:
    """The widths of a genome `(depth, width, ...)` of dense layers; None for any other genome."""
    numbers = tuple(token for token in genome if isinstance(token, int))
    return numbers[1:] if len(numbers) == len(genome) == depth + 1 and numbers[0] == depth else None
