"""Cells of ENAS's micro search space: a convolution and a reduction cell of B blocks, stacked to a network.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", 2018 (arXiv 1802.03268), section 2.4;
the operations and the stack of 6 + 3 cells are those of Gallo et al., "Improving the Efficient Neural Architecture
Search via Rewarding Modifications", section V. The cells of NASNet (Zoph et al., "Learning Transferable Architectures
for Scalable Image Recognition", CVPR 2018, section 3), among which AmoebaNet was found (Real et al. 2019, section 3.1),
are the same with other operations and `join=each`. Only `build` imports torch.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from math import isnan
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from nasrun.core import CellGraph, Cost, Genome, Mutation, SearchSpace, Task, Token
from nasrun.core.options import Between, NotEmpty, Positive, show
from nasrun.spaces.micro_cell.encoding import KERNELS, TOKENS, Place, blocks_of, canonical, loose_ends, weights_of
from nasrun.spaces.tokens import pick

if TYPE_CHECKING:
    import torch

Operation = Literal["conv3", "conv5", "conv7", "dil3", "conv1x7", "avg3", "max3", "identity"]

CONVOLUTION, REDUCTION = "c", "r"
"""The letters of a layout."""

CELL_NAMES = {CONVOLUTION: "Convolution cell", REDUCTION: "Reduction cell"}


class MicroCell(SearchSpace):
    """A convolution cell and a reduction cell of `blocks` blocks each, stacked by `layout`.

    Genome: for the convolution cell, then for the reduction cell (a kind that `layout` lacks has no tokens), four
    tokens per block: two inputs, then the operations on them. Input 0 is the output of the cell before the last, 1 that
    of the last cell, 2, 3, ... are the blocks of the cell itself. A block is the sum of its two operations. All blocks
    and inputs that no block uses are joined by a 1x1 convolution to the output of the cell.

    String: a block is `input:operation+input:operation`, blocks are joined by "/", the two cells by "|".

    `layout`: a letter per cell, "c" for convolution, "r" for reduction. A reduction cell works at half the height and
    width, rounded up, and twice the channels: both of its inputs are halved before its blocks use them, as in ENAS's
    search, so all operations have stride 1. `channels`: of the stem and the first cells. `separable`: convolutions are
    depthwise separable and done twice, as in ENAS; otherwise they are plain, once. `stem`: its channels, in multiples
    of `channels` (public code of ENAS: 3). `join`: `once`, both following cells take the same output; `each`, each
    takes its own, through its own 1x1 convolution and normalisation, as in NASNet.
    """

    has_supernet, skip = True, "identity"

    def __init__(
        self,
        *,
        blocks: Annotated[int, Between(1, 8)] = 5,
        operations: Annotated[list[Operation], NotEmpty()],
        layout: Annotated[str, NotEmpty()] = "ccrccrccr",
        channels: Positive = 20,
        separable: bool = True,
        stem: Positive = 1,
        join: Literal["once", "each"] = "once",
    ) -> None:
        if set(layout) - {CONVOLUTION, REDUCTION}:
            raise ValueError(f"layout={show(layout)}: expected a letter per cell, c (convolution) or r (reduction)")
        if len(operations) == 1 and blocks == 1:
            raise ValueError(f"operations={show(operations)}: must be more than one with blocks=1")
        self.blocks, self.layout, self.channels, self.separable = blocks, layout, channels, separable
        self.stem_channels, self.join = stem * channels, join
        self.convolutions = tuple(name for name in operations if name in KERNELS)
        self.mixed_channels = channels
        self.operations: tuple[str, ...] = tuple(operations)
        self.cell_kinds = tuple(kind for kind in (CONVOLUTION, REDUCTION) if kind in layout)
        self._length = TOKENS * blocks * len(self.cell_kinds)
        self._choices = [
            tuple(range(block + 2)) if slot < 2 else self.operations
            for _ in self.cell_kinds
            for block in range(blocks)
            for slot in range(TOKENS)
        ]
        self.size: int = 1
        for legal in self._choices:
            self.size *= len(legal)
        self.mutations: dict[str, Mutation] = {"input": self.change_input}
        if len(operations) > 1:
            self.mutations["operation"] = self.change_operation

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw uniformly among all genomes."""
        draws = rng.random(self._length).tolist()
        return tuple([legal[int(draw * len(legal))] for legal, draw in zip(self._choices, draws, strict=True)])

    def change_input(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Give one operation another input, uniform over the operations and the other inputs."""
        return self._changed(genome, 0, rng)

    def change_operation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Replace one operation, uniform over the operations of the genome and the others."""
        return self._changed(genome, 2, rng)

    def _changed(self, genome: Genome, slot: int, rng: np.random.Generator) -> Genome:
        """Change a token in one of the slots `slot` and `slot + 1` of the blocks."""
        place, side = divmod(int(rng.random() * (self._length // 2)), 2)
        position = TOKENS * place + slot + side
        others = [token for token in self._choices[position] if token != genome[position]]
        return (*genome[:position], pick(others, rng), *genome[position + 1 :])

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Each input with its operation from either parent, at least one from each, uniformly."""
        pairs = self._length // 2
        mask = 1 + int(rng.random() * (2**pairs - 2))
        child = list(first)
        for pair in range(pairs):
            if mask >> pair & 1:
                block, side = divmod(pair, 2)
                for position in (TOKENS * block + side, TOKENS * block + side + 2):
                    child[position] = second[position]
        return tuple(child)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """Per block the inputs, twice, then `operations`, twice."""
        return self._choices[len(prefix)] if len(prefix) < self._length else ()

    def referred(self, prefix: Genome, token: Token) -> int | None:
        """An input that is a block refers to that block's end; an input of the cell to the beginning of the cell."""
        place = len(prefix) % (TOKENS * self.blocks)
        if place % TOKENS >= 2:
            return None
        return len(prefix) - place + TOKENS * max(0, int(token) - 1)

    def simplest(self, rng: np.random.Generator) -> Genome:
        """A random first block in each cell; the others pass the last cell on (`_passing`)."""
        genome = self.sample(rng)
        return tuple(
            token for cell in self.cells(genome) for token in (*cell[:TOKENS], *self._passing(self.blocks - 1))
        )

    def parts(self, genome: Genome) -> int:
        """The number of blocks, without those at the end of each cell that only pass the last cell on."""
        return sum(map(self._used, self.cells(genome)))

    def grown(self, genome: Genome) -> list[Genome]:
        """The first block that only passes the last cell on, in one of the cells, replaced by any other."""
        found: list[Genome] = []
        for place, cell in enumerate(self.cells(genome)):
            used = self._used(cell)
            if used < self.blocks:
                start = place * TOKENS * self.blocks + TOKENS * used
                blocks: Iterable[Genome] = product(*self._choices[start : start + TOKENS])
                found += [genome[:start] + block + genome[start + TOKENS :] for block in blocks]
        found = [other for other in found if self.parts(other) > self.parts(genome)]
        return list(dict.fromkeys(found))

    def _used(self, cell: Genome) -> int:
        blocks = list(blocks_of(cell))
        while blocks and blocks[-1] == self._passing(1):
            blocks.pop()
        return len(blocks)

    def _passing(self, blocks: int) -> Genome:
        """Blocks that add the last cell to itself, by the identity if there is one."""
        operation = "identity" if "identity" in self.operations else self.operations[0]
        return (1, 1, operation, operation) * blocks

    def encode(self, genome: Genome) -> np.ndarray:
        """One entry per token: its index among the n choices as (index + 1/2) / n."""
        pairs = zip(self._choices, genome, strict=True)
        return np.array([(legal.index(token) + 0.5) / len(legal) for legal, token in pairs])

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector with an entry per token: each falls into one of equal shares of [0, 1]; entries
        outside are clipped. ValueError: wrong shape, or a NaN."""
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (self._length,):
            raise ValueError(f"vector of shape {vector.shape}: expected ({self._length},)")
        entries: list[float] = vector.tolist()
        if any(map(isnan, entries)):
            raise ValueError("vector: holds a NaN")
        return tuple(
            [legal[bisect_right(_borders(len(legal)), e)] for legal, e in zip(self._choices, entries, strict=True)]
        )

    def key(self, genome: Genome) -> Hashable:
        """Equal for cells that are the same network with its weights renamed: with the two halves of a block exchanged,
        or blocks in another order."""
        return tuple([canonical(cell) for cell in self.cells(genome)])

    def cells(self, genome: Genome) -> list[Genome]:
        """The tokens of each cell, in the order of `cell_kinds`."""
        length = TOKENS * self.blocks
        return [genome[start : start + length] for start in range(0, self._length, length)]

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        if not isinstance(genome, tuple):
            raise ValueError(f"genome of type {type(genome).__name__}: expected a tuple")
        for position, token in enumerate(genome[: self._length]):
            legal = self._choices[position]
            if not any(token == choice and type(token) is type(choice) for choice in legal):
                raise ValueError(f"token {position} ({self._name(position)}): {_expected(legal)}; got {token!r}")
        if len(genome) > self._length:
            raise ValueError(f"token {self._length}: expected the end; got {genome[self._length]!r}")
        if len(genome) < self._length:
            position = len(genome)
            raise ValueError(
                f"token {position} ({self._name(position)}): {_expected(self._choices[position])}; got the end"
            )

    def _name(self, position: int) -> str:
        cell, rest = divmod(position, TOKENS * self.blocks)
        kind = {CONVOLUTION: "convolution", REDUCTION: "reduction"}[self.cell_kinds[cell]]
        block, slot = divmod(rest, TOKENS)
        return f"{kind} cell, block {block + 1}, {('input 1', 'input 2', 'operation 1', 'operation 2')[slot]}"

    def format(self, genome: Genome) -> str:
        """`0:conv3+1:avg3/2:max3+0:identity|...`: blocks joined by "/", the cells by "|"."""
        return "|".join(
            "/".join(f"{one}:{first}+{two}:{second}" for one, two, first, second in blocks_of(cell))
            for cell in self.cells(genome)
        )

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character, counted from 1, and what was expected there."""
        tokens: list[Token] = []
        position = 0
        for start in range(0, self._length, TOKENS):
            block: list[Token] = []
            for slot, separator in ((0, ":"), (2, "+"), (1, ":"), (3, self._separator(start))):
                legal = self._choices[start + slot]
                end = min((at for mark in ":+/|" if (at := text.find(mark, position)) >= 0), default=len(text))
                names = {str(token): token for token in legal}
                if text[position:end] not in names:
                    raise _unexpected(text, position, self._name(start + slot), _expected(legal))
                block.append(names[text[position:end]])
                if text[end : end + len(separator)] != separator or (not separator and end < len(text)):
                    what = f"expected {separator!r}" if separator else "expected the end"
                    raise _unexpected(text, end, f"after {self._name(start + slot)}", what)
                position = end + len(separator)
            tokens += [block[0], block[2], block[1], block[3]]
        return tuple(tokens)

    def _separator(self, start: int) -> str:
        """The separator after the block that starts at a token."""
        end = start + TOKENS
        return "" if end == self._length else "|" if end % (TOKENS * self.blocks) == 0 else "/"

    def places(self, task: Task) -> list[Place]:
        """The cells of the stack, for inputs of a task."""
        channels, height, width = self.channels, task.height, task.width
        before = last = (self.stem_channels, 0)  # channels and halvings of the two outputs before
        halvings = 0
        places = []
        for number, kind in enumerate(self.layout):
            if kind == REDUCTION:
                channels, height, width = 2 * channels, (height + 1) // 2, (width + 1) // 2
                halvings += 1
            inputs = ((before[0], halvings - before[1]), (last[0], halvings - last[1]))
            outputs = 2 if self.join == "each" and number < len(self.layout) - 2 else 1
            places.append(Place(kind, channels, height, width, inputs, outputs))
            before, last = last, (channels, halvings)
        return places

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and the dense layer.
        FLOPs leave out normalisation, pooling and sums, as does `torch.utils.flop_counter`."""
        stem = 9 * task.channels * self.stem_channels
        parameters, multiply_adds = stem + 2 * self.stem_channels, stem * task.height * task.width
        cells = dict(zip(self.cell_kinds, self.cells(genome), strict=True))
        convolutions = {
            kind: [str(name) for block in blocks_of(cell) for name in block[2:] if name in KERNELS]
            for kind, cell in cells.items()
        }
        loose = {kind: len(loose_ends(cell)) for kind, cell in cells.items()}
        for place in self.places(task):
            channels, pixels = place.channels, place.height * place.width
            weights, normalised = place.outputs * loose[place.kind] * channels**2, place.outputs
            for name in convolutions[place.kind]:
                added, norms = weights_of(name, channels, self.separable)
                weights, normalised = weights + added, normalised + norms
            parameters += weights + 2 * channels * normalised
            multiply_adds += weights * pixels
            for inputs, halvings in place.inputs:
                for step in range(halvings):
                    size = 1 << (halvings - 1 - step)
                    height, width = self._before(place, task, size)
                    weights = (inputs if step == 0 else channels) * channels
                    parameters += weights + 2 * channels
                    multiply_adds += weights * height * width
                if not halvings and inputs != channels:
                    parameters += inputs * channels + 2 * channels
                    multiply_adds += inputs * channels * pixels
        dense = channels * task.outputs
        return Cost(parameters + dense + task.outputs, 2 * (multiply_adds + dense))

    def _before(self, place: Place, task: Task, factor: int) -> tuple[int, int]:
        """Height and width that are `factor` times those of a cell: those of the task, halved less often."""
        height, width = task.height, task.width
        times = (place.channels // self.channels // factor).bit_length() - 1
        for _ in range(times):
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `MicroNetwork`."""
        from nasrun.spaces.micro_cell.network import MicroNetwork  # imports torch, so only where needed

        return MicroNetwork(self, task, genome)

    def supernet(self, task: Task) -> "torch.nn.Module":
        from nasrun.spaces.micro_cell.network import MicroNetwork

        return MicroNetwork(self, task)

    def auxiliary_place(self, task: Task) -> tuple[str, int] | None:
        """The cell after two thirds of the stack, named by the normalisation of its output."""
        place = 2 * len(self.layout) // 3
        return f"cells.{place}.norm", self.places(task)[place].channels

    def relaxed(self, task: Task, partial: int = 1) -> "torch.nn.Module":
        from nasrun.spaces.micro_cell.network import MicroNetwork

        return MicroNetwork(self, task, partial=partial)

    def cell_graphs(self, genome: Genome) -> Mapping[str, CellGraph]:
        """The convolution and the reduction cell, if the layout has them."""
        return {CELL_NAMES[kind]: _graph(cell) for kind, cell in zip(self.cell_kinds, self.cells(genome), strict=True)}


def _graph(cell: Genome) -> CellGraph:
    blocks = (((int(one), str(first)), (int(two), str(second))) for one, two, first, second in blocks_of(cell))
    return CellGraph(("cell before\nthe last", "last cell"), tuple(blocks), loose_ends(cell))


@cache
def _borders(count: int) -> tuple[float, ...]:
    return tuple(rank / count for rank in range(1, count))


def _expected(legal: Sequence[Token]) -> str:
    return f"expected one of {', '.join(map(str, legal))}"


def _unexpected(text: str, position: int, where: str, what: str) -> ValueError:
    found = repr(text[position : position + 16]) if position < len(text) else "the end"
    return ValueError(f"character {position + 1} ({where}): {what}; got {found}")
