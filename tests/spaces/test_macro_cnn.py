"""The macro space: what is in it, how it is drawn, varied, written down, priced and built."""

import pickle
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Cost, Genome, Task, Token
from nasrun.spaces.macro_cnn.space import MacroCNN

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "macro_cnn.yaml"
FASHION = Task("fashion", 1, 28, 28, 10)
TASKS = [FASHION, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3), Task("dot", 4, 1, 1, 2, "regression")]
EXAMPLE: Genome = (5, 32, "pool", 64, 64, "pool")
STRING = "c32-pool-c64-c64-pool"


def space(**changes: Any) -> MacroCNN:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return MacroCNN(**{**options, "channels": [8, 16, 32, 64], **changes})


def small(**changes: Any) -> MacroCNN:
    """Few enough genomes to count them all."""
    return space(**{"depths": [2, 4], "channels": [1, 2], "max_pools": 1, **changes})


def everything(tested: MacroCNN, depths: tuple[int, ...] = (2, 4), channels: tuple[int, ...] = (1, 2)) -> list[Genome]:
    """Every genome, found by trying all rows of layers."""
    rows = [row for depth in depths for row in product(("pool", *channels), repeat=depth)]
    return [(len(row), *row) for row in rows if row.count("pool") <= tested.max_pools]


@st.composite
def spaces(draw: st.DrawFn) -> MacroCNN:
    depths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
    return MacroCNN(
        depths=depths,
        channels=draw(st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True)),
        max_pools=draw(st.integers(0, min(depths) - 1)),
        batch_norm=draw(st.booleans()),
        dense=draw(st.integers(1, 50)),
    )


seeds = st.integers(0, 2**32 - 1)


# What is in the space


def test_yaml_is_the_space_of_the_slides() -> None:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    default = MacroCNN(**options)
    assert default.choices(()) == (5, 7, 9)
    assert default.choices((5,)) == ("pool", *options["channels"])
    assert default.flops_limit == 20_000_000
    # 28x28 becomes 14, 7, 4, 2.
    assert default.max_pools == 4


def test_choices_enumerate_exactly_the_space() -> None:
    for max_pools in (0, 1):
        tested = small(max_pools=max_pools)
        found, open_ends = [], [()]
        while open_ends:
            prefix = open_ends.pop()
            legal = tested.choices(prefix)
            open_ends += [(*prefix, token) for token in legal]
            if not legal:
                found.append(prefix)
        expected = everything(tested)
        assert len(found) == len(expected) == tested.size
        assert set(found) == set(expected)
        for genome in expected:
            tested.validate(genome)


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        ([5], "genome of type list: expected a tuple"),
        ((), "token 0 (depth): expected one of 5, 7, 9; got the end"),
        ((6, *EXAMPLE[1:]), "token 0 (depth): expected one of 5, 7, 9; got 6"),
        ((5.0, *EXAMPLE[1:]), "token 0 (depth): expected one of 5, 7, 9; got 5.0"),
        ((5, 33, *EXAMPLE[2:]), "token 1 (layer 1): expected one of pool, 8, 16, 32, 64; got 33"),
        ((5, "32", *EXAMPLE[2:]), "token 1 (layer 1): expected one of pool, 8, 16, 32, 64; got '32'"),
        ((5, *["pool"] * 5), "token 5 (layer 5): expected one of 8, 16, 32, 64; got 'pool'"),
        (EXAMPLE[:5], "token 5 (layer 5): expected one of pool, 8, 16, 32, 64; got the end"),
        ((*EXAMPLE, 8), "token 6 (layer 6): expected the end; got 8"),
    ],
)
def test_validate_names_what_is_wrong(genome: Any, message: str) -> None:
    space().validate(EXAMPLE)
    with pytest.raises(ValueError, match="expected") as caught:
        space().validate(genome)
    assert str(caught.value) == message


def test_every_network_needs_a_convolution() -> None:
    with pytest.raises(ValueError, match=r"^max_pools=5: must be below 5, the fewest layers of depths$"):
        space(max_pools=5)
    assert space(max_pools=4).size is not None


# Drawing


def test_sample_is_uniform_given_the_depth() -> None:
    tested, rng = small(depths=[3, 4], max_pools=2), np.random.default_rng(0)
    draws = 40_000
    counts = Counter(tested.sample(rng) for _ in range(draws))
    for depth in (3, 4):
        genomes = everything(tested, (depth,))
        chance = 0.5 / len(genomes)
        for genome in genomes:
            assert abs(counts.pop(genome, 0) - draws * chance) < 5 * (draws * chance) ** 0.5
    assert not counts


def test_sample_of_very_deep_networks() -> None:
    tested = space(depths=[1500])  # more genomes than a float can hold
    genome = tested.sample(np.random.default_rng(0))
    tested.validate(genome)
    assert tested.parse(tested.format(genome)) == genome


def test_some_networks_are_within_the_bound() -> None:
    tested, rng = space(), np.random.default_rng(1)
    within = [tested.cost(tested.sample(rng), FASHION).flops <= tested.flops_limit for _ in range(1000)]
    assert 200 < sum(within) < 900


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


def test_space_can_be_pickled() -> None:
    tested = pickle.loads(pickle.dumps(space()))
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    for name, mutate in space().mutations.items():
        assert mutate(EXAMPLE, first) == tested.mutations[name](EXAMPLE, second)


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


# Strings and vectors


def test_format_is_the_string_of_the_docstring() -> None:
    assert space().format(EXAMPLE) == STRING
    assert space().parse(STRING) == EXAMPLE


KNOWN = "expected one of pool, c8, c16, c32, c64"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"character 1 (layer 1): {KNOWN}; got the end"),
        ("32", f"character 1 (layer 1): {KNOWN}; got '32'"),
        ("c33", f"character 1 (layer 1): {KNOWN}; got 'c33'"),
        ("c32-pull", f"character 5 (layer 2): {KNOWN}; got 'pull'"),
        ("c32-", f"character 5 (layer 2): {KNOWN}; got the end"),
        ("c32--c32", f"character 5 (layer 2): {KNOWN}; got '-'"),
        ("c032", f"character 1 (layer 1): {KNOWN}; got 'c032'"),
        (STRING + "\n", f"character 18 (layer 5): {KNOWN}; got 'pool\\n'"),
        (
            "pool-pool-pool-pool-pool",
            "character 21 (layer 5): expected a convolution, for there are 4 poolings (max_pools) already; got 'pool'",
        ),
        (
            "c8-c8-c8",
            "character 9 (layer 3): expected '-' and a further layer, there may be 5, 7, 9 layers (depths); "
            "got the end",
        ),
        (
            STRING + "-c8",
            "character 25 (layer 6): expected '-' and a further layer, there may be 5, 7, 9 layers (depths); "
            "got the end",
        ),
        ("-".join(["c8"] * 10), "character 27 (layer 10): expected the end after 9 layers (depths); got '-'"),
    ],
)
def test_parse_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space().parse(text)
    assert str(caught.value) == message


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["c1", "c2", "pool", "c", "x", "", "1"]), max_size=6).map("-".join) | st.text())
def test_any_text_is_refused_or_written_back(text: str) -> None:
    tested = small()
    try:
        genome = tested.parse(text)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
        tested.validate(genome)
        assert tested.format(genome) == text
    assert not refusal or refusal.startswith("character ")


def test_encode_is_the_middle_of_each_share() -> None:
    vector = space().encode(EXAMPLE)
    assert vector.shape == (10,)
    assert vector.tolist() == pytest.approx([1 / 6, 0.7, 0.1, 0.9, 0.9, 0.1, 0, 0, 0, 0])


def test_decode_keeps_the_lowest_poolings() -> None:
    tested = space()
    assert tested.decode(np.array([0, 0.15, 0.1, 0.1, 0.05, 0.19, 1, 1, 1, 1])) == (
        5,
        "pool",
        "pool",
        "pool",
        "pool",
        8,
    )
    assert tested.decode(np.zeros(10)) == (5, "pool", "pool", "pool", "pool", 8)
    assert tested.decode(np.ones(10)) == (9, *[64] * 9)
    assert tested.decode(np.array([0.5, -1, 2, *[0.5] * 7])) == (7, "pool", 64, *[16] * 5)
    assert space(max_pools=0).decode(np.zeros(10)) == (5, *[8] * 5)


def test_decode_refuses_what_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(9,\): expected \(10,\)"):
        space().decode(np.zeros(9))
    with pytest.raises(ValueError, match="NaN"):
        space().decode(np.full(10, np.nan))


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_any_vector_decodes(tested: MacroCNN, data: st.DataObject) -> None:
    size = len(tested.encode(tested.sample(np.random.default_rng(0))))
    genome = tested.decode(np.array(data.draw(st.lists(st.floats(-2, 3), min_size=size, max_size=size))))
    tested.validate(genome)
    assert tested.decode(tested.encode(genome)) == genome


@settings(max_examples=100, deadline=None)
@given(spaces(), seeds)
def test_any_genome_goes_round_and_varies_within_the_space(tested: MacroCNN, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genome, other = tested.sample(rng), tested.sample(rng)
    for one in (genome, other):
        tested.validate(one)
        assert tested.parse(tested.format(one)) == one
        assert tested.decode(tested.encode(one)) == one
    for mutate in tested.mutations.values():
        tested.validate(mutate(genome, rng))
    tested.validate(tested.crossover(genome, other, rng))


# Price and build


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_cost_is_what_torch_counts(task: Task, batch_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # There are no weights to draw on the meta device, but going through the motions is half of the time.
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    tested, rng = space(batch_norm=batch_norm, dense=48), np.random.default_rng(5)
    counter, before = FlopCounterMode(display=False), 0
    with torch.device("meta"), torch.inference_mode(), counter:
        image = torch.empty(1, task.channels, task.height, task.width)
        for _ in range(20 if batch_norm else 60):  # batch normalisation takes most of the time
            genome = tested.sample(rng)
            model = tested.build(genome, task).eval()
            assert model(image).shape == (1, task.outputs)
            total = counter.get_total_flops()
            parameters = sum(weight.numel() for weight in model.parameters())
            assert tested.cost(genome, task) == Cost(parameters, total - before), tested.format(genome)
            before = total


def test_cost_by_hand() -> None:
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4
    tested = space(depths=[4], max_pools=2)
    genome = tested.parse("c8-pool-c16-pool")
    convolutions, dense = (9 * 8, 9 * 8 * 16), (16 * 64, 64 * 10)
    assert tested.cost(genome, task).parameters == sum(convolutions) + 2 * (8 + 16) + sum(dense) + 64 + 10
    assert tested.cost(genome, task).flops == 2 * (convolutions[0] * 35 + convolutions[1] * 12 + sum(dense))
    without = space(depths=[4], max_pools=2, batch_norm=False).cost(genome, task)
    assert without.parameters == tested.cost(genome, task).parameters - 8 - 16
    assert without.flops == tested.cost(genome, task).flops


@pytest.mark.parametrize("batch_norm", [True, False])
def test_build_is_what_the_genome_says(batch_norm: bool) -> None:
    import torch
    from torch import nn

    tested = space(batch_norm=batch_norm)
    model: Any = tested.build(tested.parse("pool-c32-c8-pool-c16"), Task("colour", 3, 9, 5, 7))
    names = ["maxpool1", "layer1", "layer2", "maxpool4", "layer3", "pool", "flatten", "dense", "activation", "output"]
    assert [name for name, _ in model.named_children()] == names
    channels = 3
    for name, width in (("layer1", 32), ("layer2", 8), ("layer3", 16)):
        layer = list(model.get_submodule(name))
        assert [type(part) for part in layer] == [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, nn.ReLU]
        convolution = layer[0]
        assert (convolution.in_channels, convolution.out_channels) == (channels, width)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        assert (convolution.bias is None) == batch_norm
        channels = width
    assert (model.dense.in_features, model.dense.out_features, model.output.out_features) == (16, 64, 7)
    image = torch.arange(2 * 3 * 9 * 5, dtype=torch.float32).view(2, 3, 9, 5)
    pooled = model.maxpool1(image)
    assert pooled.shape == (2, 3, 5, 3)
    assert pooled[0, 0].tolist() == [[6, 8, 9], [16, 18, 19], [26, 28, 29], [36, 38, 39], [41, 43, 44]]


def test_initial_weights_follow_the_seed() -> None:
    import torch

    states = []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            states.append(space().build(EXAMPLE, FASHION).state_dict())
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states[1:]]
    assert same == [True, False]
