"""Plain chains of NAS-Bench-101: how their genomes are drawn, varied and encoded."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from nasrun.core import Genome, Mutation, Token
from nasrun.spaces.nasbench101.cells import change_operation
from nasrun.spaces.nasbench101.graph import Cell


class Chains:
    """Cells in which each vertex takes only the one before it, with one operation up to `vertices` - 2.

    Genome: `(V, operation of vertex 1, ..., operation of vertex V - 2)`.
    """

    def __init__(self, vertices: int, operations: Sequence[str]) -> None:
        self._operations = tuple(operations)
        self._ranks = {operation: rank for rank, operation in enumerate(operations)}
        self._longest = vertices - 2
        self._counts = tuple(range(3, vertices + 1))
        self._chains = [row for count in self._counts for row in product(self._operations, repeat=count - 2)]
        self.size = len(self._chains)
        self.mutations: dict[str, Mutation] = {
            "add_node": self.add_node,
            "remove_node": self.remove_node,
            "operation": self.change_operation,
        }

    def cell(self, genome: Genome) -> Cell:
        """The graph of a genome."""
        return Cell(tuple(map(str, genome[1:])), (0, *[1 << vertex for vertex in range(len(genome))]))

    def genome(self, cell: Cell) -> Genome:
        """The genome of a chain."""
        return (len(cell.inputs), *cell.operations)

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw uniformly among all chains, so a length is as likely as its number of chains."""
        chain = self._chains[int(rng.random() * self.size)]
        return (len(chain) + 2, *chain)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The numbers of vertices, then the operations in the order of the options."""
        if not prefix:
            return self._counts
        return self._operations if len(prefix) < int(prefix[0]) - 1 else ()

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of `vertices` - 1 entries: the length, then the operations. Entry i of a list of n is (i + 1/2) / n;
        missing operations are 0."""
        entries = [0.0] * (1 + self._longest)
        entries[0] = (len(genome) - 1.5) / self._longest
        for vertex in range(1, len(genome)):
            entries[vertex] = (self._ranks[str(genome[vertex])] + 0.5) / len(self._operations)
        return np.array(entries)

    def decode(self, entries: list[float]) -> Genome:
        """The genome of a vector with entries in [0, 1]; operations beyond the length are ignored."""
        length = 1 + min(int(entries[0] * self._longest), self._longest - 1)
        count = len(self._operations)
        return (
            length + 2,
            *[self._operations[min(int(entry * count), count - 1)] for entry in entries[1 : 1 + length]],
        )

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return 1 + self._longest

    def neighbours(self, genome: Genome) -> list[Genome]:
        """Every operation changed, every operation inserted at every position, every operation removed."""
        chain, length = genome[1:], len(genome) - 1
        found = {
            (*genome[:place], operation, *genome[place + 1 :]): None
            for place in range(1, length + 1)
            for operation in self._operations
            if operation != genome[place]
        }
        if length < self._longest:
            for place, operation in product(range(length + 1), self._operations):
                found[(length + 3, *chain[:place], operation, *chain[place:])] = None
        if length > 1:
            for place in range(length):
                found[(length + 1, *chain[:place], *chain[place + 1 :])] = None
        return list(found)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """The length of one parent, each operation from either parent that is long enough; all draws are uniform."""
        draws = rng.random(1 + self._longest).tolist()
        length = len(first if draws[0] < 0.5 else second)
        chain: list[Token] = [length + 1]
        for place in range(1, length):
            having = [parent for parent in (first, second) if place < len(parent)]
            chain.append(having[int(draws[place] * len(having))][place])
        return tuple(chain)

    def add_node(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Insert a random operation at a random position, unless the chain has the maximum length."""
        length = len(genome) - 1
        if length == self._longest:
            return genome
        place, rank = divmod(int(rng.random() * (length + 1) * len(self._operations)), len(self._operations))
        return (length + 3, *genome[1 : 1 + place], self._operations[rank], *genome[1 + place :])

    def remove_node(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Remove an operation, unless it is the only one."""
        length = len(genome) - 1
        if length == 1:
            return genome
        place = 1 + int(rng.random() * length)
        return (length + 1, *genome[1:place], *genome[place + 1 :])

    def change_operation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change one operation, uniform over positions and other operations."""
        return change_operation(genome, len(genome) - 1, self._ranks, rng)
