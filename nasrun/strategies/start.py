"""The first genomes of a strategy: random ones, known networks, or given ones."""

from collections import deque
from typing import Annotated, Literal

import numpy as np

from nasrun.core import Genome, Origin, Proposal, SearchSpace
from nasrun.core.options import NotEmpty, show

Start = Literal["none", "known", "auto"] | Annotated[list[str], NotEmpty()]
"""The option `start` of strategies: `none`, `known`, `auto`, or architectures as the space writes them."""


class StartingGenomes:
    """The first genomes of a strategy: the starting genomes in their order, then draws of the space.

    `none`: only draws. `known`: the networks that the space knows (`SearchSpace.known`), scaled to the limits if there
    are any. `auto`: known networks if the space has any, else draws. A list: genomes as strings, used unchanged.
    ValueError, beginning with `start`, if the space knows no networks, a string is not a genome, or more genomes are
    given than the strategy has `room` for; of known networks, the first that fit are used.
    """

    def __init__(self, space: SearchSpace, start: Start, room: int | None = None) -> None:
        self._space = space
        self._waiting: deque[Genome] = deque()
        # Whether the first genomes are networks that the space knows.
        self.known = start in ("known", "auto") and bool(space.known())
        if start in ("known", "auto"):
            known = list(space.known().values())
            if not known and start == "known":
                raise ValueError(
                    "start=known: the search space has no known networks within its limits; use none, or genomes in [ ]"
                )
            self._waiting.extend(known[:room])
        elif start != "none":
            self._waiting.extend(_parsed(space, text) for text in start)
            if room is not None and len(self._waiting) > room:
                raise ValueError(f"start={show(start)}: {len(self._waiting)} genomes; there is room for {room}")

    @property
    def left(self) -> bool:
        """Whether some of the starting genomes were not proposed yet."""
        return bool(self._waiting)

    def all(self) -> list[Genome]:
        """All starting genomes, for a strategy that proposes its first ones at once."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def draw(self, rng: np.random.Generator, origin: str = Origin.SAMPLE) -> tuple[Genome, str]:
        """The next starting genome, or else a draw of the space, whose origin is `origin`."""
        if self._waiting:
            return self._waiting.popleft(), Origin.KNOWN
        return self._space.sample(rng), origin

    def proposal(self, rng: np.random.Generator) -> Proposal:
        """The same as a proposal."""
        genome, origin = self.draw(rng)
        return Proposal(genome, origin=origin)


def _parsed(space: SearchSpace, text: str) -> Genome:
    try:
        return space.parse(text)
    except ValueError as error:
        raise ValueError(f"start={show([text])}: {error}") from None
