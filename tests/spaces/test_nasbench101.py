"""The space of NAS-Bench-101: what is in it, its keys, how it is drawn, varied, written down and encoded."""

import gzip
import json
import pickle
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Genome, Task
from nasrun.spaces.nasbench101.space import NASBench101

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "conf" / "search_space" / "nasbench101.yaml"
TABLE = ROOT.parent / "shared" / "data" / "nasbench101" / "ec_nas_5v_4epochs.json.gz"
OPERATIONS = ["conv3x3", "conv1x1", "maxpool3x3"]
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
EXAMPLE: Genome = (4, "conv3x3", "maxpool3x3", 1, 1, 1, 0, 1, 1)
EXAMPLE_TEXT = "conv3x3(0)-maxpool3x3(0+1)-out(1+2)"

Edges = frozenset[tuple[int, int]]


def space(**changes: Any) -> NASBench101:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return NASBench101(**{**options, **changes})


def walk(tested: NASBench101) -> Iterator[Genome]:
    """Every genome that `choices` lead to."""
    prefixes: list[Genome] = [()]
    while prefixes:
        prefix = prefixes.pop()
        legal = tested.choices(prefix)
        prefixes += [(*prefix, token) for token in legal]
        if not legal:
            yield prefix


# Cells as sets of edges, apart from the code under test


def unpack(genome: Genome) -> tuple[tuple[Any, ...], Edges]:
    """Operations and edges of a genome."""
    count = int(genome[0])
    places = [(u, v) for v in range(1, count) for u in range(v)]
    return genome[1 : count - 1], frozenset(e for e, bit in zip(places, genome[count - 1 :], strict=True) if bit)


def pack(count: int, operations: Any, edges: Edges) -> Genome | None:
    """The genome of a graph, pruned; None where there is no path."""
    ahead, behind = {0}, {count - 1}
    for _ in range(count):
        ahead |= {v for u, v in edges if u in ahead}
        behind |= {u for u, v in edges if v in behind}
    kept = sorted(ahead & behind)
    if not kept:
        return None
    bits = [int((u, v) in edges) for v in kept[1:] for u in kept if u < v]
    return (len(kept), *[operations[v - 1] for v in kept[1:-1]], *bits)


@cache
def everything(vertices: int, edges: int, operations: tuple[str, ...]) -> dict[Genome, int]:
    """Every genome, and how many graphs with unpruned vertices it comes from, found by trying all of them."""
    places = [(u, v) for v in range(vertices) for u in range(v)]
    found: Counter[Genome] = Counter()
    for bits in product((0, 1), repeat=len(places)):
        chosen = frozenset(e for e, bit in zip(places, bits, strict=True) if bit)
        for row in product(operations, repeat=vertices - 2):
            genome = pack(vertices, row, chosen)
            if genome and len(unpack(genome)[1]) <= edges:
                found[genome] += 1
    return found


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
        ({"vertices": 2, "chain": True}, "vertices=2: no room for an operation in a chain; at least 3"),
        ({"edges": 5}, "edges=5: too few to connect 7 vertices; at least 6"),
        (
            {"stem_channels": 4},
            "stem_channels=4: up to 5 vertices share the channels of a cell's output; at least 5",
        ),
    ],
)
def test_options_that_make_no_space(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="=") as caught:
        space(**changes)
    assert str(caught.value) == message


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


# Strings and vectors


def test_format_is_the_string_of_the_docstring() -> None:
    assert space().format(EXAMPLE) == EXAMPLE_TEXT
    assert space().parse(EXAMPLE_TEXT) == EXAMPLE
    assert space(chain=True).format((4, "conv1x1", "conv3x3")) == "conv1x1(0)-conv3x3(1)-out(2)"


NAMES = "one of conv3x3, conv1x1, maxpool3x3, out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"character 1 (vertex 1): expected {NAMES}; got the end"),
        ("relu(0)-out(1)", f"character 1 (vertex 1): expected {NAMES}; got 'relu(0)'"),
        ("out0", f"character 1 (vertex 1): expected {NAMES}; got 'out0'"),
        ("conv1x1(0)-Out(1)", f"character 12 (vertex 2): expected {NAMES}; got 'Out(1)'"),
        ("-".join(["conv1x1(0)"] * 6), "character 56 (vertex 6): expected out; got 'conv1x1(0)'"),
        ("out", "character 4 (vertex 1): expected '('; got the end"),
        ("out(0", "character 6 (vertex 1): expected ')'; got the end"),
        ("out(1)", "character 5 (vertex 1): expected 0; got '1)'"),
        ("out(00)", "character 5 (vertex 1): expected 0; got '00)'"),
        ("out()", "character 5 (vertex 1): expected 0; got ')'"),
        ("conv1x1(0)-out(0 + 1)", "character 16 (vertex 2): expected one of 0, 1; got '0 + 1)'"),
        ("out(0+0)", "character 7 (vertex 1): expected ')', for inputs ascend and come before 1; got '0)'"),
        (
            "conv1x1(0)-conv1x1(1+0)-out(2)",
            "character 22 (vertex 2): expected ')', for inputs ascend and come before 2; got '0)'",
        ),
        ("out(0)\n", "character 7 (vertex 1): expected the end after out; got '\\n'"),
        ("out(0)-", "character 7 (vertex 1): expected the end after out; got '-'"),
        (
            "conv1x1(0)",
            "character 11 (vertex 1): expected '-' and a further vertex, the last one being out; got the end",
        ),
        (
            "conv1x1(0) -out(1)",
            "character 11 (vertex 1): expected '-' and a further vertex, the last one being out; got ' '",
        ),
        (
            "conv1x1(0)-out(0)",
            "character 16 (vertex 2): expected 1 among the inputs, for it leads nowhere else; got '0)'",
        ),
        (
            "conv1x1(0)-conv1x1(0+1)-conv1x1(0+1+2)-conv1x1(0+1+2+3)-out(4)",
            "character 48 (vertex 4): expected fewer inputs, for 9 edges are all that is allowed; got '0+1+2+3)'",
        ),
    ],
)
def test_parse_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space().parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EXAMPLE_TEXT, "character 23 (vertex 2): expected 1; got '0+1)'"),
        ("out(0)", "character 1 (vertex 1): expected one of conv3x3, conv1x1, maxpool3x3; got 'out(0)'"),
    ],
)
def test_parse_refuses_what_is_no_chain(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space(chain=True).parse(text)
    assert str(caught.value) == message


def test_encode_has_26_positions() -> None:
    vector = space().encode(EXAMPLE)
    assert vector.shape == (26,)
    assert vector[:5] == pytest.approx([1 / 6, 5 / 6, 0, 0, 0])
    edges = {(0, 1), (0, 2), (1, 2), (1, 6), (2, 6)}  # the output is the last of seven
    assert vector[5:].tolist() == [0.75 if (u, v) in edges else 0.25 for v in range(1, 7) for u in range(v)]
    assert space(chain=True).encode((4, "conv1x1", "conv3x3")) == pytest.approx([0.3, 1 / 2, 1 / 6, 0, 0, 0])


@pytest.mark.parametrize(
    ("edges", "entries", "text"),
    [
        (4, [0, 0, 0, 0, 0, 0], "out(0)"),
        (4, [0.1, 0.4, 0.2, 0.3, 0.1, 0.4], "conv1x1(0)-out(1)"),  # 0-2 and 2-3 make the first path
        (4, [0.9, 0.1, 0.1, 0.2, 0.1, 0.9], "out(0)"),  # 0-3 makes the first path; 0-1 and 2-3 lead nowhere
        (4, [0.9, 0.6, 0.8, 0.7, 0.65, 0.9], "conv1x1(0)-conv1x1(1)-out(0+2)"),  # 0-2 and 1-3 are too many
        (4, [0.9, 0.6, 0.9, 0.9, 0.9, 0.5], "conv1x1(0)-out(0+1)"),  # without 2-3, vertex 2 leads nowhere
        (4, [1, 1, 1, 1, 1, 1], "conv1x1(0)-out(0+1)"),  # of equals, the last goes first
        (3, [0.5, 0.1, 0.8, 0.1, 0.9, 0.7], "conv1x1(0)-out(1)"),  # 0-1 is the smallest, but the only way
    ],
)
def test_decode_repairs(edges: int, entries: list[float], text: str) -> None:
    """Entries of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    tested = space(vertices=4, edges=edges, operations=["conv1x1"])
    assert tested.format(tested.decode(np.array([0.5, 0.5, *entries]))) == text


def test_decode_refuses_what_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(25,\): expected \(26,\)"):
        space().decode(np.zeros(25))
    with pytest.raises(ValueError, match="NaN"):
        space(chain=True).decode(np.full(6, np.nan))


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
