"""What a search space can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasrun.core.types import CellGraph, Cost, Genome, Kind, Morphing, Mutation, Task, Token

if TYPE_CHECKING:
    import numpy as np
    import torch


class SearchSpace(ABC):
    """A set of architectures: how they are drawn, varied, written down and built.

    Every method that takes a generator draws from it alone, so that a seeded search repeats itself.
    """

    mutations: Mapping[str, Mutation]
    """Named mutations. Each yields a valid genome different from its parent wherever one exists, else the parent."""

    null_mutations: bool = False
    """Whether a mutation may yield the parent also where it could change it."""

    size: int | None = None
    """Number of genomes in the space; None where it is unknown."""

    kinds: tuple[Kind, ...] = ("classification",)
    """The kinds of tasks that `build` makes networks for."""

    flops_limit: int | None = None
    """FLOPs that a network for images of 32 by 32 pixels or fewer may have under `constraints.flops=auto`, so that a
    trial takes seconds; for larger images in proportion to their pixels (`flops_limit_for`). None: any number."""

    start: Genome | None = None
    """Where all genomes are one network that is trained in different ways, so that weights carry over from any to any:
    the genome to set out from. None: genomes are different networks."""

    has_supernet: bool = False
    """Whether `supernet` makes a network."""

    has_parts: bool = False
    """Whether architectures take parts of weights of the network of `supernet` (`smaller`)."""

    operation_weights: Mapping[str, float] = {}
    """How often each operation is drawn, in proportion to each other, where shared weights are trained on draws of the
    space (`evaluator.operation_weights=auto`): by its token. Empty: as `sample` draws them."""

    scaled_settings: tuple[str, ...] = ()
    """Training settings for which genomes hold factors (`setting_factors`), by the names of
    `nasrun.training.settings.SCALED`."""

    mixed_channels: int = 0
    """Channels of the narrowest operation that `relaxed` mixes; 0 where there is no `relaxed`. Choices of a space that
    has one depend on the position alone, so that they can have weights (`positions`)."""

    skip: Token | None = None
    """The operation that passes its input on, as a token; None: there is none."""

    convolutions: Sequence[Token] = ()
    """The operations that are convolutions, as tokens."""

    nothing: Token | None = None
    """The operation that gives nothing, as a token; None: there is none."""

    summed_positions: Sequence[Sequence[int]] = ()
    """Positions whose operations are added up in one node: what edge normalisation weighs against each other."""

    has_morphisms: bool = False
    """Whether some genomes can take over the function of another with its weights (`can_morph`, `morph`)."""

    section: Mapping[str, Any] | None = None
    """The config that this space was made from, `_target_` and options: archives make it anew from that."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a genome; the space's docstring says how uniformly."""

    @abstractmethod
    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Mix two genomes into a valid one."""

    @abstractmethod
    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix, in a fixed order; empty when the genome is complete."""

    def referred(self, prefix: Genome, token: Token) -> int | None:
        """Behind how many tokens of a prefix that part of the genome was complete which a legal next token names: the
        node that it takes as an input. None: it names none."""
        return None

    @abstractmethod
    def encode(self, genome: Genome) -> np.ndarray:
        """A vector of fixed length with entries in [0, 1]; `decode` gives the genome back."""

    @abstractmethod
    def decode(self, vector: np.ndarray) -> Genome:
        """The genome nearest to a vector; any vector in [0, 1] of the right length gives a valid one."""

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The genomes one step away, each once, in a fixed order: what local search climbs over.

        Here: every token replaced by each other legal one; of the tokens after it those stay that are still legal, the
        first legal one takes the place of the others.
        """
        found: dict[Genome, None] = {}
        for position, token in enumerate(genome):
            for other in self.choices(genome[:position]):
                if other != token:
                    found[self._completed((*genome[:position], other), genome)] = None
        found.pop(genome, None)
        return list(found)

    def _completed(self, prefix: Genome, pattern: Genome) -> Genome:
        """A whole genome that begins with a prefix and goes on like a pattern where that is legal."""
        while legal := self.choices(prefix):
            wanted = pattern[len(prefix)] if len(prefix) < len(pattern) else legal[0]
            prefix = (*prefix, wanted if wanted in legal else legal[0])
        return prefix

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The places in a genome of the tokens that are widths: units or channels, whole numbers.

        Any of them may be replaced by any other whole number that `choices` offers there, whatever the others are.
        Empty where the widths of networks are no part of genomes. Limits steer by them
        (`nasrun.strategies.steering`).
        """
        return ()

    def layers(self, genome: Genome) -> int:
        """About how many layers there are one behind the other, by which latencies are predicted. Here: the tokens."""
        return len(genome)

    def parts(self, genome: Genome) -> int | None:
        """How many parts a genome has (layers, blocks, edges), by which `strategy=pnas` goes from simple to complex.
        None: nothing that such a search passes through. Here: the tokens."""
        return len(genome)

    def simplest(self, rng: np.random.Generator) -> Genome:
        """Draw one of the simplest genomes. Here: a sample, less and less of it until every neighbour has as many parts
        or more."""
        genome = self.sample(rng)
        while self.parts(genome) is None:
            genome = self.sample(rng)
        while simpler := [other for other in self.neighbours(genome) if _fewer(self.parts(other), self.parts(genome))]:
            genome = simpler[int(rng.integers(len(simpler)))]
        return genome

    def grown(self, genome: Genome) -> list[Genome]:
        """The genomes that have a part more, each once, in a fixed order; empty where there is none. Here: the
        neighbours with more parts."""
        parts = self.parts(genome)
        return [other for other in self.neighbours(genome) if _fewer(parts, self.parts(other))]

    def known(self) -> Mapping[str, Genome]:
        """Networks that people have found to work, by name, best first: what `strategy.start=known` begins with."""
        return {}

    def fit(self, genome: Genome) -> Genome:
        """What a genome is proposed as, where limits steer a search (`nasrun.strategies.steering`). Here: itself."""
        return genome

    def sizes(self, genome: Genome) -> Sequence[Genome]:
        """A genome in the sizes that limits leave room for, largest first, down to its own. Here: itself alone."""
        return [genome]

    def usage(self, genome: Genome) -> float:
        """The largest share of a limit that a network uses. Here, without limits: 1."""
        return 1.0

    def narrow(self, share: float) -> None:
        """From now on networks are fitted to a share of the limits (`nasrun.strategies.steering`). Here: nothing."""

    def flops_limit_for(self, task: Task) -> int | None:
        """`flops_limit` for the images of a task."""
        if self.flops_limit is None:
            return None
        return self.flops_limit * max(task.height * task.width, 32 * 32) // (32 * 32)

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        """Training settings that a genome holds, laid over those of the evaluator and under those of the proposal."""
        return {}

    def setting_factors(self, genome: Genome) -> Mapping[str, float]:
        """By what settings of the evaluator are multiplied for a genome, for each of `scaled_settings`."""
        return {}

    def key(self, genome: Genome) -> Hashable:
        """Equal for architectures that are the same network. Here: the genome itself."""
        return genome

    @abstractmethod
    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming what is wrong, unless the genome belongs to this space."""

    @abstractmethod
    def format(self, genome: Genome) -> str:
        """The genome as a string that a person can read and type, without tabs, commas or line breaks."""

    @abstractmethod
    def parse(self, text: str) -> Genome:
        """The genome of a string; ValueError names the position and what was expected there."""

    @abstractmethod
    def cost(self, genome: Genome, task: Task) -> Cost:
        """Parameters and FLOPs of the network that `build` makes, by formula, without torch."""

    def peak_values(self, genome: Genome, task: Task) -> int | None:
        """How many values of one input are in memory at a time at most, while the network computes layer after layer:
        by formula, without torch. None: the space has none.

        A layer takes its inputs and its output, and what later layers still need. Normalisation, activations and sums
        overwrite what they are given; weights are not counted.
        """
        return None

    @abstractmethod
    def build(self, genome: Genome, task: Task) -> torch.nn.Module:
        """The network: input float (batch, channels, height, width), output as `Task` says for its kind."""

    def outline(self, genome: Genome, task: Task) -> torch.nn.Module:
        """The network of `build` with shapes and without values: it takes no memory, draws no random numbers, and can
        be called with a tensor of torch's device `meta`."""
        from nasrun.core.outlines import outlined

        with outlined():
            return self.build(genome, task)

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        """Whether the network of a child can be given weights with which it computes what its parent's network does:
        a network morphism (Wei et al. 2016, arXiv 1603.01670), as wider or deeper ones are. Here: never."""
        return False

    def morph(
        self, parent: Genome, child: Genome, weights: Mapping[str, torch.Tensor], network: torch.nn.Module
    ) -> Morphing:
        """Give `network`, which `build` made of the child, the parent's `weights` (its `state_dict`), so that in
        evaluation mode it computes the same; what is new keeps the initial weights that it has, where these make no
        difference. TypeError unless the two are a morphism (`can_morph`)."""
        raise TypeError(f"{type(self).__name__} has no network morphisms")

    def supernet(self, task: Task) -> torch.nn.Module:
        """One network with the weights of all architectures, called with images (batch, channels, height, width) and a
        genome: it computes what `build` would make of that genome, normalised by the batch at hand.

        Initial weights come from torch's global generator. TypeError where the space has none (`has_supernet`).
        """
        raise TypeError(f"{type(self).__name__} has no network of all its architectures")

    def check_supernet(self, task: Task) -> None:
        """ValueError, beginning with the key, where the network of `supernet` would be too large. Here: it never is."""

    def smaller(self, genome: Genome, rng: np.random.Generator | None = None) -> Genome:
        """An architecture whose weights in the network of `supernet` are parts of those of a genome, as with fewer
        channels: a random one; without `rng` the smallest. TypeError where there is none (`has_parts`)."""
        raise TypeError(f"{type(self).__name__} has no architectures that are parts of others")

    def auxiliary_place(self, task: Task) -> tuple[str, int] | None:
        """The part of the network of `supernet` by whose output a second classifier may help to train it: its name, and
        the channels of its output (batch, channels, height, width). None: there is none."""
        return None

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        """From the name of a parameter of the network that `build` makes of a genome to its name in the supernet."""
        return lambda name: name

    def positions(self) -> tuple[tuple[Token, ...], ...]:
        """The choices at each position of a genome, where they depend on the position alone (`mixed_channels`)."""
        found: list[tuple[Token, ...]] = []
        while legal := self.choices(tuple(choices[0] for choices in found)):
            found.append(legal)
        return tuple(found)

    def relaxed(self, task: Task, partial: int = 1) -> torch.nn.Module:
        """The network of `supernet`, which also takes a `nasrun.spaces.mixture.Mixture` in place of a genome: then it
        computes all choices of weight other than 0, added up by their weights. `candidates()`: the modules of these.

        `partial`: operations work on one of so many channels, and the others pass them by (PC-DARTS); then the network
        of a genome is another one than `build` makes. TypeError where the space has none.
        """
        raise TypeError(f"{type(self).__name__} has no network of mixed operations")

    def cell_graphs(self, genome: Genome) -> Mapping[str, CellGraph]:
        """The cells of an architecture by title, for a picture of it; empty where it has none."""
        return {}


def _fewer(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other
