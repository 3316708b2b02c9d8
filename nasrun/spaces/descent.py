"""Matches the layers of a larger network to those of the smaller one that it grew from; base class of such spaces."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from nasrun.core import Genome, Morphing, SearchSpace

if TYPE_CHECKING:
    import torch


class GrowingSpace(SearchSpace):
    """A search space whose networks can take over the function of smaller ones, layer by layer."""

    has_morphisms = True

    @abstractmethod
    def descents(self, parent: Genome, child: Genome) -> Sequence[int | None] | None:
        """For each layer (or stage) of a child the index of its layer in the parent, from 0 (None: a new one, which
        passes its input on); None if the child's network cannot compute its parent's function."""

    @abstractmethod
    def transfer(
        self,
        parent: Genome,
        child: Genome,
        origins: Sequence[int | None],
        weights: "Mapping[str, torch.Tensor]",
        network: "torch.nn.Module",
    ) -> Morphing:
        """Copy a parent's weights into the network of its child, by the `descents` of its layers; see `morph`."""

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        """Whether the child has `descents`: no part of it is smaller or different than in the parent, and new parts can
        pass their input on."""
        return self.descents(parent, child) is not None

    def morph(
        self, parent: Genome, child: Genome, weights: "Mapping[str, torch.Tensor]", network: "torch.nn.Module"
    ) -> Morphing:
        origins = self.descents(parent, child)
        if origins is None:
            raise TypeError(f"{self.format(child)} cannot compute what {self.format(parent)} does")
        return self.transfer(parent, child, origins, weights, network)


def aligned(
    sources: int, places: int, grown: Callable[[int, int], bool], passes: Callable[[int, int], bool]
) -> list[int | None] | None:
    """For each of a child's `places` the index of the parent's layer (of `sources`) that it takes over, in order, or
    None if it is new; None if there is no such order.

    `grown(source, place)`: whether a layer of the child can compute the function of one of the parent's.
    `passes(source, place)`: whether a new layer can pass on the parent's input of its layer `source`.
    """

    @cache  # without it, deep networks that do not fit are tried in all orders
    def rest(source: int, place: int) -> list[int | None] | None:
        if places - place < sources - source:
            return None
        if place == places:
            return []
        if source < sources and grown(source, place):
            found = rest(source + 1, place + 1)
            if found is not None:
                return [source, *found]
        found = rest(source, place + 1) if passes(source, place) else None
        return None if found is None else [None, *found]

    return rest(0, 0)
