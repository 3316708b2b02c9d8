"""The section `prescreen`: what is proposed is the best of a pool by a score of untrained networks."""

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
    """By which score, or sum of ranks by several, architectures are chosen before they are proposed; None: not at all.

    `pool`: draws of which the best is taken. `moves`: also of mutations and crossovers, not of random draws alone.
    `images`: in the batch that networks are scored on.
    """

    score: Single | Annotated[list[Single], NotEmpty()] | None = None
    pool: Annotated[int, AtLeast(2)] = 10
    moves: bool = True
    images: Annotated[int, Between(2, 4096)] = 64

    def screening(self, strategy: type[Strategy], space: SearchSpace, dataset: Dataset, seed: int) -> Screening | None:
        """What scores the architectures of a space; None where nothing is screened. ConfigError where a strategy draws
        nothing from the space, or its genomes are one network."""
        if self.score is None:
            return None
        chosen = f"prescreen.score={show(self.score)}"
        check_space(space, chosen)
        if not strategy.draws_from_space:
            raise ConfigError(
                f"{chosen}: {strategy.__name__} does not draw what it proposes from the search space; choose another "
                "strategy, as strategy=aging_evolution, or prescreen.score=null"
            )
        names = [self.score] if isinstance(self.score, str) else self.score
        return Screening(space, dataset, names, images=self.images, seed=seed)

    def screened(self, space: SearchSpace, screening: Screening | None) -> SearchSpace:
        """The space as a strategy draws from it."""
        if screening is None:
            return space
        return PrescreenedSpace(space, screening.best, pool=self.pool, moves=self.moves)
