"""Search space nasbench101: what is drawn, mutations, neighbours and crossover."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from nasrun.core import Genome
from tests.spaces.nasbench101_cells import OPERATIONS, everything, pack, space, unpack, walk

# Drawing


@pytest.mark.parametrize("edges", [3, 4, 6])
def test_sample_is_uniform_over_wirings_before_pruning(edges: int) -> None:
    tested, rng = space(vertices=4, edges=edges, operations=["conv1x1", "conv3x3"]), np.random.default_rng(0)
    weights = everything(4, edges, ("conv1x1", "conv3x3"))
    draws, total = 30_000, sum(weights.values())
    counts = Counter(tested.sample(rng) for _ in range(draws))
    for genome, weight in weights.items():
        expected = draws * weight / total
        assert abs(counts.pop(genome, 0) - expected) < 5 * expected**0.5
    assert not counts


def test_chains_are_drawn_uniformly() -> None:
    tested, rng = space(chain=True, vertices=5), np.random.default_rng(0)
    counts = Counter(tested.sample(rng) for _ in range(39 * 400))
    assert set(counts) == set(walk(tested))
    assert max(abs(count - 400) for count in counts.values()) < 5 * 20


# Mutations, neighbours and crossover


def children(name: str, parent: Genome, pool: dict[Genome, int]) -> set[Genome]:
    """What a mutation may make of a parent, by its definition, out of all genomes of the space."""
    count, (operations, edges) = int(parent[0]), unpack(parent)
    places = [(u, v) for v in range(count) for u in range(v)]
    if name == "add_connection":
        return {g for e in places if e not in edges and (g := pack(count, operations, edges | {e})) in pool}
    if name == "edge":
        return {g for e in places if (g := pack(count, operations, edges ^ {e})) in pool}
    found = set()
    for other in pool:
        theirs, wiring = unpack(other)
        same = [a == b for a, b in zip(operations, theirs, strict=False)]
        if name == "operation" and other[0] == count and wiring == edges and same.count(False) == 1:
            found.add(other)
        if name == "add_node" and other[0] == count + 1:
            for added in range(1, count):
                sources, targets = ([e[i] for e in wiring if e[1 - i] == added] for i in (0, 1))
                if len(sources) == len(targets) == 1:
                    rest = frozenset((u - (u > added), v - (v > added)) for u, v in wiring if added not in (u, v))
                    around = (sources[0], targets[0] - 1)
                    if theirs[: added - 1] + theirs[added:] == operations and edges in (rest, rest | {around}):
                        found.add(other)
    return found - {parent}


@pytest.mark.parametrize("name", space().mutations)
@pytest.mark.parametrize(("vertices", "edges", "names"), [(4, 6, OPERATIONS), (4, 4, OPERATIONS), (5, 6, ["conv1x1"])])
def test_mutations_reach_exactly_their_children(name: str, vertices: int, edges: int, names: list[str]) -> None:
    tested, rng = space(vertices=vertices, edges=edges, operations=names), np.random.default_rng(2)
    pool = everything(vertices, edges, tuple(names))
    for parent in list(pool)[:: 1 + len(pool) // 60]:
        expected = children(name, parent, pool)
        found = Counter(tested.mutations[name](parent, rng) for _ in range(60 * max(1, len(expected))))
        assert set(found) <= (expected or {parent})
        # Numbers for the new vertex, and what is left after pruning, make some children more likely than others.
        if name in ("add_connection", "operation"):
            assert set(found) == (expected or {parent})
            assert max(found.values()) < 60 + 5 * 60**0.5 or not expected


@pytest.mark.parametrize("name", ["add_node", "edge"])
def test_mutations_reach_all_their_children(name: str) -> None:
    tested, rng = space(vertices=5, operations=["conv1x1", "conv3x3"]), np.random.default_rng(2)
    parent = tested.parse("conv1x1(0)-conv3x3(0+1)-out(1+2)")
    expected = children(name, parent, everything(5, 9, ("conv1x1", "conv3x3")))
    assert {tested.mutations[name](parent, rng) for _ in range(100 * len(expected))} == expected


@pytest.mark.parametrize("name", space().mutations)
def test_mutations_without_alternative_give_the_parent(name: str) -> None:
    assert space(vertices=2).mutations[name]((2, 1), np.random.default_rng(0)) == (2, 1)


def test_mutations_and_neighbours_of_chains() -> None:
    tested, rng = space(chain=True, vertices=5), np.random.default_rng(0)
    for parent in walk(tested):
        chain = parent[1:]
        longer = {(*chain[:i], o, *chain[i:]) for i in range(len(chain) + 1) for o in OPERATIONS if len(chain) < 3}
        shorter = {chain[:i] + chain[i + 1 :] for i in range(len(chain)) if len(chain) > 1}
        other = {(*chain[:i], o, *chain[i + 1 :]) for i in range(len(chain)) for o in OPERATIONS} - {chain}
        every = {"add_node": longer, "remove_node": shorter, "operation": other}
        assert set(tested.mutations) == set(every)
        for name, expected in every.items():
            genomes = {(len(row) + 2, *row) for row in expected}
            assert {tested.mutations[name](parent, rng) for _ in range(200)} == (genomes or {parent})
        neighbours = tested.neighbours(parent)
        assert len(neighbours) == len(longer) + len(shorter) + len(other)
        assert {genome[1:] for genome in neighbours} == longer | shorter | other


@pytest.mark.parametrize(("edges", "names"), [(10, ["conv1x1"]), (6, ["conv1x1", "conv3x3"])])
def test_neighbours_are_all_children(edges: int, names: list[str]) -> None:
    tested, pool = space(vertices=5, edges=edges, operations=names), everything(5, edges, tuple(names))
    for parent in list(pool)[::19]:
        neighbours = tested.neighbours(parent)
        added = children("add_node", parent, pool)
        changed = children("operation", parent, pool) | children("edge", parent, pool)
        assert len(set(neighbours)) == len(neighbours)
        assert changed <= set(neighbours) <= changed | added
        assert {tested.key(genome) for genome in neighbours} == {tested.key(genome) for genome in changed | added}


def test_crossover_takes_operations_and_edges_from_either_parent() -> None:
    tested, rng = space(), np.random.default_rng(0)
    first = tested.parse("conv3x3(0)-conv3x3(0+1)-conv3x3(1+2)-out(2+3)")
    second = tested.parse("conv1x1(0)-conv1x1(0+1)-conv1x1(1+2)-out(1+3)")
    rows = {tested.crossover(first, second, rng) for _ in range(600)}
    wirings = [{(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4)} | also for also in [{(2, 4)}, {(1, 4)}, set()]]
    wirings.append(wirings[0] | wirings[1])
    expected = {pack(5, row, frozenset(edges)) for row in product(OPERATIONS[:2], repeat=3) for edges in wirings}
    assert rows == expected
    chains = space(chain=True)
    made = {chains.crossover((3, "conv1x1"), (5, *["conv3x3"] * 3), rng) for _ in range(100)}
    assert made == {(3, "conv1x1"), (3, "conv3x3"), (5, "conv1x1", "conv3x3", "conv3x3"), (5, *["conv3x3"] * 3)}
