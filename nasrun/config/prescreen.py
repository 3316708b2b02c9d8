"""The section `prescreen`: scores of untrained networks choose what is proposed, and are inputs of predictors."""

from dataclasses import dataclass
from typing import Annotated

from nasrun.core import SearchSpace, Strategy
from nasrun.core.options import AtLeast, Between, ConfigError, NotEmpty, show
from nasrun.datasets import Dataset
from nasrun.evaluators.proxies.evaluator import check_space
from nasrun.evaluators.proxies.names import Single
from nasrun.evaluators.proxies.screening import Screening
from nasrun.strategies.prescreen import PrescreenedSpace, ScoredSpace

Scores = Single | Annotated[list[Single], NotEmpty()] | None
"""One score of untrained networks, several, or none."""


@dataclass(kw_only=True, frozen=True)
class PrescreenOptions:
    """The score, or list of scores whose ranks are added, by which architectures are prescreened; None: no
    prescreening.

    `pool`: number of draws per proposal. `moves`: also screen mutations and crossovers, not only random draws.
    `inputs`: scores that the strategy predicts from. `images`: batch size for scoring.
    """

    score: Scores = None
    pool: Annotated[int, AtLeast(2)] = 10
    moves: bool = True
    inputs: Scores = None
    images: Annotated[int, Between(2, 4096)] = 64

    def screening(self, strategy: type[Strategy], space: SearchSpace, dataset: Dataset, seed: int) -> Screening | None:
        """The scorer of a space; None where nothing is scored. ConfigError if the strategy does not use what is chosen,
        or if all genomes of the space are the same network."""
        names, inputs = _names(self.score), _names(self.inputs)
        for key, value, used, instead in (
            ("score", self.score, strategy.draws_from_space, "does not draw proposals from the search space"),
            ("inputs", self.inputs, strategy.reads_scores, "does not predict from scores"),
        ):
            if value is None:
                continue
            chosen = f"prescreen.{key}={show(value)}"
            check_space(space, chosen)
            if not used:
                other = "aging_evolution" if key == "score" else "predictor"
                raise ConfigError(
                    f"{chosen}: {strategy.__name__} {instead}; choose another strategy, such as strategy={other}, or "
                    f"prescreen.{key}=null"
                )
        if not names and not inputs:
            return None
        return Screening(space, dataset, names, images=self.images, seed=seed, inputs=inputs)

    def screened(self, space: SearchSpace, screening: Screening | None) -> SearchSpace:
        """The space from which the strategy draws."""
        if screening is not None and screening.inputs:
            space = ScoredSpace(space, screening.input_scores)
        if screening is not None and screening.names:
            space = PrescreenedSpace(space, screening.best, pool=self.pool, moves=self.moves)
        return space


def _names(scores: Scores) -> list[Single]:
    return [] if scores is None else [scores] if isinstance(scores, str) else scores
