"""Plain networks of 3x3 convolutions and 2x2 maximum poolings: a global (macro) space, for Fashion-MNIST.

Source: the slides of the thesis on reinforcement learning and metaheuristics for NAS, "Additional work": 5, 7 or 9
hidden layers, each a conv3x3 of some output dimension or a maxpool2x2. Only `build` imports torch.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import comb
from typing import TYPE_CHECKING, Annotated

import numpy as np

from nasrun.core import Cost, Genome, Mutation, SearchSpace, Task, Token
from nasrun.core.options import AtLeast, NotEmpty, Positive, show
from nasrun.core.words import counted
from nasrun.spaces.macro_cnn.encoding import POOL
from nasrun.spaces.tokens import check_tokens, listed, pick, unexpected_layer, value_at

if TYPE_CHECKING:
    import torch


class MacroCNN(SearchSpace):
    """Networks whose number of layers is one of `depths`, each a convolution or a pooling; then two dense layers.

    Genome: `(depth, layer, layer, ...)`. A layer is the output channels of a 3x3 convolution (stride 1, padding 1, then
    batch normalisation if `batch_norm`, then relu), or "pool": 2x2 maximum pooling with stride 2, at most `max_pools`
    times. Pooling rounds up, so any input size works. String: `c32-pool-c64-c64-pool`. After the layers come global
    average pooling, a dense layer of `dense` units with relu, and one of `task.outputs`.

    The order of `depths` and `channels` is the order of `choices`, with "pool" before the channels, and together with
    the seed it determines the draws. ValueError, beginning with the key, if the options leave no valid space.
    """

    flops_limit = 20_000_000

    has_supernet = True

    def __init__(
        self,
        *,
        depths: Annotated[list[Positive], NotEmpty()],
        channels: Annotated[list[Positive], NotEmpty()],
        max_pools: Annotated[int, AtLeast(0)] = 4,
        batch_norm: bool = True,
        dense: Positive = 64,
    ) -> None:
        fewest = min(depths)
        if max_pools >= fewest:
            raise ValueError(f"max_pools={max_pools}: must be < {fewest}, the smallest of depths")
        self.max_pools = max_pools
        self.batch_norm = batch_norm
        self.dense = dense
        self._depths = tuple(depths)
        self._channels = tuple(channels)
        self._layers: tuple[Token, ...] = (POOL, *channels) if max_pools else self._channels
        self._names = {_text(layer): layer for layer in self._layers}
        self._deeper = dict(pairwise(sorted(depths)))
        self._shallower = {deeper: depth for depth, deeper in self._deeper.items()}
        self.size: int = 0
        # For each depth, the share of its genomes with no more than 0, 1, 2, ... poolings.
        self._shares: dict[int, list[float]] = {}
        for depth in depths:
            counts = [comb(depth, pools) * len(channels) ** (depth - pools) for pools in range(max_pools + 1)]
            self._shares[depth] = [count / sum(counts) for count in accumulate(counts)]
            self.size += sum(counts)
        self.mutations: dict[str, Mutation] = {
            "operation": self.change_operation,
            "channels": self.change_channels,
            "swap": self.swap,
            "add_layers": self.add_layers,
            "remove_layers": self.remove_layers,
        }

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw the depth uniformly, then a genome uniformly among those of that depth.

        A uniform draw over all genomes would nearly always give the largest depth, which has by far the most genomes.
        """
        depth = pick(self._depths, rng)
        pools = bisect_right(self._shares[depth], rng.random())
        layers: list[Token] = [pick(self._channels, rng) for _ in range(depth)]
        if pools:
            ranks = rng.random(depth).tolist()
            for place in sorted(range(depth), key=ranks.__getitem__)[:pools]:
                layers[place] = POOL
        return _join(layers)

    def change_operation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change a convolution to a pooling, unless there are already `max_pools`, or a pooling to a convolution with
        random channels; uniform over the layers that may change."""
        layers = genome[1:]
        full = layers.count(POOL) == self.max_pools
        places = [place for place, layer in enumerate(layers) if layer == POOL or not full]
        if not places:
            return genome
        place = pick(places, rng)
        return _replaced(genome, place, pick(self._channels, rng) if layers[place] == POOL else POOL)

    def change_channels(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the output channels of one convolution, uniform over the convolutions and the other values."""
        if len(self._channels) == 1:
            return genome
        place = pick([place for place, layer in enumerate(genome[1:]) if layer != POOL], rng)
        return _replaced(genome, place, pick([one for one in self._channels if one != genome[1 + place]], rng))

    def swap(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Exchange two layers that differ, uniform over such pairs."""
        depth = len(genome) - 1
        pairs = [(i, j) for i in range(1, depth) for j in range(i + 1, depth + 1) if genome[i] != genome[j]]
        if not pairs:
            return genome
        one, other = pick(pairs, rng)
        tokens = list(genome)
        tokens[one], tokens[other] = tokens[other], tokens[one]
        return tuple(tokens)

    def add_layers(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Go to the next larger of `depths` by inserting random layers at random positions, unless it is the
        largest."""
        layers = list(genome[1:])
        for _ in range(self._deeper.get(len(layers), len(layers)) - len(layers)):
            legal = self._layers if layers.count(POOL) < self.max_pools else self._channels
            layers.insert(int(rng.random() * (len(layers) + 1)), pick(legal, rng))
        return _join(layers)

    def remove_layers(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Go to the next smaller of `depths` by removing random layers, unless it is the smallest."""
        layers = list(genome[1:])
        for _ in range(len(layers) - self._shallower.get(len(layers), len(layers))):
            del layers[int(rng.random() * len(layers))]
        return _join(layers)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """The first layers of the first genome, then the last layers of the second.

        Uniform over the cuts that take a layer or more of each, give a child as deep as one of the two, and keep to
        `max_pools` poolings. The first genome itself if there is no such cut.
        """
        ours, theirs = first[1:], second[1:]
        children = [
            child
            for depth in dict.fromkeys((len(ours), len(theirs)))
            for cut in range(max(1, depth - len(theirs)), min(len(ours), depth - 1) + 1)
            if (child := ours[:cut] + theirs[len(theirs) - (depth - cut) :]).count(POOL) <= self.max_pools
        ]
        return _join(pick(children, rng)) if children else first

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The genomes one step away: one layer replaced by any other; or one layer repeated, or consecutive layers
        removed, until the depth is the next larger or smaller of `depths`."""
        layers = genome[1:]
        depth = len(layers)
        grown, shrunk = self._deeper.get(depth, depth) - depth, depth - self._shallower.get(depth, depth)
        found = [(*layers[:place], other, *layers[place + 1 :]) for place in range(depth) for other in self._layers]
        if grown:
            found += [layers[:place] + layers[place : place + 1] * grown + layers[place:] for place in range(depth)]
        if shrunk:
            found += [layers[:place] + layers[place + shrunk :] for place in range(depth - shrunk + 1)]
        legal = dict.fromkeys(_join(rest) for rest in found if rest.count(POOL) <= self.max_pools)
        legal.pop(genome, None)
        return list(legal)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix: depths, then per layer "pool" (unless there are already `max_pools`)
        and the channels, in the order of the options."""
        if not prefix:
            return self._depths
        if len(prefix) > int(prefix[0]):
            return ()
        return self._layers if prefix.count(POOL) < self.max_pools else self._channels

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of 1 + max(depths) entries: the depth, then the layers, as indices in their lists ("pool" before the
        channels, so that with ascending channels a larger entry means a more expensive layer). Entry i of a list of n
        is (i + 1/2) / n, the middle of its share of [0, 1]. Missing layers are 0."""
        entries = [0.0] * (1 + max(self._depths))
        entries[0] = (self._depths.index(len(genome) - 1) + 0.5) / len(self._depths)
        for place, layer in enumerate(genome[1:], start=1):
            entries[place] = (self._layers.index(layer) + 0.5) / len(self._layers)
        return np.array(entries)

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector of 1 + max(depths) entries; entries outside of [0, 1] are clipped.

        The depth is read first; entries of layers beyond it are ignored. If there are more than `max_pools` poolings,
        those with the lowest entries stay, the earlier of equal ones; the others become convolutions with the first of
        `channels`, whose share is the nearest. ValueError: wrong shape, or a NaN.
        """
        clipped = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        if clipped.shape != (1 + max(self._depths),):
            raise ValueError(f"vector of shape {clipped.shape}: expected ({1 + max(self._depths)},)")
        if np.isnan(clipped).any():
            raise ValueError("vector: holds a NaN")
        first, *entries = clipped.tolist()
        layers: list[Token] = [value_at(self._layers, entry) for entry in entries[: value_at(self._depths, first)]]
        pools = sorted((place for place, layer in enumerate(layers) if layer == POOL), key=entries.__getitem__)
        for place in pools[self.max_pools :]:
            layers[place] = self._channels[0]
        return _join(layers)

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, _name)

    def format(self, genome: Genome) -> str:
        """Layers joined by "-", a convolution as "c" and its channels: `c32-pool-c64-c64-pool`."""
        return "-".join([_text(layer) for layer in genome[1:]])

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character and the layer, both counted from 1, and what was
        expected there: `character 5 (layer 2): expected one of pool, c16, c32; got 'c33'`."""
        layers: list[Token] = []
        position = 0
        for part in text.split("-"):
            number = len(layers) + 1
            if number > max(self._depths):
                raise unexpected_layer(
                    text, position - 1, number, f"the end after {counted(number - 1, 'layer')} (depths)"
                )
            if part not in self._names:
                raise unexpected_layer(text, position, number, f"one of {show(', '.join(self._names))}")
            if part == POOL and layers.count(POOL) == self.max_pools:
                what = f"a convolution, because max_pools={self.max_pools} allows no more pooling"
                raise unexpected_layer(text, position, number, what)
            layers.append(self._names[part])
            position += len(part) + 1
        if len(layers) not in self._depths:
            what = f"'-' and another layer; the number of layers is one of {listed(self._depths)} (depths)"
            raise unexpected_layer(text, len(text), len(layers), what)
        return _join(layers)

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The positions of the channels of each convolution."""
        return tuple(place for place in range(1, len(genome)) if genome[place] != POOL)

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and dense layers.
        FLOPs leave out bias, normalisation, activations and pooling, as does `torch.utils.flop_counter`."""
        channels, height, width = task.channels, task.height, task.width
        parameters = multiply_adds = 0
        # Per channel: weight and bias of the normalisation; the convolution needs no bias with it.
        extra = 2 if self.batch_norm else 1
        for layer in genome[1:]:
            if layer == POOL:
                height, width = (height + 1) // 2, (width + 1) // 2
                continue
            weights = 9 * channels * int(layer)
            channels = int(layer)
            parameters += weights + extra * channels
            multiply_adds += weights * height * width
        weights = channels * self.dense + self.dense * task.outputs
        return Cost(parameters + weights + self.dense + task.outputs, 2 * (multiply_adds + weights))

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `convolutional_network`."""
        from torch import nn  # imports torch, so only where needed

        from nasrun.spaces.layers import convolutional_network

        convolutions = [(int(layer), 3, 1, "relu") for layer in genome[1:] if layer != POOL]
        network = convolutional_network(
            task.channels, convolutions, batch_norm=self.batch_norm, dense=self.dense, outputs=task.outputs
        )
        rest = iter(network.named_children())
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for place, layer in enumerate(genome[1:], start=1):
            name, module = (f"maxpool{place}", nn.MaxPool2d(2, ceil_mode=True)) if layer == POOL else next(rest)
            parts[name] = module
        parts.update(rest)
        return nn.Sequential(parts)

    def supernet(self, task: Task) -> "torch.nn.Module":
        from nasrun.spaces.macro_cnn.supernet import supernet

        deepest = max(int(depth) for depth in self.choices(()))
        channels = [int(token) for token in self.choices((deepest,)) if token != POOL]
        return supernet(deepest, channels, self.dense, self.batch_norm, task)

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        from nasrun.spaces.macro_cnn.supernet import supernet_name

        return supernet_name(genome, task)


def _join(layers: Sequence[Token]) -> Genome:
    """The genome of some layers."""
    return (len(layers), *layers)


def _replaced(genome: Genome, place: int, layer: Token) -> Genome:
    """The genome with another layer at an index (from 0)."""
    return (*genome[: 1 + place], layer, *genome[2 + place :])


def _text(layer: Token) -> str:
    return POOL if layer == POOL else f"c{layer}"


def _name(position: int, genome: Genome) -> str:
    """The name of the token at a position of a genome."""
    return f"layer {position}" if position else "depth"
