"""The cells of NAS-Bench-201: six edges between four nodes, five operations, 15,625 genomes.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020 (arXiv
2001.00326), section 2; the same space is the topology space of NATS-Bench (Dong et al., TPAMI 2021). Only `build`
imports torch.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from itertools import product
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from nasrun.core import Cost, Genome, SearchSpace, Task, Token
from nasrun.core.options import Positive
from nasrun.spaces.nasbench201.encoding import EDGES, OPERATIONS, STAGES
from nasrun.spaces.tokens import check_tokens

if TYPE_CHECKING:
    import torch

# The parts of a string before, between and after the operations.
_SEPARATORS = ("|", "~0|+|", "~0|", "~1|+|", "~0|", "~1|", "~2|")
_STRING = re.compile(
    "".join(re.escape(separator) + f"({'|'.join(OPERATIONS)})" for separator in _SEPARATORS[:-1])
    + re.escape(_SEPARATORS[-1])
)

_COUNT = len(OPERATIONS)
_OTHERS = {name: tuple(other for other in OPERATIONS if other != name) for name in OPERATIONS}
_ENTRIES = {name: (rank + 0.5) / _COUNT for rank, name in enumerate(OPERATIONS)}
_BORDERS = tuple(rank / _COUNT for rank in range(1, _COUNT))
_LISTED = ", ".join(OPERATIONS)


class NASBench201(SearchSpace):
    """All 15,625 cells of NAS-Bench-201, in the network that the benchmark trained.

    Genome: six names of `OPERATIONS`, one per edge, in the order of `EDGES`. String: the benchmark's own,
    `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: the edges into nodes 1, 2 and 3, each with its source.

    `channels`: of the stem and the first stage; `cells`: per stage. The benchmark's are 16 and 5; they change `build`
    and `cost`, not the space.

    `merge_isomorphs`: make `key` equal for cells that are the same network (`same_network`). The benchmark trained all
    15,625 strings separately, so by default each counts.
    """

    has_supernet = True
    # With uniform draws, operations without weights are as good as trained while each convolution has seen only a few
    # hundred batches, so cells of pools and skips look best (docs/evaluators.md, "How well shared scores rank").
    operation_weights: Mapping[str, float] = {
        "none": 0.05,
        "skip_connect": 0.15,
        "nor_conv_1x1": 0.30,
        "nor_conv_3x3": 0.40,
        "avg_pool_3x3": 0.10,
    }

    skip, nothing = "skip_connect", "none"
    convolutions = ("nor_conv_1x1", "nor_conv_3x3")
    summed_positions = ((1, 2), (3, 4, 5))

    def __init__(self, *, channels: Positive = 16, cells: Positive = 5, merge_isomorphs: bool = False) -> None:
        self.channels = self.mixed_channels = channels
        self.cells = cells
        self.merge_isomorphs = merge_isomorphs
        self.mutations = {"operation": self.change_operation}
        self.size: int = _COUNT ** len(EDGES)
        self.genomes = _all_genomes()
        """All genomes, in a fixed order."""
        self._prices: dict[Task, tuple[Cost, Cost, Cost]] = {}

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw uniformly among all genomes."""
        return self.genomes[int(rng.random() * len(self.genomes))]

    def change_operation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Replace the operation of one edge by another, uniform over the 24 children.

        The only mutation: exchanging two edges equals two of these steps, and takes longer to reach the best cells.
        """
        edge, rank = divmod(int(rng.random() * (len(EDGES) * (_COUNT - 1))), _COUNT - 1)
        return (*genome[:edge], _OTHERS[genome[edge]][rank], *genome[edge + 1 :])  # type: ignore[index]

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Each edge from either parent, uniform over the 62 ways in which both give at least one."""
        mask = 1 + int(rng.random() * (2 ** len(EDGES) - 2))
        return tuple([second[edge] if mask >> edge & 1 else first[edge] for edge in range(len(EDGES))])

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """All operations, in the order of the benchmark, at each of the six edges."""
        return OPERATIONS if len(prefix) < len(EDGES) else ()

    def parts(self, genome: Genome) -> int | None:
        """The number of edges that are not `none`; None if these do not lead from the input of the cell to its
        output."""
        reached = {0}
        for (target, source), operation in zip(EDGES, genome, strict=True):
            if source in reached and operation != OPERATIONS[0]:
                reached.add(target)
        return len(EDGES) - genome.count(OPERATIONS[0]) if EDGES[-1][0] in reached else None

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of 6 entries: the index of each edge's operation in `OPERATIONS`, as (index + 1/2) / 5.

        One number per edge, not five of which the largest wins: in six dimensions instead of thirty, a step along one
        axis usually changes an operation, and swarms get further on the same budget. The drawback is an order of the
        operations that means little; at least the convolutions are adjacent.
        """
        return np.array([_ENTRIES[operation] for operation in genome])  # type: ignore[index]

    def decode(self, vector: np.ndarray) -> Genome:
        """The genome of a vector of 6 entries: each falls into one of five equal shares of [0, 1], so that uniform
        vectors give uniform genomes. Entries outside of [0, 1] are clipped. ValueError: wrong shape, or a NaN."""
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (len(EDGES),):
            raise ValueError(f"vector of shape {vector.shape}: expected ({len(EDGES)},)")
        entries: list[float] = vector.tolist()
        if any(map(isnan, entries)):
            raise ValueError("vector: holds a NaN")
        return tuple([OPERATIONS[bisect_right(_BORDERS, entry)] for entry in entries])

    def key(self, genome: Genome) -> Hashable:
        """The genome, or with `merge_isomorphs` its `same_network`."""
        return same_network(genome) if self.merge_isomorphs else genome

    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming the token and the legal values, unless the genome belongs to this space."""
        check_tokens(self, genome, _name)

    def format(self, genome: Genome) -> str:
        """`|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|`, as the benchmark writes it."""
        one, two, three, four, five, six = genome
        return f"|{one}~0|+|{two}~0|{three}~1|+|{four}~0|{five}~1|{six}~2|"

    def parse(self, text: str) -> Genome:
        """The genome of a string. ValueError names the character, counted from 1, and what was expected there:
        `character 2 (edge 1<-0): expected one of none, ...; got 'conv'`."""
        match = _STRING.fullmatch(text)
        if match is None:
            raise _unexpected(text)
        return match.groups()

    def cost(self, genome: Genome, task: Task) -> Cost:
        """Trainable parameters, and FLOPs of one input: two per multiply-add of the convolutions and the dense layer.
        As in the benchmark, convolutions count even if their output is not used. FLOPs leave out normalisation, pooling
        and sums, as does `torch.utils.flop_counter`."""
        prices = self._prices.get(task)
        if prices is None:
            prices = self._prices[task] = self._price(task)
        rest, small, large = prices
        ones, threes = genome.count("nor_conv_1x1"), genome.count("nor_conv_3x3")
        return Cost(
            rest.parameters + ones * small.parameters + threes * large.parameters,
            rest.flops + ones * small.flops + threes * large.flops,
        )

    def _price(self, task: Task) -> tuple[Cost, Cost, Cost]:
        """The cost of everything except the cells, and of one edge of 1x1 and one of 3x3 convolutions in every cell."""
        height, width, channels = task.height, task.width, self.channels
        stem = 9 * task.channels * channels
        parameters, multiply_adds = stem + 2 * channels, stem * height * width
        edges = {1: [0, 0], 9: [0, 0]}
        for stage in range(STAGES):
            if stage:
                height, width = (height + 1) // 2, (width + 1) // 2
                # Two 3x3 convolutions with normalisation, and the 1x1 convolution beside them without.
                weights = channels * 2 * channels * (9 + 1) + 9 * (2 * channels) ** 2
                channels *= 2
                parameters += weights + 2 * 2 * channels
                multiply_adds += weights * height * width
            for taps, edge in edges.items():
                edge[0] += self.cells * (taps * channels**2 + 2 * channels)
                edge[1] += 2 * self.cells * taps * channels**2 * height * width
        parameters += 2 * channels + channels * task.outputs + task.outputs
        multiply_adds += channels * task.outputs
        return Cost(parameters, 2 * multiply_adds), Cost(*edges[1]), Cost(*edges[9])

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output (batch, task.outputs): logits, or the
        values of a regression. Initial weights come from torch's global generator; see `nasbench201_network`."""
        from nasrun.spaces.nasbench201.network import network  # imports torch, so only where needed

        edges = [(target, source, str(name)) for (target, source), name in zip(EDGES, genome, strict=True)]
        return network(edges, task.channels, task.outputs, channels=self.channels, stages=STAGES, cells=self.cells)

    def supernet(self, task: Task) -> "torch.nn.Module":
        from nasrun.spaces.nasbench201.supernet import supernet

        return supernet(self.channels, self.cells, task)

    def relaxed(self, task: Task, partial: int = 1) -> "torch.nn.Module":
        from nasrun.spaces.nasbench201.supernet import supernet

        return supernet(self.channels, self.cells, task, partial)

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        from nasrun.spaces.nasbench201.supernet import supernet_name

        return supernet_name(genome)


@cache
def same_network(genome: Genome) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A form that is equal for two cells exactly if they are the same network with its convolutions renamed.

    It holds the summands of the output, written out and sorted, then the different convolutions in them. `none` edges
    and unused nodes are dropped, and skip connections are resolved. The second part distinguishes a convolution whose
    output is used twice from two convolutions of the same input. A convolution of zero is not zero: its normalisation
    adds a trained constant per channel, whatever the kernel.

    5,485 are different. The benchmark's paper counts 6,466 by a rule on strings, which does not distinguish one
    convolution used twice from two and treats a convolution of zero as zero, but separates equal sums that contain
    zeros or are nested differently.
    """
    nothing: frozenset[tuple[int, str]] = frozenset()
    # For each node its summands: each as text, with the convolutions in it by edge and text.
    nodes: list[list[tuple[str, frozenset[tuple[int, str]]]]] = [[("input", nothing)], [], [], []]
    for edge, ((target, source), operation) in enumerate(zip(EDGES, genome, strict=True)):
        summands = nodes[source]
        if operation == "none" or (operation == "avg_pool_3x3" and not summands):
            continue
        if operation == "skip_connect":
            nodes[target] += summands
            continue
        text = f"{operation}({'+'.join(sorted(text for text, _ in summands))})" if summands else "constant"
        within = nothing.union(*(convolutions for _, convolutions in summands))
        nodes[target].append((text, within if operation == "avg_pool_3x3" else within | {(edge, text)}))
    used = nothing.union(*(convolutions for _, convolutions in nodes[3]))
    return tuple(sorted(text for text, _ in nodes[3])), tuple(sorted(text for _, text in used))


@cache
def _all_genomes() -> list[Genome]:
    return list(product(OPERATIONS, repeat=len(EDGES)))


def _name(position: int, genome: Genome = ()) -> str:
    """The edge of a position of a genome."""
    if position >= len(EDGES):
        return ""
    target, source = EDGES[position]
    return f"edge {target}<-{source}"


def _unexpected(text: str) -> ValueError:
    """The error for the first position at which a text is not a string of the benchmark."""
    position = 0
    for edge, separator in enumerate(_SEPARATORS):
        where = f"after {_name(edge - 1)}" if edge else "start"
        if not text.startswith(separator, position):
            return _expected(repr(separator), text, position, where)
        position += len(separator)
        if edge < len(EDGES):
            name = next((name for name in OPERATIONS if text.startswith(name, position)), None)
            if name is None:
                return _expected(f"one of {_LISTED}", text, position, _name(edge))
            position += len(name)
    return _expected("the end", text, position, f"after {_name(len(EDGES) - 1)}")


def _expected(what: str, text: str, position: int, where: str) -> ValueError:
    found = repr(text[position : position + 16]) if position < len(text) else "the end"
    return ValueError(f"character {position + 1} ({where}): expected {what}; got {found}")
