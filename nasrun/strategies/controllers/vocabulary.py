"""The numbered tokens of any space, by which strategies with networks read a genome."""

from collections.abc import Sequence

import numpy as np

from nasrun.core import Genome, SearchSpace, Token

QUIET_WALKS = 64
"""Walks in a row without a new slot after which all slots of a space count as found."""

MOST_WALKS = 4096
"""Maximum number of walks in the search for slots."""

UNKNOWN = 0
"""The slot of every token that no walk met."""


class TokenVocabulary:
    """The numbered tokens of a space by their position in a genome: what the networks read, and value.

    They are found without enumerating the space, by walks through `choices` that are the same for every seed. At each
    position a walk takes, with equal probability, the token that was taken least often there or a random one, because
    the first rule alone may cycle. Tokens that no walk meets share one slot, so that every genome can be read.
    """

    def __init__(self, space: SearchSpace) -> None:
        taken: dict[tuple[int, Token], int] = {}
        self.positions = 0
        rng = np.random.default_rng(0)
        walks = quiet = 0
        while quiet < QUIET_WALKS and walks < MOST_WALKS:
            known = len(taken)
            prefix: Genome = ()
            while legal := space.choices(prefix):
                position = len(prefix)
                counts = [taken.setdefault((position, token), 0) for token in legal]
                draw = int(2 * len(legal) * rng.random())
                token = legal[draw if draw < len(legal) else counts.index(min(counts))]
                taken[position, token] += 1
                prefix = (*prefix, token)
            self.positions = max(self.positions, len(prefix))
            walks += 1
            quiet = quiet + 1 if len(taken) == known else 0
        self.tokens = tuple(dict.fromkeys(token for _, token in taken))
        """Every token that the walks met, each once."""
        self._numbers = {slot: number for number, slot in enumerate(taken, start=UNKNOWN + 1)}
        self.count = len(self._numbers) + 1

    def of(self, position: int, tokens: Sequence[Token]) -> list[int]:
        """The slots of some tokens at a position (from 0)."""
        return [self._numbers.get((position, token), UNKNOWN) for token in tokens]
