"""Which layer of a larger network stands for which of a smaller one that it grew out of; spaces of such networks."""

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
        """For each layer (or stage) of a child its layer in the parent, from 0 (None: a new one, which passes its input
        on); None where its network cannot compute what its parent's does."""

    @abstractmethod
    def transfer(
        self,
        parent: Genome,
        child: Genome,
        origins: Sequence[int | None],
        weights: "Mapping[str, torch.Tensor]",
        network: "torch.nn.Module",
    ) -> Morphing:
        """Give the network of a child the weights of its parent, by the `descents` of its layers; see `morph`."""

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        """Whether the child has `descents`: nothing of it is smaller or other than in the parent, and what is new can
        pass its input on."""
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
    """For each of a child's `places` the one of its parent's `sources` layers that it stands for, each in turn, or None
    for one that is new; None where there is no such order.

    `grown(source, place)`: whether a layer of the child can do what one of the parent's does. `passes(source, place)`:
    whether a new one can pass on what the parent gives before its layer `source`.
    """

    @cache  # else deep networks that do not fit are tried in all orders
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
