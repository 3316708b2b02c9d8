"""Grid search: every architecture of a list, or of the whole space."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import NotEmpty, Positive


class Grid(Strategy):
    """Proposes each architecture once, in a fixed order, and ends.

    `genomes`: the architectures, as strings that the space parses; None enumerates the whole space, in the order of
    `SearchSpace.choices`. On the space of dense networks with `widths=[16,32]`, for example, this is the grid of the
    two widths. `shuffle`: use an order drawn with the seed. `limit`: refuse to enumerate a space with more genomes,
    because its first trials say nothing about the others; None: no limit. Genomes that build the same network are all
    proposed; `deduplicate=resample` drops them.

    ValueError, beginning with the key, for a string that is not a genome, and for a space over the limit.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        genomes: Annotated[list[str | int], NotEmpty()] | None = None,
        shuffle: bool = False,
        limit: Positive | None = 20_000,
    ) -> None:
        ordered = _walk(space) if genomes is None else iter([_parsed(space, str(text)) for text in genomes])
        if genomes is None and limit is not None:
            # A space that does not know its size is counted, up to the limit.
            size = space.size if space.size is not None else sum(1 for _ in islice(_walk(space), limit + 1))
            if size > limit:
                held = f"{size:,}" if space.size is not None else f"over {limit:,}"
                raise ValueError(
                    f"limit={limit}: the space holds {held} architectures; make it smaller, or list genomes"
                )
        if shuffle:
            listed = list(ordered)
            ordered = iter([listed[place] for place in rng.permutation(len(listed)).tolist()])
        self._genomes = ordered
        self._next = next(ordered, None)

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and self._next is not None:
            proposals.append(Proposal(self._next, origin=Origin.GRID))
            self._next = next(self._genomes, None)
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Does nothing: proposals do not depend on results."""

    @property
    def done(self) -> bool:
        return self._next is None


def _walk(space: SearchSpace, prefix: Genome = ()) -> Iterator[Genome]:
    """Every genome that begins with a prefix, one at a time, in the order of the choices."""
    legal = space.choices(prefix)
    if not legal:
        yield prefix
    for token in legal:
        yield from _walk(space, (*prefix, token))


def _parsed(space: SearchSpace, text: str) -> Genome:
    try:
        return space.parse(text)
    except ValueError as error:
        raise ValueError(f"genomes={text}: {error}") from None
