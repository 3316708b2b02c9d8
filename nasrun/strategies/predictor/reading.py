"""The inputs and targets of predictors: genomes as vectors, scores as ranks."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.strategies.controllers.vocabulary import TokenVocabulary


class GenomeReader:
    """Turns genomes into vectors: `tokens`, an input per token and position; or `vector`, `SearchSpace.encode`."""

    def __init__(self, space: SearchSpace, encoding: Literal["vector", "tokens"]) -> None:
        self._space = space
        self._slots = TokenVocabulary(space) if encoding == "tokens" else None

    def __call__(self, genome: Genome) -> np.ndarray:
        """The vector of a genome; all have the same length."""
        if self._slots is None:
            return self._space.encode(genome)
        entries = np.zeros(self._slots.count)
        entries[[self._slots.of(position, [token])[0] for position, token in enumerate(genome)]] = 1.0
        return entries


def shares_below(scores: Sequence[float]) -> np.ndarray:
    """For each score (-inf: failed) the share in [0, 1] of successful scores that are lower, ties in the middle.

    The same for any metric. Failed trials rank below all others but do not count in the shares, so failures do not
    compress the range of the others. At least one trial must have succeeded.
    """
    values = np.array(scores)
    ordered = np.sort(values[values > -np.inf])
    places = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(places / (2 * len(ordered)))


def ranks_of(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Scores of untrained networks as inputs, float (rows, scores): in each column the standardised rank among all
    rows. Ranks fit scores of any scale. Minus infinity, which marks a network that cannot be scored, is below all
    others; a column without any other value is 0."""
    table = np.array(rows, dtype=np.float64)
    columns = [
        standardised(shares_below(column)) if (column > -np.inf).any() else np.zeros(len(column)) for column in table.T
    ]
    return np.stack(columns, 1) if columns else np.zeros((len(table), 0))


def standardised(shares: np.ndarray) -> np.ndarray:
    """Shares scaled to mean 0 and standard deviation 1, for uniform shares."""
    return np.asarray((shares - 0.5) * 12**0.5)
