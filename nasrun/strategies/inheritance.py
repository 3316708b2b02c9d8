"""What evolutionary strategies share: children that begin with the weights of their parents."""

from collections.abc import Collection, Iterable
from typing import Literal, Protocol

from nasrun.core import Genome, Proposal, SearchSpace

Inherit = Literal["none", "morphisms", "all"]
"""The option `inherit` of strategies: which children begin with weights of their parents."""


class Bred(Protocol):
    """A model of a population that may be a parent: its genome, and the trial that has its weights."""

    @property
    def genome(self) -> Genome: ...

    @property
    def trial(self) -> int: ...


class Inheritance:
    """Has children begin with the weights of their parents.

    Sources: Elsken et al., "Simple and Efficient Architecture Search for CNNs", 2018 (arXiv 1711.04528), and "Efficient
    Multi-Objective Neural Architecture Search via Lamarckian Evolution", ICLR 2019 (arXiv 1804.09081).

    `none`: children begin anew. `morphisms`: those that can compute what their parents do begin with that
    (`SearchSpace.can_morph`), the others anew. `all`: the others begin with those tensors of their parents that fit.
    ValueError, beginning with `inherit`, where the space has no morphisms.
    """

    def __init__(self, space: SearchSpace, inherit: Inherit) -> None:
        if inherit == "morphisms" and not space.has_morphisms:
            raise ValueError(
                "inherit=morphisms: this search space has none; right are none, or all (tensors that fit), or "
                "search_space=staged_cnn or sequential_cnn"
            )
        self._space, self._inherit = space, inherit

    @property
    def on(self) -> bool:
        """Whether any child inherits."""
        return self._inherit != "none"

    def given(self, proposal: Proposal, parent: Bred) -> Proposal:
        """The proposal of a child, with what it inherits of its parent."""
        if self._inherit == "none":
            return proposal
        if self._space.can_morph(parent.genome, proposal.genome):
            return proposal._replace(warm_start="morph")
        return proposal._replace(warm_start="inherit") if self._inherit == "all" else proposal

    def needed(self, parents: Iterable[Bred]) -> Collection[int]:
        """The trials whose weights children may begin with, of the models that may become parents."""
        return [parent.trial for parent in parents] if self.on else ()
