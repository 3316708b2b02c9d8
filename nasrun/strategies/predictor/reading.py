"""How predictors read what was told: genomes as numbers, scores as ranks."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.strategies.controllers.vocabulary import TokenVocabulary


class GenomeReader:
    """Genomes as vectors: `tokens`, an input per token and position; or `vector`, `SearchSpace.encode`."""

    def __init__(self, space: SearchSpace, encoding: Literal["vector", "tokens"]) -> None:
        self._space = space
        self._slots = TokenVocabulary(space) if encoding == "tokens" else None

    def __call__(self, genome: Genome) -> np.ndarray:
        """The vector of a genome; of the same length for all of them."""
        if self._slots is None:
            return self._space.encode(genome)
        entries = np.zeros(self._slots.count)
        entries[[self._slots.of(position, [token])[0] for position, token in enumerate(genome)]] = 1.0
        return entries


def shares_below(scores: Sequence[float]) -> np.ndarray:
    """For each score (-inf: failed) the share of those that did not fail and are lower, ties in the middle: in [0, 1].

    The same for any metric. What failed is below all others and not among them: however much fails, the others stay
    apart. At least one must not have failed.
    """
    values = np.array(scores)
    ordered = np.sort(values[values > -np.inf])
    places = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(places / (2 * len(ordered)))


def standardised(shares: np.ndarray) -> np.ndarray:
    """Shares scaled to the mean 0 and standard deviation 1 of uniform ones."""
    return np.asarray((shares - 0.5) * 12**0.5)
