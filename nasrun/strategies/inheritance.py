"""Weight inheritance in evolutionary strategies: children that start from their parents' weights."""

from collections.abc import Collection, Iterable
from typing import Literal, Protocol

from nasrun.core import Genome, Proposal, SearchSpace

Inherit = Literal["none", "morphisms", "all"]
"""The option `inherit` of strategies: which children start from their parents' weights."""


class Bred(Protocol):
    """A model of a population that may become a parent: its genome, and the trial that has its weights."""

    @property
    def genome(self) -> Genome: ...

    @property
    def trial(self) -> int: ...


class Inheritance:
    """Lets children start from their parents' weights.

    Sources: Elsken et al., "Simple and Efficient Architecture Search for CNNs", 2018 (arXiv 1711.04528), and "Efficient
    Multi-Objective Neural Architecture Search via Lamarckian Evolution", ICLR 2019 (arXiv 1804.09081).

    `none`: all children start from new weights. `morphisms`: children that can compute their parent's function start
    with it (`SearchSpace.can_morph`), the others from new weights. `all`: the others take over the tensors of their
    parent that fit. ValueError, beginning with `inherit`, if the space has no morphisms.
    """

    def __init__(self, space: SearchSpace, inherit: Inherit) -> None:
        if inherit == "morphisms" and not space.has_morphisms:
            raise ValueError(
                "inherit=morphisms: this search space has none; use none, all (tensors that fit), or "
                "search_space=staged_cnn or sequential_cnn"
            )
        self._space, self._inherit = space, inherit

    @property
    def on(self) -> bool:
        """Whether any child inherits."""
        return self._inherit != "none"

    def given(self, proposal: Proposal, parent: Bred) -> Proposal:
        """The proposal of a child, with the warm start from its parent."""
        if self._inherit == "none":
            return proposal
        if self._space.can_morph(parent.genome, proposal.genome):
            return proposal._replace(warm_start="morph")
        return proposal._replace(warm_start="inherit") if self._inherit == "all" else proposal

    def needed(self, parents: Iterable[Bred]) -> Collection[int]:
        """The trials of the models that may become parents, whose weights children may need."""
        return [parent.trial for parent in parents] if self.on else ()
