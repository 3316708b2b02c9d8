"""Search space macro_cnn: mutations, crossover and neighbours."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings

from nasrun.core import Genome, Token
from nasrun.spaces.macro_cnn.space import MacroCNN
from tests.spaces.macro_cnns import everything, seeds, small, space, spaces

# Mutations, crossover and neighbours


def grown(rows: set[tuple[Token, ...]]) -> set[tuple[Token, ...]]:
    return {(*row[:i], layer, *row[i:]) for row in rows for i in range(len(row) + 1) for layer in ("pool", 1, 2)}


def shrunk(rows: set[tuple[Token, ...]]) -> set[tuple[Token, ...]]:
    return {row[:i] + row[i + 1 :] for row in rows for i in range(len(row))}


def children(name: str, parent: Genome, pool: set[Genome]) -> set[Genome]:
    """What a mutation may make of a parent, by its definition, out of all genomes of the space."""
    layers = parent[1:]
    rows: set[tuple[Token, ...]] = set()
    if name == "swap":
        for i, j in combinations(range(len(layers)), 2):
            rows.add((*layers[:i], layers[j], *layers[i + 1 : j], layers[i], *layers[j + 1 :]))
    elif name == "add_layers":
        rows = grown(grown({layers}))
    elif name == "remove_layers":
        rows = shrunk(shrunk({layers}))
    else:
        for i, new in product(range(len(layers)), ("pool", 1, 2)):
            if ("pool" in (layers[i], new)) == (name == "operation"):
                rows.add((*layers[:i], new, *layers[i + 1 :]))
    return ({(len(row), *row) for row in rows} & pool) - {parent}


@pytest.mark.parametrize("name", space().mutations)
@pytest.mark.parametrize("max_pools", [0, 1])
def test_mutations_reach_exactly_their_children(name: str, max_pools: int) -> None:
    tested = small(max_pools=max_pools)
    genomes = everything(tested)
    pool, rng = set(genomes), np.random.default_rng(2)
    for parent in genomes:
        expected = children(name, parent, pool)
        found = Counter(tested.mutations[name](parent, rng) for _ in range(60 * max(1, len(expected))))
        # Some insertions come about in one way among very many.
        for _ in range(30_000 if name == "add_layers" and expected else 0):
            if len(found) == len(expected):
                break
            found[tested.mutations[name](parent, rng)] += 1
        assert set(found) == (expected or {parent})
        if name in ("swap", "channels"):
            assert max(found.values()) < 60 + 5 * 60**0.5 or not expected


@pytest.mark.parametrize("name", space().mutations)
def test_mutations_without_alternative_give_the_parent(name: str) -> None:
    tested = space(depths=[3], channels=[8], max_pools=0)
    assert tested.mutations[name]((3, 8, 8, 8), np.random.default_rng(0)) == (3, 8, 8, 8)


def test_depth_goes_to_the_next_in_order_of_size() -> None:
    tested, rng = space(depths=[9, 5, 7]), np.random.default_rng(3)
    for depth, more, less in ((5, 7, 5), (7, 9, 5), (9, 9, 7)):
        genome: Genome = (depth, *[8] * depth)
        assert tested.mutations["add_layers"](genome, rng)[0] == more
        assert tested.mutations["remove_layers"](genome, rng)[0] == less


def test_crossover_reaches_exactly_its_children() -> None:
    tested, rng = small(depths=[2, 3, 5], max_pools=1), np.random.default_rng(4)
    depths = (2, 3, 5)
    genomes = everything(tested, depths)
    for first, second in [(genomes[i], genomes[j]) for i, j in rng.integers(len(genomes), size=(150, 2))]:
        expected = set()
        for head, tail in product(range(1, first[0] + 1), range(1, second[0] + 1)):
            row = first[1 : 1 + head] + second[len(second) - tail :]
            if len(row) in (first[0], second[0]) and row.count("pool") <= 1:
                expected.add((len(row), *row))
        found = {tested.crossover(first, second, rng) for _ in range(60 * max(1, len(expected)))}
        assert found == (expected or {first})


def test_crossover_of_what_does_not_mix() -> None:
    first: Genome = (2, "pool", 1)
    assert small().crossover(first, (2, 1, "pool"), np.random.default_rng(0)) == first


def test_neighbours_by_hand() -> None:
    tested = small(depths=[2, 4])
    assert tested.neighbours((2, 1, "pool")) == [
        (2, 2, "pool"),
        (2, 1, 1),
        (2, 1, 2),
        (4, 1, 1, 1, "pool"),
    ]
    near = tested.neighbours((4, 1, 2, 2, "pool"))
    assert [genome for genome in near if genome[0] == 2] == [(2, 2, "pool"), (2, 1, "pool"), (2, 1, 2)]
    assert len(near) == 3 + 3 + 2


@settings(max_examples=50, deadline=None)
@given(spaces(), seeds)
def test_neighbours_are_others_of_the_space(tested: MacroCNN, seed: int) -> None:
    genome = tested.sample(np.random.default_rng(seed))
    near = tested.neighbours(genome)
    assert len(near) == len(set(near)) == len(set(near) - {genome})
    for other in near:
        tested.validate(other)
        if other[0] == genome[0]:
            assert sum(a != b for a, b in zip(genome, other, strict=True)) == 1
            assert genome in tested.neighbours(other)
        if other[0] > genome[0]:
            assert genome in tested.neighbours(other)
