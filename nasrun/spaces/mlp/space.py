"""Dense networks: the number of hidden layers, their widths and the activation.

Source of the networks: TensorFlow's quick start for beginners, on which the paper "ASNN: Learning to Suggest Neural
Architectures from Performance Distributions" is based (section 3). Only `build` imports torch.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import Cost, Genome, Mutation, SearchSpace, Task, Token
from nasrun.core.options import Between, ConfigError, NotEmpty, check_section
from nasrun.core.words import counted
from nasrun.spaces.mlp.widths import Widths
from nasrun.spaces.tokens import value_at

if TYPE_CHECKING:
    import torch

Width = Annotated[int, Between(1, 65_536)]
Depth = Annotated[int, Between(1, 100)]
Activation = Literal["relu", "sigmoid", "tanh", "swish", "gelu"]

_NUMBER = re.compile("[1-9][0-9]{0,4}")


class Mlp(SearchSpace):
    """Networks of `min_depth` to `max_depth` hidden dense layers, each of any allowed width.

    Genome: `(depth, width, width, ...)`; if there are several activations to choose from, the last token is the
    activation of all hidden layers. String: `448-65`, or `448-65-tanh`. Inputs and outputs are set by the task, not by
    the genome. Widths: all whole numbers from `min_width` to `max_width`, or those of `widths` (sorted) in place of
    that range. The activation, and dropout if above 0, follow each hidden layer; with `last_linear` not the last one,
    which is then a linear bottleneck before the outputs.

    `scale`: the scale on which the widths of a range are drawn, encoded and varied. `log2`: all octaves are equally
    likely; `linear`: all widths are. The widths of a list are equally likely. ValueError, beginning with the key, if
    the options leave no valid space.
    """

    def __init__(
        self,
        *,
        min_depth: Depth = 2,
        max_depth: Depth = 2,
        min_width: Width = 8,
        max_width: Width = 512,
        widths: Annotated[list[Width], NotEmpty()] | None = None,
        scale: Literal["log2", "linear"] = "log2",
        activations: Annotated[list[Activation], NotEmpty()] | None = None,
        dropout: Annotated[float, Between(0, 1, open_high=True)] = 0.0,
        last_linear: bool = False,
    ) -> None:
        given: dict[str, Any] = {"min_depth": min_depth, "max_depth": max_depth, "min_width": min_width}
        given |= {"max_width": max_width, "widths": widths, "scale": scale, "activations": activations}
        try:
            check_section(type(self), {**given, "dropout": dropout, "last_linear": last_linear}, "")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if min_depth > max_depth:
            raise ValueError(f"min_depth={min_depth}: must be <= max_depth={max_depth}")
        if widths is None and min_width > max_width:
            raise ValueError(f"min_width={min_width}: must be <= max_width={max_width}")
        self.min_depth, self.max_depth, self.dropout, self.last_linear = min_depth, max_depth, dropout, last_linear
        self.widths = Widths(range(min_width, max_width + 1), scale) if widths is None else Widths(widths, "places")
        self.activations: tuple[Token, ...] = tuple(activations or ["relu"])
        self.free_widths = min_depth if min_depth == max_depth and len(self.activations) == 1 else None
        self._depths = tuple(range(min_depth, max_depth + 1))
        self._tail = 1 if len(self.activations) > 1 else 0  # tokens after the widths
        self.mutations = self._mutations()
        self.size: int = len(self.activations) * sum(len(self.widths) ** depth for depth in self._depths)

    def _mutations(self) -> dict[str, Mutation]:
        """The mutations that can change something in this space; the width can be stepped even if there is only one
        layer."""
        mutations: dict[str, Mutation] = {"step_width": self._step_width, "new_width": self._new_width}
        if self.max_depth > 1 and len(self.widths) > 1:
            mutations["swap"] = self._swap
        if len(self._depths) > 1:
            mutations |= {"add_layer": self._add_layer, "remove_layer": self._remove_layer}
        if self._tail:
            mutations["activation"] = self._change_activation
        return mutations

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw the depth uniformly, each width independently on the `scale` of the space, the activation uniformly."""
        depth = int(value_at(self._depths, float(rng.random())))
        widths = [self.widths.draw(rng) for _ in range(depth)]
        return (depth, *widths, *([value_at(self.activations, float(rng.random()))] if self._tail else []))

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Depth and activation of either parent; each layer that both have from either, the others from the deeper."""
        ours, theirs = self.widths_of(first), self.widths_of(second)
        deeper = ours if len(ours) > len(theirs) else theirs
        depth = len(ours) if rng.random() < 0.5 else len(theirs)
        shared = [a if rng.random() < 0.5 else b for a, b in zip(ours, theirs, strict=False)]
        tail = (first if rng.random() < 0.5 else second)[-1:] if self._tail else ()
        return (depth, *[*shared, *deeper[len(shared) :]][:depth], *tail)

    def _step_width(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Make one layer a little narrower or wider."""
        position = 1 + int(rng.random() * int(genome[0]))
        return _replaced(genome, position, self.widths.near(int(genome[position]), rng))

    def _new_width(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Give one layer any other width."""
        position = 1 + int(rng.random() * int(genome[0]))
        return _replaced(genome, position, self.widths.other(int(genome[position]), rng))

    def _swap(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Exchange two layers of different widths, uniform over such pairs."""
        widths = self.widths_of(genome)
        places = range(len(widths))
        pairs = [(i, j) for i in places for j in places if i < j and widths[i] != widths[j]]
        if not pairs:
            return genome
        one, other = pairs[int(rng.random() * len(pairs))]
        return _replaced(_replaced(genome, 1 + one, widths[other]), 1 + other, widths[one])

    def _add_layer(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Insert a layer of a drawn width at a random position, unless the network has the maximum depth."""
        depth = int(genome[0])
        if depth == self.max_depth:
            return genome
        return _inserted(genome, 1 + int(rng.random() * (depth + 1)), self.widths.draw(rng))

    def _remove_layer(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Remove a random layer, unless the network has the minimum depth."""
        depth = int(genome[0])
        return genome if depth == self.min_depth else _without(genome, 1 + int(rng.random() * depth))

    def _change_activation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change the activation of all hidden layers."""
        others = [name for name in self.activations if name != genome[-1]]
        return (*genome[:-1], others[int(rng.random() * len(others))])

    def neighbours(self, genome: Genome) -> list[Genome]:
        """One layer a step narrower or wider (`Widths.neighbours`), one layer removed or doubled, another activation: a
        handful, instead of thousands with all other widths."""
        return list(dict.fromkeys(self._neighbours(genome)))

    def _neighbours(self, genome: Genome) -> Iterator[Genome]:
        places = range(1, 1 + int(genome[0]))
        for position in places:
            for width in self.widths.neighbours(int(genome[position])):
                yield _replaced(genome, position, width)
        if genome[0] > self.min_depth:  # type: ignore[operator]
            yield from (_without(genome, position) for position in places)
        if genome[0] < self.max_depth:  # type: ignore[operator]
            yield from (_inserted(genome, position, genome[position]) for position in places)
        if self._tail:
            yield from ((*genome[:-1], name) for name in self.activations if name != genome[-1])

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix: depths, then ascending widths, then the activations, if several."""
        if not prefix:
            return self._depths
        left = int(prefix[0]) + 1 - len(prefix)
        if left > 0:
            return self.widths.values
        return self.activations if self._tail and left == 0 else ()

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector: the depth, if it varies; `max_depth` widths, 0 for a missing layer; the activation, if there are
        several. An entry is the middle of its value's share of [0, 1]; for a width of a range it is `Widths.entry`."""
        depth = int(genome[0])
        entries = [(depth - self.min_depth + 0.5) / len(self._depths)] if len(self._depths) > 1 else []
        entries += [self.widths.entry(int(width)) for width in self.widths_of(genome)]
        entries += [0.0] * (self.max_depth - depth)
        if self._tail:
            entries.append((self.activations.index(genome[-1]) + 0.5) / len(self.activations))
        return np.array(entries)

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector as `encode` makes it; entries outside of [0, 1] are clipped, those of layers beyond
        the depth are ignored. ValueError: wrong shape, or a NaN."""
        clipped = np.clip(np.asarray(vector, dtype=np.float64), 0.0, 1.0)
        varies = int(len(self._depths) > 1)
        length = varies + self.max_depth + self._tail
        if clipped.shape != (length,):
            raise ValueError(f"vector of shape {clipped.shape}: expected ({length},)")
        if np.isnan(clipped).any():
            raise ValueError("vector: holds a NaN")
        entries: list[float] = clipped.tolist()
        depth = int(value_at(self._depths, entries[0])) if varies else self.min_depth
        widths = [self.widths.at(entry) for entry in entries[varies : varies + depth]]
        return (depth, *widths, *([value_at(self.activations, entries[-1])] if self._tail else []))

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        if not isinstance(genome, tuple):
            raise ValueError(f"genome of type {type(genome).__name__}: expected a tuple")
        if not genome or type(genome[0]) is not int or genome[0] not in self._depths:
            found = repr(genome[0]) if genome else "the end"
            raise ValueError(f"token 0 (depth): expected {_either(self._depths)}; got {found}")
        length = 1 + genome[0] + self._tail
        for position in range(1, max(length, len(genome))):
            found = repr(genome[position]) if position < len(genome) else "the end"
            if position >= length:
                raise ValueError(f"token {position}: expected the end, depth is {genome[0]}; got {found}")
            if position > genome[0]:
                legal = position < len(genome) and genome[position] in self.activations
                what, expected = "activation", _either(self.activations)
            else:
                legal = position < len(genome) and genome[position] in self.widths
                what, expected = f"width of layer {position}", str(self.widths)
            if not legal:
                raise ValueError(f"token {position} ({what}): expected {expected}; got {found}")

    def format(self, genome: Genome) -> str:
        """Hidden widths joined by "-", with the activation last if there are several: `448-65`, `448-65-tanh`."""
        return "-".join(map(str, genome[1:]))

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character, counted from 1, and what was expected there:
        `character 5 (layer 2): expected a width from 8 to 512; got '0'`."""
        parts = text.split("-")
        tail = parts.pop() if self._tail and len(parts) > 1 else None
        position = 1
        widths: list[int] = []
        for layer, part in enumerate(parts, start=1):
            where, found = f"character {position} (layer {layer})", repr(part[:24])
            if layer > self.max_depth:
                expected = _either(self.activations) if self._tail else "the end"
                raise ValueError(
                    f"{where}: expected {expected} after {counted(self.max_depth, 'layer')} (max_depth); got {found}"
                )
            width = int(part) if _NUMBER.fullmatch(part) else 0
            if width not in self.widths:
                raise ValueError(f"{where}: expected {self.widths}; got {found}")
            widths.append(width)
            position += len(part) + 1
        if len(widths) < self.min_depth:
            needed = f"at least {counted(self.min_depth, 'layer')} (min_depth)"
            raise ValueError(f"character {position}: expected {needed}, there are {len(widths)}; got the end")
        if not self._tail:
            return (len(widths), *widths)
        if tail not in self.activations:
            found = "the end" if tail is None else repr(tail[:24])
            raise ValueError(f"character {position} (activation): expected {_either(self.activations)}; got {found}")
        return (len(widths), *widths, tail)

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        """The positions of the widths of the hidden layers."""
        return tuple(range(1, 1 + int(genome[0])))

    def with_widths(self, widths: Sequence[float]) -> Genome:
        return (len(widths), *map(self.widths.nearest, widths))

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, weights and biases; and FLOPs of one input, two per weight. FLOPs leave out biases,
        activations and dropout, as does `torch.utils.flop_counter`."""
        sizes = [task.channels * task.height * task.width, *self.widths_of(genome), task.outputs]
        weights = sum(before * after for before, after in pairwise(sizes))
        return Cost(weights + sum(sizes[1:]), 2 * weights)

    def peak_values(self, genome: Genome, task: Task) -> int:
        """The largest sum of a layer's inputs and outputs."""
        sizes = [task.channels * task.height * task.width, *self.widths_of(genome), task.outputs]
        return max(before + after for before, after in pairwise(sizes))

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs), the logits. Initial
        weights come from torch's global generator; see `dense_network`."""
        from nasrun.spaces.mlp.network import dense_network  # imports torch, so only where needed

        activation = str(genome[-1] if self._tail else self.activations[0])
        inputs = task.channels * task.height * task.width
        return dense_network(
            inputs,
            self.widths_of(genome),
            activation,
            dropout=self.dropout,
            outputs=task.outputs,
            last_linear=self.last_linear,
        )


def _replaced(genome: Genome, position: int, token: Token) -> Genome:
    return (*genome[:position], token, *genome[position + 1 :])


def _inserted(genome: Genome, position: int, width: Token) -> Genome:
    return (int(genome[0]) + 1, *genome[1:position], width, *genome[position:])


def _without(genome: Genome, position: int) -> Genome:
    return (int(genome[0]) - 1, *genome[1:position], *genome[position + 1 :])


def _either(values: tuple[Token, ...]) -> str:
    listed = ", ".join(map(str, values))
    return f"one of {listed}" if len(values) > 1 else listed
