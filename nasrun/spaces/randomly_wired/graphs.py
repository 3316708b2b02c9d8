"""Random graphs of the classical models, as directed acyclic graphs.

They are drawn here, not by a library, because a genome names a wiring and a seed, and must give the same network with
every version. Nodes are numbered from 0, edges go from the smaller number to the larger.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from math import log
from typing import NamedTuple

import numpy as np

Edge = tuple[int, int]
"""Source and target."""

LEAST_CHANCE = 0.7
"""Minimum chance of an edge, as a share of log(n) / n, the threshold at which random graphs of n nodes become
connected: at this value at least one in 200 is connected."""

_WIRING = re.compile(r"er-(?P<chance>0\.\d+|1\.0)|ba-(?P<joins>\d+)|ws-(?P<near>\d+)-(?P<rewired>0\.\d+|1\.0)")


class Wiring(NamedTuple):
    """The sources of each node, ascending; a node without sources takes the input of the stage."""

    sources: tuple[tuple[int, ...], ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """The nodes that are no other's source: they form the output of the stage."""
        used = {source for sources in self.sources for source in sources}
        return tuple(node for node in range(len(self.sources)) if node not in used)


def check_wiring(name: str, nodes: int) -> None:
    """ValueError, which says what is valid, unless a name is that of a model that has graphs of so many nodes."""
    found = _WIRING.fullmatch(name)
    if found is None:
        raise ValueError("expected er-P, ba-M or ws-K-P, as er-0.2, ba-5 or ws-4-0.75, with P from 0.0 to 1.0")
    least = LEAST_CHANCE * log(nodes) / nodes
    if found["chance"] is not None and float(found["chance"]) < least:
        raise ValueError(f"P is too small for a connected graph of {nodes} nodes; must be >= {least:.2g}")
    if found["joins"] is not None and not 1 <= int(found["joins"]) < nodes:
        raise ValueError(f"M must be from 1 to {nodes - 1}, less than nodes")
    if found["near"] is not None and not (2 <= int(found["near"]) < nodes and int(found["near"]) % 2 == 0):
        raise ValueError(f"K must be even, >= 2 and < nodes={nodes}")


@cache
def wiring(name: str, nodes: int, seed: int) -> Wiring:
    """The first connected graph of a model (`check_wiring`), drawn with a seed."""
    rng = np.random.default_rng((seed, nodes))
    edges = _drawn(name, nodes, rng)
    while not hangs_together(nodes, edges):
        edges = _drawn(name, nodes, rng)
    sources = [tuple(sorted(one for one, other in edges if other == node)) for node in range(nodes)]
    return Wiring(tuple(sources))


def _drawn(name: str, nodes: int, rng: np.random.Generator) -> set[Edge]:
    found = _WIRING.fullmatch(name)
    assert found is not None, name
    if found["chance"] is not None:
        return erdos_renyi(nodes, float(found["chance"]), rng)
    if found["joins"] is not None:
        return barabasi_albert(nodes, int(found["joins"]), rng)
    return watts_strogatz(nodes, int(found["near"]), float(found["rewired"]), rng)


def erdos_renyi(nodes: int, chance: float, rng: np.random.Generator) -> set[Edge]:
    """Each pair of nodes is joined with probability `chance` (Erdos and Renyi 1959; Gilbert 1959)."""
    return {pair for pair in combinations(range(nodes), 2) if rng.random() < chance}


def barabasi_albert(nodes: int, joins: int, rng: np.random.Generator) -> set[Edge]:
    """Starts with `joins` nodes without edges and adds the others one by one, each joined to `joins` of the earlier
    nodes, which are more likely the more edges they have (Albert and Barabasi 2002)."""
    edges = {(source, joins) for source in range(joins)}
    ends = [node for edge in sorted(edges) for node in edge]
    for node in range(joins + 1, nodes):
        chosen: dict[int, None] = {}
        while len(chosen) < joins:
            chosen[ends[int(rng.random() * len(ends))]] = None
        edges |= {(source, node) for source in chosen}
        ends += [*chosen, *[node] * joins]
    return edges


def watts_strogatz(nodes: int, near: int, chance: float, rng: np.random.Generator) -> set[Edge]:
    """A ring in which each node is joined to its `near` nearest; in order, each edge to a later node is moved to
    another node with probability `chance` (Watts and Strogatz 1998). Nodes are numbered along the ring."""
    edges = {_edge(node, (node + step) % nodes) for step in range(1, near // 2 + 1) for node in range(nodes)}
    for step in range(1, near // 2 + 1):
        for node in range(nodes):
            if rng.random() >= chance:
                continue
            free = [other for other in range(nodes) if other != node and _edge(node, other) not in edges]
            if free:
                edges.discard(_edge(node, (node + step) % nodes))
                edges.add(_edge(node, free[int(rng.random() * len(free))]))
    return edges


def hangs_together(nodes: int, edges: set[Edge]) -> bool:
    """Whether the graph is connected."""
    reached, waiting = {0}, [0]
    while waiting:
        for other in _beside(waiting.pop(), edges):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return len(reached) == nodes


def _beside(node: int, edges: set[Edge]) -> Iterator[int]:
    for one, other in edges:
        if node == one:
            yield other
        elif node == other:
            yield one


def _edge(one: int, other: int) -> Edge:
    return (one, other) if one < other else (other, one)
