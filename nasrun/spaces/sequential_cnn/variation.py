"""Variation of genomes of `sequential_cnn`: the mutations of the course report, section IV, and crossover."""

from collections.abc import Mapping
from functools import partial
from itertools import chain

import numpy as np

from nasrun.core import Genome, Mutation, Token
from nasrun.spaces.tokens import pick

Layer = Genome
"""The four tokens of a layer: kind (N or R), filters, kernel, activation."""


class Variation:
    """Mutations and crossover of layered genomes within limits of depth.

    `values`: the legal values of the four tokens of a layer, by their index in it. Every mutation gives a valid genome
    different from its parent if one exists, else the parent itself.
    """

    def __init__(self, values: tuple[tuple[Token, ...], ...], min_depth: int, max_depth: int) -> None:
        self._values, self._min_depth, self._max_depth = values, min_depth, max_depth
        self._ranks = [{value: rank for rank, value in enumerate(tokens)} for tokens in values]
        # All possible layers, so that one random number draws a whole layer.
        attributes = [(f, k, a) for f in values[1] for k in values[2] for a in values[3]]
        self.layers: Mapping[Token, list[Layer]] = {kind: [(kind, *rest) for rest in attributes] for kind in values[0]}
        self._layer_ranks = {layer: rank for layers in self.layers.values() for rank, layer in enumerate(layers)}
        self.mutations: dict[str, Mutation] = {
            "swap": self.swap,
            "inversion": self.invert,
            "filters": partial(self.change, 1),
            "replace_layer": self.replace_layer,
            "add_layer": self.add_layer,
            "remove_layer": self.remove_layer,
            "kernel": partial(self.change, 2),
            "activation": partial(self.change, 3),
        }

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Replace a stretch of the first genome by a stretch of the second that holds as many reductions.

        Two cuts through the first are drawn uniformly (not around all of it; an empty stretch inserts), then a stretch
        of one layer or more uniformly among those of the second that fit: as many reductions, and a legal depth
        afterwards. So the child has at least one layer of each parent. If nothing fits, the cuts are drawn again; this
        terminates, because a stretch of a single reduction always has a match.
        """
        ours, theirs = split(first), split(second)
        depth, count = len(ours), len(theirs)
        passed = [0]  # passed[k]: reductions among the first k layers of the second
        for layer in theirs:
            passed.append(passed[-1] + (layer[0] == "R"))
        while True:
            start, end = int(rng.random() * (depth + 1)), int(rng.random() * (depth + 1))
            if start > end:
                start, end = end, start
            kept = depth - (end - start)
            if not kept:
                continue
            needed = sum(layer[0] == "R" for layer in ours[start:end])
            shortest, longest = max(1, self._min_depth - kept), self._max_depth - kept
            fitting = [
                (low, high)
                for low in range(count)
                for high in range(low + shortest, min(low + longest, count) + 1)
                if passed[high] - passed[low] == needed
            ]
            if fitting:
                low, high = pick(fitting, rng)
                return join(ours[:start] + theirs[low:high] + ours[end:])

    def swap(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Exchange two layers that differ, uniform over such pairs."""
        layers = split(genome)
        pairs = _unequal(layers)
        if not pairs:
            return genome
        one, other = pick(pairs, rng)
        layers[one], layers[other] = layers[other], layers[one]
        return join(layers)

    def invert(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Reverse a stretch of at least two layers. The dense layers are not in the genome and stay in place.

        Drawn among the stretches whose two end layers differ: if they are equal, the stretch without them gives the
        same child, so every child that differs from its parent is exactly one of these.
        """
        layers = split(genome)
        pairs = _unequal(layers)
        if not pairs:
            return genome
        start, end = pick(pairs, rng)
        layers[start : end + 1] = layers[start : end + 1][::-1]
        return join(layers)

    def change(self, place: int, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the filters (place 1), kernel (2) or activation (3) of one layer, uniform over the layers and the
        other values of the list."""
        values = self._values[place]
        others = len(values) - 1
        if not others:
            return genome
        layer, rank = divmod(int(rng.random() * len(genome[1::4]) * others), others)
        position = 1 + 4 * layer + place
        rank += rank >= self._ranks[place][genome[position]]
        return (*genome[:position], values[rank], *genome[position + 1 :])

    def replace_layer(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Replace one layer by another of its kind (two reductions must remain), uniform over all of them."""
        others = len(self.layers["N"]) - 1
        if not others:
            return genome
        layer, rank = divmod(int(rng.random() * len(genome[1::4]) * others), others)
        position = 1 + 4 * layer
        rank += rank >= self._layer_ranks[genome[position : position + 4]]
        return genome[:position] + self.layers[genome[position]][rank] + genome[position + 4 :]

    def add_layer(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Insert a random normal layer at a random position, unless the network has the maximum depth."""
        depth = (len(genome) - 1) // 4
        if depth == self._max_depth:
            return genome
        position = 1 + 4 * int(rng.random() * (depth + 1))
        return (depth + 1, *genome[1:position], *pick(self.layers["N"], rng), *genome[position:])

    def deeper(self, genome: Genome) -> list[Genome]:
        """All that `add_layer` can make of a genome, each once; empty if it has the maximum depth."""
        layers = split(genome)
        if len(layers) == self._max_depth:
            return []
        places = range(len(layers) + 1)
        made = (join([*layers[:place], layer, *layers[place:]]) for place in places for layer in self.layers["N"])
        return list(dict.fromkeys(made))

    def remove_layer(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Remove a normal layer, unless the network has the minimum depth."""
        depth = (len(genome) - 1) // 4
        if depth == self._min_depth:
            return genome
        position = 1 + 4 * pick([layer for layer in range(depth) if genome[1 + 4 * layer] == "N"], rng)
        return (depth - 1, *genome[1:position], *genome[position + 4 :])


def split(genome: Genome) -> list[Layer]:
    """The layers of a genome."""
    return [genome[position : position + 4] for position in range(1, len(genome), 4)]


def join(layers: list[Layer]) -> Genome:
    """The genome of some layers."""
    return (len(layers), *chain.from_iterable(layers))


def _unequal(layers: list[Layer]) -> list[tuple[int, int]]:
    """The pairs of indices that hold different layers."""
    depth = len(layers)
    return [(i, j) for i in range(depth - 1) for j in range(i + 1, depth) if layers[i] != layers[j]]
