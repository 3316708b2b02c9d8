"""Chooses among architectures by scores of their untrained networks."""

from collections.abc import Hashable, Sequence

import numpy as np

from nasrun.core import Genome, SearchSpace, seeding
from nasrun.core.options import ConfigError
from nasrun.datasets import Dataset
from nasrun.evaluators.proxies.names import NO_IMAGES, Single
from nasrun.evaluators.proxies.scorer import Scorer
from nasrun.hardware.devices import Runtime

RUNTIME = Runtime("cpu", "fp32", "scores of untrained networks", 1, True)
"""Where networks are scored: the same in every run, whatever it trains on, so that it can be resumed anywhere."""


class Screening:
    """Scores architectures, each once, and says which of some is best: by one score, or by the sum of their ranks.

    The initial weights of all of them follow from one `seed`.
    """

    def __init__(
        self, space: SearchSpace, dataset: Dataset, names: Sequence[Single], *, images: int, seed: int
    ) -> None:
        self._space, self._dataset, self._names = space, dataset, tuple(names)
        self._scorer = Scorer(space, dataset, RUNTIME, images, ())
        self._seed = seeding.integer(seed, seeding.Purpose.PROXY)
        self._known: dict[Hashable, tuple[float, ...]] = {}

    def prepare(self) -> None:
        """Load the images, where a score looks at any."""
        if set(self._names) - set(NO_IMAGES):
            self._dataset.load()

    def scores(self, genome: Genome) -> tuple[float, ...]:
        """The scores of an architecture, in the order of their names; minus infinity where it cannot be scored."""
        key = self._space.key(genome)
        if key not in self._known:
            try:
                found = self._scorer.scores(genome, self._seed, self._names)
                self._known[key] = tuple(found[name] for name in self._names)
            except ConfigError:
                raise
            except Exception:  # whether it can be trained is for the evaluator to say
                self._known[key] = tuple(-float("inf") for _ in self._names)
        return self._known[key]

    def best(self, genomes: Sequence[Genome]) -> Genome:
        """The first one of those of the highest score, or sum of ranks."""
        return genomes[int(np.argmax(rank_sums([self.scores(genome) for genome in genomes])))]


def rank_sums(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """For each row of scores the sum over the columns of how many other rows are lower there."""
    table = np.array(rows)
    return np.asarray((table[:, None, :] > table[None, :, :]).sum((1, 2)))
