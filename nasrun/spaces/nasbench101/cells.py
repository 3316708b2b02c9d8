"""Cells of NAS-Bench-101 with any wiring: how their genomes are drawn, varied and encoded."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import comb

import numpy as np

from nasrun.core import Genome, Mutation, Token
from nasrun.spaces.nasbench101.graph import Cell, live, prune

# (u, v) of each possible edge of up to 7 vertices, in the order of the genome: by v, then by u.
_PLACES = [(u, v) for v in range(1, 7) for u in range(v)]
# The bits of a number as tokens, by their count and the number; and the inverse.
_BITS = [[tuple([mask >> u & 1 for u in range(width)]) for mask in range(1 << width)] for width in range(7)]
_MASKS = [{bits: mask for mask, bits in enumerate(rows)} for rows in _BITS]

ABSENT, PRESENT = 0.25, 0.75  # entries of edges in a vector: the middles of the two halves of [0, 1]


class Cells:
    """Pruned cells of up to `vertices` vertices, input and output included, and up to `edges` edges.

    Genome: `(V, operation of vertex 1, ..., operation of vertex V - 2, edge 0-1, edge 0-2, edge 1-2, edge 0-3, ...)`,
    where an edge is 0 or 1. All edges lead to the higher number, and every vertex lies on a path from input to output.
    """

    def __init__(self, vertices: int, edges: int, operations: Sequence[str]) -> None:
        self._vertices, self._edges, self._operations = vertices, edges, tuple(operations)
        self._ranks = {operation: rank for rank, operation in enumerate(operations)}
        self._counts = tuple(range(2, vertices + 1))
        self._slots = vertices - 2
        self._rows = list(product(self._operations, repeat=self._slots))
        self._wirings = 1 << comb(vertices, 2)
        self._columns = [(comb(vertex, 2), (1 << vertex) - 1) for vertex in range(vertices)]
        self.width = self._slots + comb(vertices, 2)
        self.size = sum(len(operations) ** (count - 2) * wirings(count, edges) for count in self._counts)
        self.mutations: dict[str, Mutation] = {
            "add_node": self.add_node,
            "add_connection": self.add_connection,
            "operation": self.change_operation,
            "edge": self.toggle_edge,
        }

    def cell(self, genome: Genome) -> Cell:
        """The graph of a genome."""
        count = int(genome[0])
        bits, inputs = genome[count - 1 :], [0]
        for vertex in range(1, count):
            start = vertex * (vertex - 1) // 2
            inputs.append(_MASKS[vertex][bits[start : start + vertex]])  # type: ignore[index]
        return Cell(genome[1 : count - 1], tuple(inputs))  # type: ignore[arg-type]

    def genome(self, cell: Cell) -> Genome:
        """The genome of a pruned cell."""
        tokens: list[Token] = [len(cell.inputs), *cell.operations]
        for vertex in range(1, len(cell.inputs)):
            tokens += _BITS[vertex][cell.inputs[vertex]]
        return tuple(tokens)

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw like the benchmark's own example: each edge between `vertices` vertices with probability 1/2 and each
        operation uniformly, until the pruned cell has at least one edge and no more than allowed.

        So the draw is uniform over wirings before pruning, not over cells. Small cells are drawn far more often than
        they are in the space: of up to 7 vertices and 9 edges, 0.3 % of the draws keep all seven vertices, but 90 % of
        the genomes have them.
        """
        while True:
            # One random number gives edges and operations together; it needs at most 29 of its 53 random bits.
            row, wiring = divmod(int(rng.random() * self._wirings * len(self._rows)), self._wirings)
            inputs = [wiring >> shift & mask for shift, mask in self._columns]
            kept = live(inputs)
            edges = 0
            for vertex in range(1, self._vertices):
                if kept >> vertex & 1:
                    edges += (inputs[vertex] & kept).bit_count()
            if 0 < edges <= self._edges:
                return self._pruned(self._rows[row], inputs)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The numbers of vertices, the operations in the order of the options, then 0 and 1 per edge, if a cell within
        the limits with every vertex on a path can still result."""
        if not prefix:
            return self._counts
        count = int(prefix[0])
        if len(prefix) < count - 1:
            return self._operations
        return _edge_choices(count, self._edges, prefix[count - 1 :])

    def encode(self, genome: Genome) -> np.ndarray:
        """Vector of `vertices` - 2 operations and the upper triangle of the adjacency matrix, in the genome's order.

        Operation i of a list of n is (i + 1/2) / n, an edge is 3/4, its absence 1/4. The output is the last of
        `vertices` vertices; missing ones come before it, with operation 0 and no edges.
        """
        cell = self.cell(genome)
        count = len(cell.inputs)
        missing = self._vertices - count
        share = len(self._operations)
        entries = [(self._ranks[operation] + 0.5) / share for operation in cell.operations] + [0.0] * missing
        for mask, vertex in zip((*cell.inputs[1:-1], *[0] * missing, cell.inputs[-1]), range(1, 7), strict=False):
            entries += [PRESENT if bit else ABSENT for bit in _BITS[vertex][mask]]
        return np.array(entries)

    def decode(self, entries: list[float]) -> Genome:
        """The genome of a vector with entries in [0, 1]. Entries of 1/2 and above are edges; if these make no path from
        input to output, the largest of the others are added one by one until there is one. Vertices on no path are
        pruned. While there are more edges than allowed, the smallest one that is not needed for a path is removed. Of
        equal entries the earlier counts as the larger."""
        count = len(self._operations)
        operations = [self._operations[min(int(entry * count), count - 1)] for entry in entries[: self._slots]]
        return self._wired(operations, entries[self._slots :])

    def _wired(self, operations: Sequence[str], entries: list[float]) -> Genome:
        """The genome of operations for all vertices and entries for all edges, repaired as in `decode`."""
        inputs = [0] * self._vertices
        order = sorted(range(len(entries)), key=entries.__getitem__, reverse=True)  # stable: ties by position
        chosen = []
        for place in order:
            if entries[place] < 0.5 and live(inputs):
                break
            chosen.append(place)
            u, v = _PLACES[place]
            inputs[v] |= 1 << u
        while True:
            kept = live(inputs)
            inputs = [mask & kept if kept >> vertex & 1 else 0 for vertex, mask in enumerate(inputs)]
            if sum([mask.bit_count() for mask in inputs]) <= self._edges:
                return self._pruned(operations, inputs)
            for place in reversed(chosen):
                u, v = _PLACES[place]
                if inputs[v] >> u & 1:
                    inputs[v] ^= 1 << u
                    if live(inputs):
                        break
                    inputs[v] ^= 1 << u

    def _pruned(self, operations: Sequence[str], inputs: Sequence[int]) -> Genome:
        """The genome of a graph that has a path from input to output."""
        cell = prune(operations, inputs)
        assert cell is not None
        return self.genome(cell)

    def neighbours(self, genome: Genome) -> list[Genome]:
        """Every operation changed, every edge added or removed, and every vertex added that `add_node` may add
        (directly after the vertex that it takes from, because other positions give isomorphic cells)."""
        cell = self.cell(genome)
        count = len(cell.inputs)
        found = {
            (*genome[:place], operation, *genome[place + 1 :]): None
            for place in range(1, count - 1)
            for operation in self._operations
            if operation != genome[place]
        }
        for u, v in _PLACES[: comb(count, 2)]:
            if toggled := self._toggled(cell, u, v):
                found[toggled] = None
        for (u, v, split), operation in product(self._additions(cell), self._operations):
            found[self._extended(cell, u, v, split, u + 1, operation)] = None
        return list(found)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Lay both parents out as in `encode`; take each operation and each edge, or its absence, from either parent.

        An operation is drawn from the parents that have the vertex. If the edges make no path or are too many, they are
        repaired as in `decode`, in a random order.
        """
        draws = rng.random(self.width).tolist()
        operations = []
        for slot in range(self._slots):
            having = [str(parent[slot + 1]) for parent in (first, second) if slot + 2 < int(parent[0])]
            # A vertex that neither parent has is used only if a path must be made.
            having = having or list(self._operations)
            operations.append(having[int(draws[slot] * len(having))])
        vectors = [self.encode(parent)[self._slots :].tolist() for parent in (first, second)]
        entries = []
        for draw, one, other in zip(draws[self._slots :], *vectors, strict=True):
            # The rest of a draw, after the choice of the parent, is uniform again: it ranks the edges for the repair.
            entry, rest = (one, 2 * draw) if draw < 0.5 else (other, 2 * draw - 1)
            entries.append((entry >= 0.5) / 2 + rest / 2)
        return self._wired(operations, entries)

    def add_node(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Add a vertex with a random operation between two others: with two new edges, whether or not they are
        connected, or splitting their edge (one new edge); uniform over all of these that the limits allow. Its number
        is uniform among those that are possible."""
        cell = self.cell(genome)
        additions = self._additions(cell)
        if not additions:
            return genome
        draws = rng.random(3).tolist()
        u, v, split = additions[int(draws[0] * len(additions))]
        operation = self._operations[int(draws[1] * len(self._operations))]
        return self._extended(cell, u, v, split, u + 1 + int(draws[2] * (v - u)), operation)

    def add_connection(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Add an edge, uniform over the missing ones, unless there are already as many as allowed."""
        start = int(genome[0]) - 1
        missing = [place for place in range(start, len(genome)) if not genome[place]]
        if not missing or len(genome) - start - len(missing) == self._edges:
            return genome
        place = missing[int(rng.random() * len(missing))]
        return (*genome[:place], 1, *genome[place + 1 :])

    def change_operation(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Change one operation, uniform over vertices and other operations."""
        return change_operation(genome, int(genome[0]) - 2, self._ranks, rng)

    def toggle_edge(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Add a missing edge or remove one, with the vertices that become useless without it; uniform over all edges
        for which the result is a cell within the limits."""
        cell = self.cell(genome)
        places = _PLACES[: comb(len(cell.inputs), 2)]
        while places:
            u, v = places.pop(int(rng.random() * len(places)))
            if toggled := self._toggled(cell, u, v):
                return toggled
        return genome

    def _toggled(self, cell: Cell, u: int, v: int) -> Genome | None:
        """The genome with the edge from u to v added or removed; None if the result is not a cell of the space."""
        inputs = list(cell.inputs)
        inputs[v] ^= 1 << u
        if inputs[v] >> u & 1:
            return self._pruned(cell.operations, inputs) if cell.edges < self._edges else None
        pruned = prune(cell.operations, inputs)
        return pruned and self.genome(pruned)

    def _additions(self, cell: Cell) -> list[tuple[int, int, bool]]:
        """Pairs of vertices u, v between which a vertex may be added, and whether it splits an edge."""
        spare = self._edges - cell.edges
        if len(cell.inputs) == self._vertices or not spare:
            return []
        pairs = _PLACES[: comb(len(cell.inputs), 2)]
        found = [(u, v, True) for u, v in pairs if cell.inputs[v] >> u & 1]
        return found + ([(u, v, False) for u, v in pairs] if spare > 1 else [])

    def _extended(self, cell: Cell, u: int, v: int, split: bool, place: int, operation: str) -> Genome:
        """The genome with a vertex between u and v that gets the number `place`; later vertices move up by one."""
        low = (1 << place) - 1
        inputs = [(mask & low) | (mask & ~low) << 1 for mask in cell.inputs]
        if split:
            inputs[v] ^= 1 << u
        inputs[v] |= 1 << place
        inputs.insert(place, 1 << u)
        return self.genome(
            Cell((*cell.operations[: place - 1], operation, *cell.operations[place - 1 :]), tuple(inputs))
        )


def change_operation(genome: Genome, length: int, ranks: dict[str, int], rng: np.random.Generator) -> Genome:
    """Change one of the tokens 1 to `length` of a genome to another operation, uniform over all such changes; the
    genome itself if there are none. `ranks`: the operations with their indices in their list."""
    others = len(ranks) - 1
    if not length * others:
        return genome
    place, rank = divmod(int(rng.random() * length * others), others)
    rank += rank >= ranks[str(genome[1 + place])]
    return (*genome[: 1 + place], list(ranks)[rank], *genome[2 + place :])


def wirings(vertices: int, edges: int) -> int:
    """The number of ways to connect numbered vertices with at most so many edges, each to a higher number, so that
    every vertex lies on a path from the first to the last."""
    # Counts after each vertex, by the number of vertices without a use so far, and the number of edges.
    counts = {(1, 0): 1}
    for vertex in range(1, vertices):
        following: dict[tuple[int, int], int] = {}
        for (unused, used), ways in counts.items():
            for old, new in _inputs(vertex, unused, all_unused=vertex == vertices - 1):
                state = (unused - new + 1, used + old + new)
                chosen = comb(vertex - unused, old) * comb(unused, new)
                following[state] = following.get(state, 0) + ways * chosen
        counts = following
    return sum(ways for (_, used), ways in counts.items() if used <= edges)


def _inputs(vertex: int, unused: int, *, all_unused: bool) -> Iterator[tuple[int, int]]:
    """The possible numbers of inputs of a vertex among earlier vertices that are already used, and among those that are
    not."""
    for old in range(vertex - unused + 1):
        for new in range(unused if all_unused else 0, unused + 1):
            if old + new:
                yield old, new


@lru_cache(maxsize=1 << 16)
def _edge_choices(vertices: int, edges: int, bits: Genome) -> tuple[int, ...]:
    """The legal next edges (1) or absences (0) after those of a prefix, given the number of vertices."""
    if len(bits) == comb(vertices, 2):
        return ()
    u, v = _PLACES[len(bits)]
    sources = 0
    for place, bit in enumerate(bits):
        if bit:
            sources |= 1 << _PLACES[place][0]
    last_chance = v == vertices - 1 and not sources >> u & 1
    # The vertex just before v is not used yet, so an edge from it costs no more than one from another vertex.
    no_input = u == v - 1 and not any(bits[len(bits) - u :])
    if last_chance or no_input:
        return (1,)
    if not sources >> u & 1:
        return (0, 1)
    # Each unused vertex, and each later one except the output, still needs an edge of its own.
    owed = v - sources.bit_count() + vertices - 1 - v
    return (0, 1) if sum(map(int, bits)) + owed < edges else (0,)
