"""No search: given architectures, measured in turn."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from nasrun.core import Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import NotEmpty, show


class Fixed(Strategy):
    """Proposes given architectures in order, and starts again after the last.

    `genomes`: strings as in `genomes.txt`; None: one architecture, drawn with the seed. A second round makes sense with
    `deduplicate=never`, which trains again with other seeds.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        genomes: Annotated[list[str], NotEmpty()] | None = None,
    ) -> None:
        self._genomes = [space.sample(rng)] if genomes is None else []
        for text in genomes or ():
            try:
                self._genomes.append(space.parse(text))
            except ValueError as error:
                raise ValueError(f"genomes={show([text])}: {error}") from error
        self._count = 0

    def ask(self, n: int) -> list[Proposal]:
        numbers = range(self._count, self._count + n)
        self._count += n
        return [Proposal(self._genomes[number % len(self._genomes)], origin=Origin.FIXED) for number in numbers]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Does nothing: proposals do not depend on results."""
