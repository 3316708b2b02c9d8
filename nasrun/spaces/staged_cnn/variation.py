"""Variation of genomes of `staged_cnn`: mutations, neighbours, crossover."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from nasrun.core import Genome, Mutation
from nasrun.spaces.staged_cnn.genome import EXPANDING, Network, Stage, genome_of, network_of
from nasrun.spaces.staged_cnn.limits import Limits

T = TypeVar("T")

WIDER = (1.25, 1.6)
"""Factors that make a width larger; their inverses make it smaller."""

Edit = Callable[[Network], Iterator[Network]]
"""Gives all results of one mutation of a network; some may equal the network."""


class Variation:
    """Mutations and crossover within the limits of a space.

    A mutation is a list of children, one of which is drawn uniformly; the neighbours of a genome are the children of
    all mutations.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        edits: dict[str, Edit] = {
            "widen": self._widened,
            "narrow": self._narrowed,
            "deepen": self._deepened,
            "shorten": self._shortened,
            "block": self._other_block,
            "kernel": self._other_kernel,
            "expansion": self._other_expansion,
            "squeeze": self._other_squeeze,
            "move_stride": self._moved_stride,
            "resolution": self._other_resolution,
            "add_stage": self._added_stage,
            "remove_stage": self._removed_stage,
            "activation": self._other_activation,
        }
        self._edits = {name: edit for name, edit in edits.items() if self._possible(name)}
        self.mutations: dict[str, Mutation] = {name: partial(self._mutate, edit) for name, edit in self._edits.items()}

    def _possible(self, name: str) -> bool:
        """Whether a mutation can change any genome of the space."""
        limits = self._limits
        expanding = [block for block in limits.blocks if block in EXPANDING]
        return {
            "widen": len(limits.widths) > 1,
            "narrow": len(limits.widths) > 1,
            "deepen": limits.max_repeats > 1,
            "shorten": limits.max_repeats > 1,
            "block": len(limits.blocks) > 1,
            "kernel": any(len(limits.kernels_of(block)) > 1 for block in ("bb", *limits.blocks)),
            "expansion": bool(expanding) and len(limits.expansions) > 1,
            "squeeze": "ir" in limits.blocks and limits.squeeze,
            "add_stage": limits.max_stages > 1,
            "remove_stage": limits.max_stages > 1,
            "activation": len(limits.activations) > 1,
        }.get(name, True)

    def _mutate(self, edit: Edit, genome: Genome, rng: np.random.Generator) -> Genome:
        children = self._children(genome, edit)
        return pick(children, rng) if children else genome

    def _children(self, genome: Genome, edit: Edit) -> list[Genome]:
        found = dict.fromkeys(genome_of(network) for network in edit(network_of(genome)))
        found.pop(genome, None)
        return list(found)

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The children of all mutations, each once."""
        return list(dict.fromkeys(child for edit in self._edits.values() for child in self._children(genome, edit)))

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """The stem and first stages of the first genome, then the last stages of the second; the activation of either.

        Uniform over the cuts that take a stage or more of each and give as many strides as one of the two has; the
        first genome itself if there is no such cut.
        """
        ours, theirs = network_of(first), network_of(second)
        totals = (_strides(ours), _strides(theirs))
        children = [
            ours._replace(stages=ours.stages[:end] + theirs.stages[begin:])
            for end in range(1, len(ours.stages) + 1)
            for begin in range(len(theirs.stages))
            if end + len(theirs.stages) - begin <= self._limits.max_stages
        ]
        fitting = [child for child in children if _strides(child) in totals]
        if not fitting:
            return first
        activation = ours.activation if rng.random() < 0.5 else theirs.activation
        return genome_of(pick(fitting, rng)._replace(activation=activation))

    def _widened(self, network: Network) -> Iterator[Network]:
        """Widen the stem, or one stage."""
        return self._with_widths(network, WIDER)

    def _narrowed(self, network: Network) -> Iterator[Network]:
        """Narrow the stem, or one stage."""
        return self._with_widths(network, [1 / factor for factor in WIDER])

    def _with_widths(self, network: Network, factors: Sequence[float]) -> Iterator[Network]:
        for factor in factors:
            yield network._replace(stem_width=self._limits.stepped(network.stem_width, factor))
            for place, stage in enumerate(network.stages):
                yield _with(network, place, stage._replace(width=self._limits.stepped(stage.width, factor)))

    def _deepened(self, network: Network) -> Iterator[Network]:
        """Add a block to one stage."""
        for place, stage in enumerate(network.stages):
            yield _with(network, place, stage._replace(repeats=min(stage.repeats + 1, self._limits.max_repeats)))

    def _shortened(self, network: Network) -> Iterator[Network]:
        """Remove a block from one stage."""
        for place, stage in enumerate(network.stages):
            yield _with(network, place, stage._replace(repeats=max(stage.repeats - 1, 1)))

    def _other_block(self, network: Network) -> Iterator[Network]:
        """Change the kind of block of one stage."""
        for place, stage in enumerate(network.stages):
            for block in self._limits.blocks:
                yield _with(network, place, self._limits.made_of(block, stage))

    def _other_kernel(self, network: Network) -> Iterator[Network]:
        """Change the kernel of the stem, or of one stage."""
        for kernel in self._limits.kernels_of("bb"):
            yield network._replace(stem_kernel=kernel)
        for place, stage in enumerate(network.stages):
            for kernel in self._limits.kernels_of(stage.block):
                yield _with(network, place, stage._replace(kernel=kernel))

    def _other_expansion(self, network: Network) -> Iterator[Network]:
        """Change the expansion of one stage to the next smaller or larger one."""
        for place, stage in enumerate(network.stages):
            legal = sorted(self._limits.expansions_of(stage.block))
            rank = legal.index(stage.expansion)
            for expansion in legal[max(rank - 1, 0) : rank + 2]:
                yield _with(network, place, stage._replace(expansion=expansion))

    def _other_squeeze(self, network: Network) -> Iterator[Network]:
        """Change the squeeze-and-excite of one stage."""
        for place, stage in enumerate(network.stages):
            for squeeze in self._limits.squeeze_of(stage.block):
                yield _with(network, place, stage._replace(squeeze=squeeze))

    def _moved_stride(self, network: Network) -> Iterator[Network]:
        """Move a stride of 2 from the stem or a stage to another one."""
        strides = _all_strides(network)
        for source, stride in enumerate(strides):
            for target, other in enumerate(strides):
                if stride == 2 and other == 1:
                    moved = list(strides)
                    moved[source], moved[target] = 1, 2
                    yield _with_strides(network, moved)

    def _other_resolution(self, network: Network) -> Iterator[Network]:
        """Add a stride of 2, or remove one."""
        strides = _all_strides(network)
        for place, stride in enumerate(strides):
            yield _with_strides(network, [*strides[:place], 3 - stride, *strides[place + 1 :]])

    def _added_stage(self, network: Network) -> Iterator[Network]:
        """Add a stage of one block and stride 1, as wide as the one before it, at any position but the first."""
        if len(network.stages) == self._limits.max_stages:
            return
        for place, stage in enumerate(network.stages, start=1):
            for block in self._limits.blocks:
                new = self._limits.made_of(block, stage._replace(repeats=1, stride=1))
                yield network._replace(stages=(*network.stages[:place], new, *network.stages[place:]))

    def _removed_stage(self, network: Network) -> Iterator[Network]:
        """Remove a stage; its stride, if it has one, moves to a neighbour that has none."""
        if len(network.stages) == 1:
            return
        for place, stage in enumerate(network.stages):
            left = list(network.stages[:place] + network.stages[place + 1 :])
            for other in (place, place - 1):
                if stage.stride == 2 and 0 <= other < len(left) and left[other].stride == 1:
                    left[other] = left[other]._replace(stride=2)
                    break
            yield network._replace(stages=tuple(left))

    def _other_activation(self, network: Network) -> Iterator[Network]:
        """Change the activation of the whole network."""
        for activation in self._limits.activations:
            yield network._replace(activation=activation)


def _with(network: Network, place: int, stage: Stage) -> Network:
    return network._replace(stages=(*network.stages[:place], stage, *network.stages[place + 1 :]))


def _all_strides(network: Network) -> list[int]:
    """The strides of the stem, then of the stages."""
    return [network.stem_stride, *(stage.stride for stage in network.stages)]


def _with_strides(network: Network, strides: list[int]) -> Network:
    stages = tuple(stage._replace(stride=stride) for stage, stride in zip(network.stages, strides[1:], strict=True))
    return network._replace(stem_stride=strides[0], stages=stages)


def _strides(network: Network) -> int:
    """How often the network halves its images."""
    return _all_strides(network).count(2)


def pick(values: list[T], rng: np.random.Generator) -> T:
    """A uniform draw; several times faster than `rng.integers` or `rng.choice`."""
    return values[int(rng.random() * len(values))]
