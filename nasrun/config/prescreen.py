"""The section `prescreen`: propose the best architecture of a pool by a score of untrained networks."""

from dataclasses import dataclass
from typing import Annotated

from nasrun.core import SearchSpace, Strategy
from nasrun.core.options import AtLeast, Between, ConfigError, NotEmpty, show
from nasrun.datasets import Dataset
from nasrun.evaluators.proxies.evaluator import check_space
from nasrun.evaluators.proxies.names import Single
from nasrun.evaluators.proxies.screening import Screening
from nasrun.strategies.prescreen import PrescreenedSpace


@dataclass(kw_only=True, frozen=True)
class PrescreenOptions:
    """The score, or list of scores whose ranks are added, by which architectures are prescreened; None: no
    prescreening.

    `pool`: number of draws per proposal. `moves`: also screen mutations and crossovers, not only random draws.
    `images`: batch size for scoring.
    """

    score: Single | Annotated[list[Single], NotEmpty()] | None = None
    pool: Annotated[int, AtLeast(2)] = 10
    moves: bool = True
    images: Annotated[int, Between(2, 4096)] = 64

    def screening(self, strategy: type[Strategy], space: SearchSpace, dataset: Dataset, seed: int) -> Screening | None:
        """The scorer of a space; None without prescreening. ConfigError if the strategy does not draw from the space,
        or if all its genomes are the same network."""
        if self.score is None:
            return None
        chosen = f"prescreen.score={show(self.score)}"
        check_space(space, chosen)
        if not strategy.draws_from_space:
            raise ConfigError(
                f"{chosen}: {strategy.__name__} does not draw proposals from the search space; choose another "
                "strategy, such as strategy=aging_evolution, or prescreen.score=null"
            )
        names = [self.score] if isinstance(self.score, str) else self.score
        return Screening(space, dataset, names, images=self.images, seed=seed)

    def screened(self, space: SearchSpace, screening: Screening | None) -> SearchSpace:
        """The space from which the strategy draws."""
        if screening is None:
            return space
        return PrescreenedSpace(space, screening.best, pool=self.pool, moves=self.moves)
