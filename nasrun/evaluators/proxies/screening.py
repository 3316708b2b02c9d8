"""Chooses among architectures by scores of their untrained networks."""

from collections.abc import Hashable, Mapping, Sequence

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
    """Scores architectures, each once. `best` of some goes by `names`, by one score or by the sum of their ranks;
    `inputs` are scores that a strategy predicts from.

    The initial weights of all of them follow from one `seed`.
    """

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        names: Sequence[Single],
        *,
        images: int,
        seed: int,
        inputs: Sequence[Single] = (),
    ) -> None:
        self._space, self._dataset = space, dataset
        self.names, self.inputs = tuple(names), tuple(inputs)
        self._all = tuple(dict.fromkeys((*self.names, *self.inputs)))
        self._scorer = Scorer(space, dataset, RUNTIME, images, ())
        self._seed = seeding.integer(seed, seeding.Purpose.PROXY)
        self._known: dict[Hashable, Mapping[str, float]] = {}

    def prepare(self) -> None:
        """Load the images, if a score needs any."""
        if set(self._all) - set(NO_IMAGES):
            self._dataset.load()

    def scores(self, genome: Genome) -> tuple[float, ...]:
        """The scores of an architecture, in the order of `names`; minus infinity where it cannot be scored."""
        return tuple(self._found(genome)[name] for name in self.names)

    def input_scores(self, genome: Genome) -> tuple[float, ...]:
        """The scores of an architecture, in the order of `inputs`; minus infinity where it cannot be scored."""
        return tuple(self._found(genome)[name] for name in self.inputs)

    def best(self, genomes: Sequence[Genome]) -> Genome:
        """The first one of those of the highest score, or sum of ranks."""
        return genomes[int(np.argmax(rank_sums([self.scores(genome) for genome in genomes])))]

    def _found(self, genome: Genome) -> Mapping[str, float]:
        """All scores of an architecture, by name."""
        key = self._space.key(genome)
        if key not in self._known:
            try:
                self._known[key] = self._scorer.scores(genome, self._seed, self._all)
            except ConfigError:
                raise
            except Exception:  # whether it can be trained is for the evaluator to say
                self._known[key] = dict.fromkeys(self._all, -float("inf"))
        return self._known[key]


def rank_sums(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """For each row of scores the sum over the columns of how many other rows are lower there."""
    table = np.array(rows)
    return np.asarray((table[:, None, :] > table[None, :, :]).sum((1, 2)))
