"""The interface of search spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasrun.core.types import CellGraph, Cost, Genome, Kind, Morphing, Mutation, Task, Token

if TYPE_CHECKING:
    import numpy as np
    import torch


class SearchSpace(ABC):
    """A set of architectures: how to sample, mutate, encode, format and build them.

    Every method that takes a generator uses no other randomness, so that a seeded search is repeatable.
    """

    mutations: Mapping[str, Mutation]
    """Named mutations. Each returns a valid genome different from its parent if one exists, else the parent."""

    null_mutations: bool = False
    """Whether a mutation may return the parent although it could change it."""

    size: int | None = None
    """Number of genomes in the space; None if unknown."""

    kinds: tuple[Kind, ...] = ("classification",)
    """The kinds of tasks for which `build` makes networks."""

    flops_limit: int | None = None
    """Maximum FLOPs of a network for images of up to 32 x 32 pixels under `constraints.flops=auto`, so that a trial
    takes seconds; scaled with the number of pixels for larger images (`flops_limit_for`). None: no limit."""

    start: Genome | None = None
    """The initial genome of a space whose genomes are all the same network, trained in different ways, so that weights
    can be transferred between any two. None: genomes are different networks."""

    has_supernet: bool = False
    """Whether `supernet` is available."""

    has_parts: bool = False
    """Whether architectures use parts of the supernet's weights (`smaller`)."""

    operation_weights: Mapping[str, float] = {}
    """Relative frequency of each operation, by token, when shared weights are trained on samples of the space
    (`evaluator.operation_weights=auto`). Empty: as in `sample`."""

    scaled_settings: tuple[str, ...] = ()
    """Training settings for which genomes contain factors (`setting_factors`), by their names in
    `nasrun.training.settings.SCALED`."""

    mixed_channels: int = 0
    """Channels of the narrowest operation mixed by `relaxed`; 0 if `relaxed` is not available. If it is, choices depend
    only on the position, so that they can have weights (`positions`)."""

    skip: Token | None = None
    """Token of the identity operation; None: there is none."""

    convolutions: Sequence[Token] = ()
    """Tokens of the convolutions."""

    nothing: Token | None = None
    """Token of the operation whose output is zero; None: there is none."""

    summed_positions: Sequence[Sequence[int]] = ()
    """Groups of positions whose operations are added in one node; edge normalisation weights them within a group."""

    has_morphisms: bool = False
    """Whether some genomes can compute the function of another after a transfer of weights (`can_morph`, `morph`)."""

    free_widths: int | None = None
    """Number of widths, if a genome is determined by that many widths (`with_widths`); None for other spaces."""

    draws: int = 1
    """Maximum number of random genomes that `sample` draws to return one."""

    section: Mapping[str, Any] | None = None
    """The config of this space, `_target_` and options, from which archives build it again."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a random genome; the class docstring states the distribution.

        Args:
            rng: the source of all randomness.
        """

    @abstractmethod
    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Combine two genomes into a valid one.

        Args:
            first: a parent.
            second: the other parent.
            rng: the source of all randomness.
        """

    @abstractmethod
    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix.

        Args:
            prefix: the first tokens of a genome; may be empty.

        Returns:
            The tokens in a fixed order; empty if the genome is complete.
        """

    def referred(self, prefix: Genome, token: Token) -> int | None:
        """If a legal next token names an earlier part of the genome, such as an input node: the number of tokens after
        which that part is complete. None: the token names no part."""
        return None

    @abstractmethod
    def encode(self, genome: Genome) -> np.ndarray:
        """A genome as a vector, which `decode` inverts.

        Returns:
            float (entries,), each in [0, 1]; equally long for all genomes.
        """

    @abstractmethod
    def decode(self, vector: np.ndarray) -> Genome:
        """The genome nearest to a vector.

        Args:
            vector: float (entries,); any entries in [0, 1] are valid.

        Raises:
            ValueError: the vector has another shape, or a NaN.
        """

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The genomes one step away, each once, in a fixed order, for local search.

        Default: replace every token by each other legal one. Later tokens that become illegal are replaced by the first
        legal one.
        """
        found: dict[Genome, None] = {}
        for position, token in enumerate(genome):
            for other in self.choices(genome[:position]):
                if other != token:
                    found[self._completed((*genome[:position], other), genome)] = None
        found.pop(genome, None)
        return list(found)

    def _completed(self, prefix: Genome, pattern: Genome) -> Genome:
        """A complete genome that starts with a prefix and continues like a pattern where that is legal."""
        while legal := self.choices(prefix):
            wanted = pattern[len(prefix)] if len(prefix) < len(pattern) else legal[0]
            prefix = (*prefix, wanted if wanted in legal else legal[0])
        return prefix

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The positions of width tokens (units or channels, as integers) in a genome.

        Each can be replaced by any other integer that `choices` offers there, independently of the others. Empty if
        genomes contain no widths. Used to scale genomes to limits (`nasrun.strategies.steering`).
        """
        return ()

    def widths_of(self, genome: Genome) -> tuple[int, ...]:
        """The widths in a genome, in the order of `width_positions`."""
        return tuple(int(genome[position]) for position in self.width_positions(genome))

    def with_widths(self, widths: Sequence[float]) -> Genome:
        """The genome whose widths are nearest to the given ones. TypeError unless the space has `free_widths`."""
        raise TypeError(f"{type(self).__name__} has genomes that widths alone do not determine")

    def layers(self, genome: Genome) -> int:
        """Approximate depth in layers, used to predict latency. Default: the number of tokens."""
        return len(genome)

    def parts(self, genome: Genome) -> int | None:
        """The number of parts (layers, blocks, edges), by which `strategy=pnas` goes from simple to complex genomes.
        None: `pnas` skips this genome. Default: the number of tokens."""
        return len(genome)

    def simplest(self, rng: np.random.Generator) -> Genome:
        """Draw one of the simplest genomes. Default: a sample, reduced until no neighbour has fewer parts."""
        genome = self.sample(rng)
        while self.parts(genome) is None:
            genome = self.sample(rng)
        while simpler := [other for other in self.neighbours(genome) if _fewer(self.parts(other), self.parts(genome))]:
            genome = simpler[int(rng.integers(len(simpler)))]
        return genome

    def grown(self, genome: Genome) -> list[Genome]:
        """The genomes with one more part, each once, in a fixed order; empty if there are none. Default: the neighbours
        with more parts."""
        parts = self.parts(genome)
        return [other for other in self.neighbours(genome) if _fewer(parts, self.parts(other))]

    def known(self) -> Mapping[str, Genome]:
        """Architectures known to work well, by name, best first; the initial proposals of `strategy.start=known`."""
        return {}

    def fit(self, genome: Genome) -> Genome:
        """The genome scaled to the limits of the search (`nasrun.strategies.steering`). Default: unchanged."""
        return genome

    def sizes(self, genome: Genome) -> Sequence[Genome]:
        """The genome in all sizes that the limits allow, from the largest down to its own. Default: only itself."""
        return [genome]

    def usage(self, genome: Genome) -> float:
        """The largest share of a limit that a network uses. Default, without limits: 1."""
        return 1.0

    def narrow(self, share: float) -> None:
        """Fit later genomes to a share of the limits (`nasrun.strategies.steering`). Default: no effect."""

    def flops_limit_for(self, task: Task) -> int | None:
        """`flops_limit` for the images of a task."""
        if self.flops_limit is None:
            return None
        return self.flops_limit * max(task.height * task.width, 32 * 32) // (32 * 32)

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        """Training settings in a genome, which override those of the evaluator and are overridden by those of the
        proposal."""
        return {}

    def scores(self, genome: Genome) -> tuple[float, ...]:
        """Scores of the untrained network, which a strategy may predict from (`prescreen.inputs`); higher is better.

        All genomes have the same number of scores; by default none.
        """
        return ()

    def setting_factors(self, genome: Genome) -> Mapping[str, float]:
        """Factors that multiply the evaluator's settings for a genome, for each of `scaled_settings`."""
        return {}

    def key(self, genome: Genome) -> Hashable:
        """A key that is equal for genomes of the same network. Default: the genome itself."""
        return genome

    @abstractmethod
    def validate(self, genome: Genome) -> None:
        """Check that a genome belongs to this space.

        Raises:
            ValueError: it does not; the text names the position and what was expected there.
        """

    @abstractmethod
    def format(self, genome: Genome) -> str:
        """The genome as a readable string without tabs, commas or line breaks."""

    @abstractmethod
    def parse(self, text: str) -> Genome:
        """The genome of a string from `format`.

        Raises:
            ValueError: there is none; the text names the position and what was expected there.
        """

    @abstractmethod
    def cost(self, genome: Genome, task: Task) -> Cost:
        """Parameters and FLOPs of the network that `build` makes, by formula, without torch."""

    def peak_values(self, genome: Genome, task: Task) -> int | None:
        """The maximum number of activation values in memory at a time for one input, computed by formula, without
        torch. None: the space has no formula.

        Counted are the inputs and the output of the current layer, and the values that later layers still need.
        Normalisation, activations and sums work in place; weights are not counted.
        """
        return None

    @abstractmethod
    def build(self, genome: Genome, task: Task) -> torch.nn.Module:
        """The network of a genome, with initial weights from torch's global generator.

        Returns:
            A module from float (batch, channels, height, width) to what `Task.outputs` says.
        """

    def outline(self, genome: Genome, task: Task) -> torch.nn.Module:
        """The network of `build` with shapes but without values: it uses no memory and no random numbers, and can be
        called with a tensor on torch's device `meta`."""
        from nasrun.core.outlines import outlined

        with outlined():
            return self.build(genome, task)

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        """Whether a child can compute the same function as its parent with transferred weights: a network morphism (Wei
        et al. 2016, arXiv 1603.01670), such as a wider or deeper network. Default: False."""
        return False

    def morph(
        self, parent: Genome, child: Genome, weights: Mapping[str, torch.Tensor], network: torch.nn.Module
    ) -> Morphing:
        """Transfer the parent's `weights` (its `state_dict`) to `network`, built from the child, so that it computes
        the same function in evaluation mode; new parts keep their initial weights where these have no effect. TypeError
        unless `can_morph` is true."""
        raise TypeError(f"{type(self).__name__} has no network morphisms")

    def supernet(self, task: Task) -> torch.nn.Module:
        """One network with the weights of all architectures, called with images (batch, channels, height, width) and a
        genome: it computes the network of that genome, normalised by the current batch.

        Initial weights come from torch's global generator. TypeError if the space has no supernet (`has_supernet`).
        """
        raise TypeError(f"{type(self).__name__} has no supernet")

    def check_supernet(self, task: Task) -> None:
        """Raise ValueError, starting with the key, if the supernet would be too large. Default: no check."""

    def smaller(self, genome: Genome, rng: np.random.Generator | None = None) -> Genome:
        """A random architecture whose weights in the supernet are parts of those of a genome, for example with fewer
        channels; without `rng` the smallest one. TypeError if the space has none (`has_parts`)."""
        raise TypeError(f"{type(self).__name__} has no architectures that are parts of others")

    def auxiliary_place(self, task: Task) -> tuple[str, int] | None:
        """The module of the supernet whose output an auxiliary classifier can use in training: its name, and the
        channels of its output (batch, channels, height, width). None: not available."""
        return None

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        """A function from parameter names of the network that `build` returns to names in the supernet."""
        return lambda name: name

    def positions(self) -> tuple[tuple[Token, ...], ...]:
        """The choices at each position of a genome, if they depend only on the position (`mixed_channels`)."""
        found: list[tuple[Token, ...]] = []
        while legal := self.choices(tuple(choices[0] for choices in found)):
            found.append(legal)
        return tuple(found)

    def relaxed(self, task: Task, partial: int = 1) -> torch.nn.Module:
        """The network of `supernet`, which also accepts a `nasrun.spaces.mixture.Mixture` instead of a genome: it then
        computes the weighted sum of all choices with nonzero weight. `candidates()`: the modules of these.

        `partial`: operations process one in this many channels, and the others bypass them (PC-DARTS); the network of a
        genome then differs from that of `build`. TypeError if not available.
        """
        raise TypeError(f"{type(self).__name__} has no network of mixed operations")

    def cell_graphs(self, genome: Genome) -> Mapping[str, CellGraph]:
        """The cells of an architecture by title, for plots; empty if it has none."""
        return {}


def _fewer(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other
