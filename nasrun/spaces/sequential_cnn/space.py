"""Plain convolutional networks with exactly two reductions, written as a genome string.

Source: the course report "Neural Architecture Search" (Iyer, Budhwani, Srivastava; IIT Jodhpur, CSL 7540), section II.A
for the networks, section IV for the mutations. Only `build` imports torch.
"""

import re
from collections.abc import Mapping, Sequence
from math import comb
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import Cost, Genome, Morphing, Task, Token
from nasrun.core.options import AtLeast, Between, ConfigError, NotEmpty, Positive, check_section
from nasrun.core.words import counted
from nasrun.spaces.descent import GrowingSpace
from nasrun.spaces.sequential_cnn.morphisms import descents, transfer
from nasrun.spaces.sequential_cnn.variation import Layer, Variation, join, split
from nasrun.spaces.tokens import check_tokens, listed, unexpected_layer, value_at

if TYPE_CHECKING:
    import torch

REDUCTIONS = 2  # reduction layers of every network: report, section II.A

# Splits any text up to the next "-" into the parts of a layer; a missing or wrong part is found by look-up.
_PARTS = re.compile(r"([^-0-9]?)([0-9]*)(k?)([0-9]*)([^-]*)")


class SequentialCNN(GrowingSpace):
    """Networks of `depth` convolutions, two of them with stride 2, then pooling and two dense layers; no skips.

    Genome: `(depth, kind, filters, kernel, activation, kind, ...)`, four tokens per layer. Kind "N" is a normal
    convolution (stride 1), "R" a reduction (stride 2); exactly two layers are "R", anywhere. String: one part per
    layer, `N32k3relu-R64k3gelu-R64k1tanh`. Every convolution is padded by `kernel // 2`; batch normalisation (if
    `batch_norm`) and the activation follow it. Then global average pooling, a dense layer of `dense` units with relu,
    and a dense layer of `task.outputs`.

    The order of `filters`, `kernels` and `activations` is the order of `choices` and `encode`, and together with the
    seed it determines the draws. ValueError, beginning with the key, if the options leave no valid space.
    """

    flops_limit = 20_000_000

    def __init__(
        self,
        *,
        min_depth: Annotated[int, AtLeast(REDUCTIONS)],
        max_depth: Annotated[int, AtLeast(REDUCTIONS)],
        filters: Annotated[list[Annotated[int, Between(1, 511)]], NotEmpty()],
        kernels: Annotated[list[Literal[1, 3, 5]], NotEmpty()],
        activations: Annotated[list[Literal["relu", "sigmoid", "tanh", "swish", "gelu"]], NotEmpty()],
        batch_norm: bool = True,
        dense: Positive = 64,
    ) -> None:
        given: dict[str, Any] = {
            "min_depth": min_depth,
            "max_depth": max_depth,
            "filters": filters,
            "kernels": kernels,
            "activations": activations,
            "batch_norm": batch_norm,
            "dense": dense,
        }
        try:
            check_section(type(self), given, "")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if min_depth > max_depth:
            raise ValueError(f"min_depth={min_depth}: must be <= max_depth={max_depth}")
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.batch_norm = batch_norm
        self.dense = dense
        self._depths = tuple(range(min_depth, max_depth + 1))
        # The values of the four tokens of a layer, by their index in it.
        self._values: tuple[tuple[Token, ...], ...] = (("N", "R"), tuple(filters), tuple(kernels), tuple(activations))
        self._ranks = [{value: rank for rank, value in enumerate(values)} for values in self._values]
        self._variation = Variation(self._values, min_depth, max_depth)
        self._layers = self._variation.layers
        self.mutations = self._variation.mutations
        self.size: int = sum(comb(depth, REDUCTIONS) * len(self._layers["N"]) ** depth for depth in self._depths)

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw the depth uniformly, then a genome uniformly among those of that depth.

        Given the depth, the two reductions are uniform over the pairs of layers, and filters, kernels and activations
        are uniform and independent. A uniform draw over all genomes would nearly always give the largest depth, which
        has by far the most genomes.
        """
        draws = rng.random(3 + self.max_depth).tolist()
        depth = self.min_depth + int(draws[0] * len(self._depths))
        one = int(draws[1] * depth)
        other = int(draws[2] * (depth - 1))
        other += other >= one
        normal, reduction = self._layers["N"], self._layers["R"]
        count = len(normal)
        layers = [normal[int(draw * count)] for draw in draws[3 : 3 + depth]]
        layers[one] = reduction[int(draws[3 + one] * count)]
        layers[other] = reduction[int(draws[3 + other] * count)]
        return join(layers)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Replace a stretch of the first by one of the second; see `Variation.crossover`."""
        return self._variation.crossover(first, second, rng)

    def simplest(self, rng: np.random.Generator) -> Genome:
        """A sample with the minimum depth."""
        genome = self.sample(rng)
        while len(genome) > 1 + 4 * self.min_depth:
            genome = self._variation.remove_layer(genome, rng)
        return genome

    def grown(self, genome: Genome) -> list[Genome]:
        """One more normal layer, each possible one at each position."""
        return self._variation.deeper(genome)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix: depths, then per layer kinds, filters, kernels and activations in the
        order of the options. A kind is legal if exactly two reductions are still possible."""
        if not prefix:
            return self._depths
        depth, place = int(prefix[0]), (len(prefix) - 1) % 4
        layers_left = depth - (len(prefix) - 1) // 4
        if not layers_left:
            return ()
        if place:
            return self._values[place]
        reductions_left = REDUCTIONS - prefix.count("R")
        if not reductions_left:
            return ("N",)
        return ("R",) if layers_left == reductions_left else ("N", "R")

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of 1 + 4 * max_depth entries: the depth, then per layer its kind (N 0, R 1) and the indices of its
        filters, kernel and activation in their lists. Entry i of a list of n is (i + 1/2) / n, the middle of its share
        of [0, 1], so that uniform vectors decode to uniform attributes. Missing layers are 0."""
        entries = [0.0] * (1 + 4 * self.max_depth)
        entries[0] = (int(genome[0]) - self.min_depth + 0.5) / len(self._depths)
        for position in range(1, len(genome)):
            place = (position - 1) % 4
            rank = self._ranks[place][genome[position]]
            entries[position] = (rank + 0.5) / len(self._values[place]) if place else float(rank)
        return np.array(entries)

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector of 1 + 4 * max_depth entries; entries outside of [0, 1] are clipped.

        The depth is read first. The two layers with the highest kind entries within that depth are the reductions, the
        earlier of equal ones; entries of layers beyond the depth are ignored. ValueError: wrong shape, or a NaN.
        """
        clipped = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        if clipped.shape != (1 + 4 * self.max_depth,):
            raise ValueError(f"vector of shape {clipped.shape}: expected ({1 + 4 * self.max_depth},)")
        if np.isnan(clipped).any():
            raise ValueError("vector: holds a NaN")
        entries: list[float] = clipped.tolist()
        depth = int(value_at(self._depths, entries[0]))
        kinds = entries[1 : 1 + 4 * depth : 4]
        reductions = sorted(range(depth), key=kinds.__getitem__, reverse=True)[:REDUCTIONS]  # stable: ties by position
        genome: list[Token] = [depth]
        for layer in range(depth):
            genome.append("R" if layer in reductions else "N")
            genome += [value_at(self._values[place], entries[1 + 4 * layer + place]) for place in (1, 2, 3)]
        return tuple(genome)

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, _name)

    def format(self, genome: Genome) -> str:
        """Layers joined by "-", each as kind, filters, "k", kernel, activation: `N32k3relu-R64k3gelu-R64k1tanh`."""
        return "-".join([f"{kind}{filters}k{kernel}{name}" for kind, filters, kernel, name in split(genome)])

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character and the layer, both counted from 1, and what was
        expected there: `character 5 (layer 1): expected a kernel, one of 1, 3, 5; got '7relu'`."""
        kinds, filters, kernels, activations = ({str(value): value for value in values} for values in self._values)
        parts: tuple[tuple[str, Mapping[str, Token]], ...] = (
            ("a kind, one of", kinds),
            ("filters, one of", filters),
            ("the letter", {"k": "k"}),
            ("a kernel, one of", kernels),
            ("an activation, one of", activations),
        )
        layers: list[Layer] = []
        position = 0
        while True:
            match = _PARTS.match(text, position)
            assert match is not None  # every part of the pattern may be empty
            number = len(layers) + 1
            for group, (what, known) in enumerate(parts, start=1):
                if match[group] not in known:
                    raise unexpected_layer(text, match.start(group), number, f"{what} {listed(tuple(known))}")
            kind, width, _, kernel, activation = match.groups()
            if kind == "R" and sum(layer[0] == "R" for layer in layers) == REDUCTIONS:
                raise unexpected_layer(
                    text, position, number, f"N, because there are {REDUCTIONS} reductions (R) already"
                )
            layers.append((kind, filters[width], kernels[kernel], activations[activation]))
            position = match.end()
            if position == len(text):
                break
            if number == self.max_depth:
                raise unexpected_layer(text, position, number, f"the end after {counted(number, 'layer')} (max_depth)")
            position += 1
        if len(layers) < self.min_depth:
            what = f"'-' and another layer, at least {self.min_depth} in all (min_depth)"
            raise unexpected_layer(text, position, len(layers), what)
        reductions = sum(layer[0] == "R" for layer in layers)
        if reductions < REDUCTIONS:
            what = f"{REDUCTIONS} reductions (R) before the end, there is {reductions or 'none'}"
            raise unexpected_layer(text, position, len(layers), what)
        return join(layers)

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The positions of the filters of each layer."""
        return tuple(range(2, len(genome), 4))

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and dense layers.
        FLOPs leave out bias, normalisation, activations and pooling, as does `torch.utils.flop_counter`."""
        channels, height, width = task.channels, task.height, task.width
        parameters = multiply_adds = 0
        # Per filter: weight and bias of the normalisation; the convolution needs no bias with it.
        extra = 2 if self.batch_norm else 1
        for kind, width_out, kernel, _ in split(genome):
            if kind == "R":
                height, width = (height + 1) // 2, (width + 1) // 2
            filters = int(width_out)
            weights = channels * int(kernel) ** 2 * filters
            parameters += weights + extra * filters
            multiply_adds += weights * height * width
            channels = filters
        weights = channels * self.dense + self.dense * task.outputs
        return Cost(parameters + weights + self.dense + task.outputs, 2 * (multiply_adds + weights))

    def peak_values(self, genome: Genome, task: Task) -> int:
        """The largest sum of a layer's inputs and outputs; a 1x1 reduction selects every other pixel first."""
        channels, height, width = task.channels, task.height, task.width
        before, most = channels * height * width, 0
        for kind, filters, kernel, _ in split(genome):
            if kind == "R":
                height, width = (height + 1) // 2, (width + 1) // 2
                if kernel == 1:
                    taken = channels * height * width
                    most, before = max(most, before + taken), taken
            channels = int(filters)
            after = channels * height * width
            most, before = max(most, before + after), after
        return max(most, before + channels, channels + self.dense, self.dense + task.outputs)

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `convolutional_network`."""
        from nasrun.spaces.layers import convolutional_network  # imports torch, so only where needed

        return convolutional_network(
            task.channels,
            [
                (int(filters), int(kernel), 2 if kind == "R" else 1, str(activation))
                for kind, filters, kernel, activation in split(genome)
            ],
            batch_norm=self.batch_norm,
            dense=self.dense,
            outputs=task.outputs,
        )

    def descents(self, parent: Genome, child: Genome) -> list[int | None] | None:
        return descents(parent, child)

    def transfer(
        self,
        parent: Genome,
        child: Genome,
        origins: Sequence[int | None],
        weights: "Mapping[str, torch.Tensor]",
        network: "torch.nn.Module",
    ) -> Morphing:
        return transfer(parent, origins, weights, network)


def _name(position: int, genome: Genome) -> str:
    """The name of the token at a position of a genome."""
    if not position:
        return "depth"
    layer, place = divmod(position - 1, 4)
    return f"{('kind', 'filters', 'kernel', 'activation')[place]} of layer {layer + 1}"
