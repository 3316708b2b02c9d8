"""The space of NAS-Bench-101: what is in it, its keys, how it is drawn, varied, written down and encoded."""

import gzip
import json
import pickle
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nasrun.core import Genome, Task
from nasrun.spaces.nasbench101.space import NASBench101
from tests.spaces.nasbench101_cells import EXAMPLE, OPERATIONS, ROOT, everything, pack, space, unpack, walk

TABLE = ROOT.parent / "shared" / "data" / "nasbench101" / "ec_nas_5v_4epochs.json.gz"
CIFAR = Task("cifar10", 3, 32, 32, 10)


# Cells with the hash and the trainable parameters that NAS-Bench-101 gives them.
KNOWN = [
    ("out(0)", "043721b9c7fe8c5fad811d47d83132ec", 882_570),
    ("conv1x1(0)-out(0+1)", "09fc2d10bdd6225e167a6f81a22a3f06", 2_793_866),
    ("maxpool3x3(0)-out(0+1)", "6f6257bc3b12d87b8736e81cd4b7ed8b", 1_756_298),
    ("conv1x1(0)-out(1)", "d1269d9156ddc027c40473008192958a", 1_920_138),
    ("maxpool3x3(0)-maxpool3x3(1)-out(0+2)", "0ee493fe7bb618a0ae642840558f62a0", 1_756_298),
    ("conv1x1(0)-maxpool3x3(0)-out(0+1+2)", "2bd05a35a814d8771bc0a0593bfd1800", 2_017_034),
    ("conv3x3(0)-maxpool3x3(0+1)-out(1+2)", "5498ba534c256c9d086596e2b51cf170", 3_207_690),
    ("maxpool3x3(0)-conv3x3(1)-out(0+2)", "70cec3d45475d0428b47a6143a0c9370", 11_051_402),
    ("conv1x1(0)-maxpool3x3(0+1)-out(0+2)", "97d0e4e2c6056628b5ccdaf94c0c77c6", 3_667_594),
    ("maxpool3x3(0)-maxpool3x3(0+1)-out(1+2)", "e09c915a4a4798c2bb9bc2d2222887de", 882_570),
    ("maxpool3x3(0)-maxpool3x3(0+1)-conv3x3(0+2)-out(0+2+3)", "012cd65cf70a67e4a760a308ce890236", 4_518_282),
    ("conv3x3(0)-maxpool3x3(1)-conv1x1(1+2)-out(3)", "192cb2babc0da087aff9245b6ab10649", 11_215_242),
    ("conv3x3(0)-conv1x1(1)-conv3x3(0+2)-out(0+3)", "3376541da921d226548290ba1e4f9819", 22_257_802),
    ("conv1x1(0)-maxpool3x3(0+1)-conv1x1(1)-out(0+2+3)", "4d1d0d2b2f3e32675f01f33ca4986c74", 2_277_770),
    ("conv3x3(0)-conv1x1(0)-conv1x1(0+1+2)-out(1+2+3)", "6634a6ce83c228948107a9f5731bb58b", 2_155_680),
    ("conv1x1(0)-conv3x3(1)-conv3x3(2)-out(1+3)", "7d30e6863666e6892a614d3d2d5e974b", 5_356_682),
    ("conv3x3(0)-conv1x1(1)-maxpool3x3(2)-out(1+2+3)", "951ba807ad571d4f62b0d262bd6e37e6", 1_458_735),
    ("conv1x1(0)-conv1x1(1)-conv1x1(0+1+2)-out(1+2+3)", "ae618123eb4069a717e5c562344421fa", 940_430),
    ("conv1x1(0)-maxpool3x3(0+1)-conv1x1(0)-out(0+1+2+3)", "c4bf66d1a0b0bae871e3067e91c94df4", 1_989_005),
    ("conv1x1(0)-conv3x3(1)-conv3x3(2)-out(0+1+2+3)", "deecf0e9eb36e2def93e734c932e56b4", 3_353_144),
    ("conv1x1(0)-conv3x3(0+1)-conv3x3(0+2)-out(0+3)", "f5d9849d3c37a810ac43b8a42aa5d19f", 23_131_530),
]


def renumbered(genome: Genome, order: tuple[int, ...]) -> Genome | None:
    """The genome with vertex v of the inner ones called order[v - 1], or None where an edge would lead back."""
    operations, edges = unpack(genome)
    name = (0, *order, int(genome[0]) - 1)
    moved = frozenset((name[u], name[v]) for u, v in edges)
    if any(u >= v for u, v in moved):
        return None
    placed = dict(zip(order, operations, strict=True))
    return pack(int(genome[0]), [placed[v] for v in sorted(order)], moved)


def isomorphic(genome: Genome) -> set[Genome]:
    """All ways to number the same cell."""
    orders = permutations(range(1, int(genome[0]) - 1))
    return {other for order in orders if (other := renumbered(genome, order))}


@st.composite
def spaces(draw: st.DrawFn) -> NASBench101:
    vertices = draw(st.integers(2, 7))
    chain = draw(st.booleans()) and vertices > 2
    edges = draw(st.integers(vertices - 1, 21))
    operations = draw(st.lists(st.sampled_from(OPERATIONS), min_size=1, unique=True))
    return space(vertices=vertices, edges=edges, operations=operations, chain=chain)


seeds = st.integers(0, 2**32 - 1)


# What is in the space


def test_yaml_is_the_benchmark() -> None:
    tested = space()
    assert tested.choices(()) == (2, 3, 4, 5, 6, 7)
    assert tested.choices((4,)) == tested.choices((4, "conv1x1")) == tuple(OPERATIONS)
    assert list(tested.mutations) == ["add_node", "add_connection", "operation", "edge"]
    assert tested.size == 1 + 6 + 90 + 3_267 + 125_145 + 1_164_699
    assert tested.flops_limit is None


@pytest.mark.parametrize(("text", "key", "parameters"), KNOWN)
def test_known_cells(text: str, key: str, parameters: int) -> None:
    tested = space()
    genome = tested.parse(text)
    tested.validate(genome)
    assert tested.key(genome) == key
    assert tested.cost(genome, CIFAR).parameters == parameters
    assert tested.format(genome) == text


def test_all_cells_of_up_to_5_vertices_have_the_hash_and_parameters_of_the_benchmark() -> None:
    if not TABLE.is_file():
        pytest.skip(f"no {TABLE.name}")
    cells = json.loads(gzip.decompress(TABLE.read_bytes()))["cells"]
    tested, right = space(), 0
    for cell in cells:
        rows, operations = cell["adjacency"], [name.split("-")[0] for name in cell["ops"]]
        edges = frozenset((u, v) for u, row in enumerate(rows) for v, bit in enumerate(row) if bit == "1")
        genome = pack(len(rows), operations[1:-1], edges)
        assert genome is not None
        tested.validate(genome)
        cost = tested.cost(genome, CIFAR)
        right += (tested.key(genome), cost.parameters) == (cell["hash"], cell["params"])
    assert right == len(cells) == 2532
    assert {cell["hash"] for cell in cells} == {tested.key(genome) for genome in walk(space(vertices=5))}


@pytest.mark.parametrize("edges", [4, 5, 6, 9, 10])
def test_choices_enumerate_exactly_the_space(edges: int) -> None:
    tested = space(vertices=5, edges=edges, operations=["conv1x1", "maxpool3x3"])
    found = list(walk(tested))
    assert len(found) == len(set(found)) == tested.size
    assert set(found) == set(everything(5, edges, ("conv1x1", "maxpool3x3")))


@pytest.mark.parametrize(("vertices", "cells"), [(2, 1), (3, 7), (4, 91), (5, 2_532)])
def test_keys_are_equal_just_where_cells_are_isomorphic(vertices: int, cells: int) -> None:
    tested = space(vertices=vertices)
    keys: dict[str, Genome] = {}
    for genome in walk(tested):
        same = min(isomorphic(genome))
        assert keys.setdefault(tested.key(genome), same) == same
    assert len(keys) == len(set(keys.values())) == cells


@pytest.mark.slow
def test_cells_of_up_to_6_vertices_are_as_many_as_in_the_benchmark() -> None:
    tested = space(vertices=6)
    assert len({tested.key(genome) for genome in walk(tested)}) == 64_542


def test_chains_are_the_plain_cells() -> None:
    chains, cells = space(chain=True), space()
    genomes = list(walk(chains))
    assert len(genomes) == len(set(genomes)) == chains.size == 3 + 9 + 27 + 81 + 243 == 363
    assert len({chains.key(genome) for genome in genomes}) == 363
    assert chains.choices(()) == (3, 4, 5, 6, 7)
    for genome in genomes[::7]:
        text = chains.format(genome)
        same = cells.parse(text)
        assert unpack(same) == (genome[1:], {(v, v + 1) for v in range(len(genome))})
        assert chains.key(genome) == cells.key(same)
        assert chains.cost(genome, CIFAR) == cells.cost(same, CIFAR)


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        ([2, 1], "genome of type list: expected a tuple"),
        ((), "token 0 (vertices): expected one of 2, 3, 4, 5, 6, 7; got the end"),
        ((8,), "token 0 (vertices): expected one of 2, 3, 4, 5, 6, 7; got 8"),
        (
            (3, "relu", 1, 0, 1),
            "token 1 (operation of vertex 1): expected one of conv3x3, conv1x1, maxpool3x3; got 'relu'",
        ),
        ((*EXAMPLE[:3], True, *EXAMPLE[4:]), "token 3 (edge 0-1): expected 1; got True"),
        ((*EXAMPLE[:8], 0), "token 8 (edge 2-3): expected 1; got 0"),
        (EXAMPLE[:5], "token 5 (edge 1-2): expected one of 0, 1; got the end"),
        ((*EXAMPLE, 1), "token 9: expected the end; got 1"),
    ],
)
def test_validate_names_what_is_wrong(genome: Any, message: str) -> None:
    space().validate(EXAMPLE)
    with pytest.raises(ValueError, match="expected") as caught:
        space().validate(genome)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices": 2, "chain": True}, "vertices=2: no room for an operation in a chain; must be >= 3"),
        ({"edges": 5}, "edges=5: too few to connect 7 vertices; must be >= 6"),
        (
            {"stem_channels": 4},
            "stem_channels=4: up to 5 vertices share the channels of a cell's output; must be >= 5",
        ),
    ],
)
def test_options_that_make_no_space(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="=") as caught:
        space(**changes)
    assert str(caught.value) == message


# Any options, any genome


@settings(max_examples=100, deadline=None)
@given(spaces(), seeds)
def test_any_walk_goes_round_and_varies_within_the_space(tested: NASBench101, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genome: Genome = ()
    while legal := tested.choices(genome):
        genome = (*genome, legal[int(rng.integers(len(legal)))])
    other = tested.sample(rng)
    for one in (genome, other):
        tested.validate(one)
        assert tested.parse(tested.format(one)) == one
        assert tested.decode(tested.encode(one)) == one
        for mutate in tested.mutations.values():
            tested.validate(mutate(one, rng))
        neighbours = tested.neighbours(one)
        for neighbour in neighbours:
            tested.validate(neighbour)
        assert len({*neighbours, one}) == len(neighbours) + 1
        assert tested.crossover(one, one, rng) == one
    tested.validate(tested.crossover(genome, other, rng))


@settings(max_examples=100, deadline=None)
@given(seeds, st.permutations(range(1, 6)))
def test_key_stays_when_vertices_are_renumbered(seed: int, order: list[int]) -> None:
    tested, rng = space(), np.random.default_rng(seed)
    genome: Genome = ()
    while legal := tested.choices(genome):
        genome = (*genome, legal[int(rng.integers(len(legal)))])
    # The nearest order to the one wanted in which no edge leads back.
    inner = range(1, int(genome[0]) - 1)
    edges, placed, rank = unpack(genome)[1], [], {}
    while len(placed) < len(inner):
        free = [v for v in inner if v not in placed and all(u in (0, *placed) for u, w in edges if w == v)]
        placed.append(min(free, key=lambda v: order[v - 1]))
        rank[placed[-1]] = len(placed)
    same = renumbered(genome, tuple(rank[v] for v in inner))
    assert same is not None
    tested.validate(same)
    assert tested.key(same) == tested.key(genome)


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_any_vector_decodes(tested: NASBench101, data: st.DataObject) -> None:
    width = len(tested.encode(tested.sample(np.random.default_rng(0))))
    vector = np.array(data.draw(st.lists(st.floats(-1, 2), min_size=width, max_size=width)))
    genome = tested.decode(vector)
    tested.validate(genome)
    assert tested.decode(tested.encode(genome)) == genome


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_vectors_that_are_cells_are_just_pruned(seed: int) -> None:
    tested, entries = space(), np.random.default_rng(seed).random(26)
    places = [(u, v) for v in range(7) for u in range(v)]
    edges = frozenset(place for place, entry in zip(places, entries[5:], strict=True) if entry >= 0.5)
    pruned = pack(7, [OPERATIONS[int(3 * entry)] for entry in entries[:5]], edges)
    assume(pruned is not None and len(unpack(pruned)[1]) <= 9)
    assert tested.decode(entries) == pruned


def test_space_can_be_pickled() -> None:
    for tested in (space(), space(chain=True)):
        same = pickle.loads(pickle.dumps(tested))
        first, second = np.random.default_rng(0), np.random.default_rng(0)
        genome = tested.sample(first)
        assert same.sample(second) == genome
        for name, mutate in tested.mutations.items():
            assert mutate(genome, first) == same.mutations[name](genome, second)
