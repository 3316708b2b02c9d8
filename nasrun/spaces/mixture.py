"""Weights of the choices of a genome, with which a network computes all of them. Imports torch.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), section 2.2, equation 2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from torch import Tensor

from nasrun.core import Genome, Token


class Term(NamedTuple):
    """A choice that is computed. `weight`: a scalar tensor that multiplies its result; None: 1."""

    token: Token
    weight: Tensor | None

    def times(self, value: Tensor) -> Tensor:
        """A value, weighted."""
        return value if self.weight is None else value * self.weight


@dataclass(frozen=True)
class Mixture:
    """For each position of a genome the choices that are computed, with their weights.

    `edges`: factors of the sums of the positions (PC-DARTS, edge normalisation); empty: none. `drop`: changes the
    result of an operation before it is weighted (operation dropout).
    """

    terms: Sequence[Sequence[Term]]
    edges: Sequence[Tensor | None] = ()
    drop: Callable[[Token, Tensor], Tensor] | None = None

    @classmethod
    def of(cls, genome: Genome) -> Self:
        """A single architecture: at each position only its token."""
        return cls([[Term(token, None)] for token in genome])

    @classmethod
    def weighted(
        cls,
        positions: Sequence[Sequence[Token]],
        weights: Sequence[Tensor],
        computed: Sequence[Sequence[int]] | None = None,
        edges: Sequence[Tensor | None] = (),
    ) -> Self:
        """A mixture of all choices of a space. `weights`: per position float (choices,). `computed`: per position the
        indices of the choices whose weight is not 0; None: all."""
        places = computed or [range(len(choices)) for choices in positions]
        rows = zip(positions, weights, places, strict=True)
        return cls([[Term(choices[at], row[at]) for at in chosen] for choices, row, chosen in rows], edges)

    def at(self, position: int) -> Iterator[Term]:
        """The choices of a position that are computed."""
        return iter(self.terms[position])

    def dropped(self, token: Token, value: Tensor) -> Tensor:
        """The result of an operation after `drop`."""
        return value if self.drop is None else self.drop(token, value)

    def edge(self, position: int, value: Tensor) -> Tensor:
        """The sum of a position, weighted among those that are added to the same node."""
        weight = self.edges[position] if self.edges else None
        return value if weight is None else value * weight


def mixture_of(architecture: Genome | Mixture) -> Mixture:
    """The mixture of an architecture; for a genome that of its single architecture."""
    return architecture if isinstance(architecture, Mixture) else Mixture.of(architecture)
