"""The space of sequential networks: what is in it, how it is drawn, varied, written down, priced and built."""

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.sequential_cnn.space import SequentialCNN

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "sequential_cnn.yaml"
ACTIVATIONS = ["relu", "sigmoid", "tanh", "swish", "gelu"]
FASHION = Task("fashion", 1, 28, 28, 10)
TASKS = [FASHION, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3), Task("values", 4, 9, 16, 2, "regression")]
EXAMPLE: Genome = (3, "N", 32, 3, "relu", "R", 64, 3, "gelu", "R", 64, 1, "tanh")


def space(**changes: Any) -> SequentialCNN:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return SequentialCNN(**{**options, **changes})


def small(**changes: Any) -> SequentialCNN:
    """Few enough genomes to count them all."""
    options = {"min_depth": 2, "max_depth": 4, "filters": [8, 16], "kernels": [3], "activations": ["relu"]}
    return space(**{**options, **changes})


def layers(genome: Genome) -> list[Genome]:
    return [genome[i : i + 4] for i in range(1, len(genome), 4)]


def join(parts: list[Genome]) -> Genome:
    return (len(parts), *(token for part in parts for token in part))


def everything(
    depths: range, filters: list[int], kernels: Sequence[int] = (3,), names: Sequence[str] = ("relu",)
) -> list[Genome]:
    """Every genome, found by trying all rows of layers."""
    alphabet = list(product("NR", filters, kernels, names))
    rows = (list(row) for depth in depths for row in product(alphabet, repeat=depth))
    return [join(row) for row in rows if sum(part[0] == "R" for part in row) == 2]


@st.composite
def spaces(draw: st.DrawFn) -> SequentialCNN:
    low = draw(st.integers(2, 6))
    return SequentialCNN(
        min_depth=low,
        max_depth=draw(st.integers(low, low + 4)),
        filters=draw(st.lists(st.integers(1, 511), min_size=1, max_size=6, unique=True)),
        kernels=draw(st.lists(st.sampled_from([1, 3, 5]), min_size=1, unique=True)),
        activations=draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=1, unique=True)),
        batch_norm=draw(st.booleans()),
        dense=draw(st.integers(1, 100)),
    )


seeds = st.integers(0, 2**32 - 1)


# What is in the space


def test_yaml_is_the_space_of_the_report() -> None:
    default = space()
    assert (default.min_depth, default.max_depth, default.batch_norm, default.dense) == (3, 6, True, 64)
    assert default.choices(()) == (3, 4, 5, 6)
    assert default.choices((3, "N")) == (8, 16, 32, 48, 64)
    assert default.choices((3, "N", 8)) == (1, 3, 5)
    assert default.choices((3, "N", 8, 1)) == tuple(ACTIVATIONS)
    assert default.size == 3 * 75**3 + 6 * 75**4 + 10 * 75**5 + 15 * 75**6


def test_choices_enumerate_exactly_the_space() -> None:
    tested = small()
    found, open_ends = [], [()]
    while open_ends:
        prefix = open_ends.pop()
        legal = tested.choices(prefix)
        open_ends += [(*prefix, token) for token in legal]
        if not legal:
            found.append(prefix)
    expected = everything(range(2, 5), [8, 16])
    assert len(found) == len(expected) == tested.size
    assert set(found) == set(expected)
    for genome in expected:
        tested.validate(genome)


@pytest.mark.parametrize(
    ("prefix", "kinds"),
    [
        ((4,), ("N", "R")),
        ((2,), ("R",)),
        ((3, "N", 8, 3, "relu"), ("R",)),
        ((3, "R", 8, 3, "relu"), ("N", "R")),
        ((4, "R", 8, 3, "relu", "R", 8, 3, "relu"), ("N",)),
        ((4, "N", 8, 3, "relu", "R", 8, 3, "relu", "N", 8, 3, "relu"), ("R",)),
    ],
)
def test_kinds_leave_room_for_two_reductions(prefix: Genome, kinds: tuple[str, ...]) -> None:
    assert small().choices(prefix) == kinds


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        ([3], "genome of type list: expected a tuple"),
        ((), "token 0 (depth): expected one of 3, 4, 5, 6; got the end"),
        ((7, *EXAMPLE[1:]), "token 0 (depth): expected one of 3, 4, 5, 6; got 7"),
        ((3.0, *EXAMPLE[1:]), "token 0 (depth): expected one of 3, 4, 5, 6; got 3.0"),
        (
            (*EXAMPLE[:2], 33, *EXAMPLE[3:]),
            "token 2 (filters of layer 1): expected one of 8, 16, 32, 48, 64; got 33",
        ),
        ((*EXAMPLE[:11], True, *EXAMPLE[12:]), "token 11 (kernel of layer 3): expected one of 1, 3, 5; got True"),
        ((*EXAMPLE[:9], "N", *EXAMPLE[10:]), "token 9 (kind of layer 3): expected R; got 'N'"),
        ((*EXAMPLE[:1], "R", *EXAMPLE[2:]), "token 9 (kind of layer 3): expected N; got 'R'"),
        (
            EXAMPLE[:-1],
            "token 12 (activation of layer 3): expected one of relu, sigmoid, tanh, swish, gelu; got the end",
        ),
        ((*EXAMPLE, "N"), "token 13 (kind of layer 4): expected the end; got 'N'"),
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
        ({"min_depth": 7}, "min_depth=7: larger than max_depth=6"),
        ({"min_depth": 1}, "min_depth=1: must be at least 2"),
        ({"max_depth": 1}, "max_depth=1: must be at least 2"),
        ({"max_depth": 4.5}, "max_depth=4.5: expected a whole number"),
        ({"filters": []}, "filters=[]: must not be empty"),
        ({"filters": [8, 8]}, "filters=[8,8]: must not hold the same entry twice"),
        ({"filters": [8, 512]}, "filters=[8,512]: must be from 1 to 511"),
        ({"filters": [0]}, "filters=[0]: must be from 1 to 511"),
        ({"kernels": [2]}, "kernels=[2]: unknown; known: 1, 3, 5"),
        ({"kernels": []}, "kernels=[]: must not be empty"),
        ({"activations": ["rellu"]}, "activations=[rellu]: unknown; did you mean 'relu'?"),
        ({"batch_norm": 1}, "batch_norm=1: expected true or false"),
        ({"dense": 0}, "dense=0: must be at least 1"),
    ],
)
def test_options_that_make_no_space(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="=") as caught:
        space(**changes)
    assert str(caught.value) == message


# Drawing


def test_sample_is_uniform_given_the_depth() -> None:
    tested, rng = small(max_depth=3), np.random.default_rng(0)
    draws = 40_000
    counts = Counter(tested.sample(rng) for _ in range(draws))
    for depth in (2, 3):
        genomes = everything(range(depth, depth + 1), [8, 16])
        chance = 0.5 / len(genomes)
        for genome in genomes:
            assert abs(counts.pop(genome, 0) - draws * chance) < 5 * (draws * chance) ** 0.5
    assert not counts


def test_sample_draws_filters_kernels_and_activations_independently() -> None:
    tested, rng = space(filters=[1, 2, 3], kernels=[3, 1], activations=["gelu", "relu"]), np.random.default_rng(1)
    counts = Counter(layer for _ in range(4_000) for layer in layers(tested.sample(rng)))
    for kind in "NR":
        total = sum(count for layer, count in counts.items() if layer[0] == kind)
        for attributes in product([1, 2, 3], [3, 1], ["gelu", "relu"]):
            assert abs(counts[kind, *attributes] - total / 12) < 5 * (total / 12) ** 0.5


# Mutations and crossover


def children(name: str, parent: Genome, pool: set[Genome]) -> set[Genome]:
    """What a mutation may make of a parent, by its definition, out of all genomes of the space."""
    rows, found = layers(parent), set()
    depth = len(rows)
    for i, j in combinations(range(depth), 2):
        if name == "swap":
            found.add(join([*rows[:i], rows[j], *rows[i + 1 : j], rows[i], *rows[j + 1 :]]))
        if name == "inversion":
            found.add(join([*rows[:i], *reversed(rows[i : j + 1]), *rows[j + 1 :]]))
    place = {"filters": 1, "kernel": 2, "activation": 3}.get(name)
    for other in pool:
        theirs = layers(other)
        differing = [(a, b) for a, b in zip(rows, theirs, strict=False) if a != b]
        if len(theirs) == depth and len(differing) == 1:
            changed = {k for k in range(4) if differing[0][0][k] != differing[0][1][k]}
            if changed == {place} or (name == "replace_layer" and 0 not in changed):
                found.add(other)
        if name == "add_layer" and any(theirs[:i] + theirs[i + 1 :] == rows for i in range(len(theirs))):
            found.add(other)
        if name == "remove_layer" and any(rows[:i] + rows[i + 1 :] == theirs for i in range(depth)):
            found.add(other)
    return found - {parent}


@pytest.mark.parametrize("name", space().mutations)
@pytest.mark.parametrize(
    ("filters", "kernels", "names"), [([8, 16], [3], ["relu"]), ([8], [1, 5], ["relu"]), ([8], [3], ["relu", "tanh"])]
)
def test_mutations_reach_exactly_their_children(
    name: str, filters: list[int], kernels: list[int], names: list[str]
) -> None:
    tested = small(filters=filters, kernels=kernels, activations=names)
    genomes = everything(range(2, 5), filters, kernels, names)
    pool, rng = set(genomes), np.random.default_rng(2)
    for parent in genomes[:: 1 if name in ("swap", "inversion") else 3]:
        expected = children(name, parent, pool)
        draws = 60 * max(1, len(expected))
        found = Counter(tested.mutations[name](parent, rng) for _ in range(draws))
        assert set(found) == (expected or {parent})
        # A layer put beside its like, or taken from there, makes some children more likely than others.
        if name not in ("add_layer", "remove_layer"):
            assert max(found.values()) < 60 + 5 * 60**0.5 or not expected


@pytest.mark.parametrize("name", space().mutations)
def test_mutations_without_alternative_give_the_parent(name: str) -> None:
    tested = small(min_depth=2, max_depth=2, filters=[8])
    only: Genome = (2, "R", 8, 3, "relu", "R", 8, 3, "relu")
    assert tested.mutations[name](only, np.random.default_rng(0)) is only


def test_space_can_be_pickled() -> None:
    tested = pickle.loads(pickle.dumps(space()))
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    for name, mutate in space().mutations.items():
        assert mutate(EXAMPLE, first) == tested.mutations[name](EXAMPLE, second)


def stretches(first: Genome, second: Genome, low: int, high: int) -> set[Genome]:
    """All children of a pair: a stretch of the first, not all of it, replaced by one of the second, not empty."""
    ours, theirs, found = layers(first), layers(second), set()
    for i, j in combinations(range(len(ours) + 1), 2):
        for a, b in ((i, j), (i, i), (j, j)):
            for k, m in combinations(range(len(theirs) + 1), 2):
                child = ours[:a] + theirs[k:m] + ours[b:]
                if b - a < len(ours) and low <= len(child) <= high and sum(part[0] == "R" for part in child) == 2:
                    found.add(join(child))
    return found


@pytest.mark.parametrize("limits", [(2, 4), (4, 4)])
def test_crossover_reaches_exactly_its_children(limits: tuple[int, int]) -> None:
    low, high = limits
    tested, rng = small(min_depth=low, max_depth=high, filters=[1, 2]), np.random.default_rng(3)
    firsts, seconds = (everything(range(low, high + 1), [width]) for width in (1, 2))
    for first, second in product(firsts, seconds):
        expected = stretches(first, second, low, high)
        found = {tested.crossover(first, second, rng) for _ in range(60 * len(expected))}
        assert found == expected
        for child in found:  # the parents share no layer
            assert {part[1] for part in layers(child)} == {1, 2}


def test_crossover_of_parents_with_reductions_at_opposite_ends() -> None:
    tested, rng = space(min_depth=6, max_depth=6), np.random.default_rng(4)
    normal, reduction = ("N", 8, 3, "relu"), ("R", 16, 1, "tanh")
    first, second = join([reduction] * 2 + [normal] * 4), join([normal] * 4 + [reduction] * 2)
    for _ in range(200):
        child = tested.crossover(first, second, rng)
        tested.validate(child)
        assert sum(kind == "R" for kind, *_ in layers(child)) == 2


# Strings and vectors


def test_format_is_the_string_of_the_docstring() -> None:
    assert space().format(EXAMPLE) == "N32k3relu-R64k3gelu-R64k1tanh"
    assert space().parse("N32k3relu-R64k3gelu-R64k1tanh") == EXAMPLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 (layer 1): expected a kind, one of N, R; got the end"),
        ("X32k3relu", "character 1 (layer 1): expected a kind, one of N, R; got 'X32k3relu'"),
        ("n32k3relu", "character 1 (layer 1): expected a kind, one of N, R; got 'n32k3relu'"),
        ("32k3relu", "character 1 (layer 1): expected a kind, one of N, R; got '32k3relu'"),
        ("Nk3relu", "character 2 (layer 1): expected filters, one of 8, 16, 32, 48, 64; got 'k3relu'"),
        ("N33k3relu", "character 2 (layer 1): expected filters, one of 8, 16, 32, 48, 64; got '33k3relu'"),
        ("N032k3relu", "character 2 (layer 1): expected filters, one of 8, 16, 32, 48, 64; got '032k3relu'"),
        ("N32x3relu", "character 4 (layer 1): expected the letter k; got 'x3relu'"),
        ("N32", "character 4 (layer 1): expected the letter k; got the end"),
        ("N32k7relu", "character 5 (layer 1): expected a kernel, one of 1, 3, 5; got '7relu'"),
        (
            "N32k3",
            "character 6 (layer 1): expected an activation, one of relu, sigmoid, tanh, swish, gelu; got the end",
        ),
        (
            "N32k3relu-R64k3elu-R8k3relu",
            "character 16 (layer 2): expected an activation, one of relu, sigmoid, tanh, swish, gelu; got 'elu'",
        ),
        (
            "R8k3relu-N8k3relu-R8k3relu\n",
            "character 23 (layer 3): expected an activation, one of relu, sigmoid, tanh, swish, gelu; got 'relu\\n'",
        ),
        ("N32k3relu-", "character 11 (layer 2): expected a kind, one of N, R; got the end"),
        ("N32k3relu--R8k3relu", "character 11 (layer 2): expected a kind, one of N, R; got '-'"),
        (
            "R8k3relu-R8k3relu-R8k3relu",
            "character 19 (layer 3): expected N, for there are 2 reductions (R) already; got 'R8k3relu'",
        ),
        (
            "R8k3relu-R8k3relu",
            "character 18 (layer 2): expected '-' and a further layer, at least 3 in all (min_depth); got the end",
        ),
        (
            "R8k3relu-N8k3relu-N8k3relu",
            "character 27 (layer 3): expected 2 reductions (R) before the end, there is 1; got the end",
        ),
        (
            "N8k3relu-N8k3relu-N8k3relu",
            "character 27 (layer 3): expected 2 reductions (R) before the end, there is none; got the end",
        ),
        (
            "-".join(["R8k3relu"] * 2 + ["N8k3relu"] * 5),
            "character 54 (layer 6): expected the end after 6 layers (max_depth); got '-'",
        ),
    ],
)
def test_parse_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space().parse(text)
    assert str(caught.value) == message


def test_encode_is_the_middle_of_each_share() -> None:
    vector = space().encode(EXAMPLE)
    assert vector.shape == (25,)
    assert vector[:5] == pytest.approx([1 / 8, 0, 1 / 2, 1 / 2, 1 / 10])
    assert vector[5:9] == pytest.approx([1, 9 / 10, 1 / 2, 9 / 10])
    assert not vector[13:].any()


def test_decode_takes_the_two_highest_kinds_within_the_depth() -> None:
    tested = space()

    def kinds(*entries: float, depth: float = 0.99) -> str:
        vector = np.zeros(25)
        vector[0], vector[1::4] = depth, entries
        return "".join(layer[0] for layer in layers(tested.decode(vector)))

    assert kinds(0.1, 0.5, 0.2, 0.6, 0.3, 0.4) == "NRNRNN"
    assert kinds(0, 0, 0, 0, 0, 0) == kinds(1, 1, 1, 1, 1, 1) == "RRNNNN"
    assert kinds(0, 0.5, 0, 0.5, 0.5, 0) == "NRNRNN"
    assert kinds(0, 0, 0, 0, 0, 1) == "RNNNNR"
    assert kinds(0.1, 0.2, 0.3, 1, 1, 1, depth=0.2) == "NRR"
    assert kinds(0, 0, 7, 1, 1, 1) == "NNRRNN"  # 7 counts as 1


def test_decode_refuses_what_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(24,\): expected \(25,\)"):
        space().decode(np.zeros(24))
    with pytest.raises(ValueError, match="NaN"):
        space().decode(np.full(25, np.nan))


# Price and build


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_cost_is_what_torch_counts(task: Task, batch_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 random genomes in all."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # There are no weights to draw on the meta device, but going through the motions is half of the time.
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    tested, rng = space(max_depth=7, batch_norm=batch_norm, dense=48), np.random.default_rng(5)
    counter, before = FlopCounterMode(display=False), 0
    with torch.device("meta"), torch.inference_mode(), counter:
        image = torch.empty(1, task.channels, task.height, task.width)
        for _ in range(100 if batch_norm else 400):  # batch normalisation takes most of the time
            genome = tested.sample(rng)
            model = tested.build(genome, task).eval()
            assert model(image).shape == (1, task.outputs)
            total = counter.get_total_flops()
            parameters = sum(weight.numel() for weight in model.parameters())
            assert tested.cost(genome, task) == Cost(parameters, total - before), tested.format(genome)
            before = total


def test_cost_by_hand() -> None:
    tested = space(min_depth=2)
    genome = tested.parse("R8k3relu-R16k1tanh")
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4 becomes 2x2
    convolutions, dense = (9 * 8, 8 * 16), (16 * 64, 64 * 10)
    assert tested.cost(genome, task).parameters == sum(convolutions) + 2 * (8 + 16) + sum(dense) + 64 + 10
    assert tested.cost(genome, task).flops == 2 * (convolutions[0] * 12 + convolutions[1] * 4 + sum(dense))
    without = space(min_depth=2, batch_norm=False).cost(genome, task)
    assert without.parameters == tested.cost(genome, task).parameters - 8 - 16
    assert without.flops == tested.cost(genome, task).flops


@pytest.mark.parametrize("batch_norm", [True, False])
def test_build_is_what_the_genome_says(batch_norm: bool) -> None:
    from torch import nn

    genome: Genome = join([("N", 8, 1, "relu"), ("R", 16, 3, "sigmoid"), ("N", 24, 5, "tanh")])
    genome = join([*layers(genome), ("R", 32, 3, "swish"), ("N", 48, 1, "gelu")])
    model: Any = space(batch_norm=batch_norm).build(genome, Task("colour", 3, 32, 32, 7))
    activations = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU]
    channels = 3
    for number, ((kind, filters, kernel, _), activation) in enumerate(zip(layers(genome), activations, strict=True), 1):
        layer = list(model.get_submodule(f"layer{number}"))
        assert [type(part) for part in layer] == [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, activation]
        convolution = layer[0]
        assert (convolution.in_channels, convolution.out_channels) == (channels, filters)
        assert convolution.kernel_size == (kernel, kernel)
        assert convolution.padding == (int(kernel) // 2,) * 2
        assert convolution.stride == ((2, 2) if kind == "R" else (1, 1))
        assert (convolution.bias is None) == batch_norm
        channels = filters
    head = [type(part) for part in list(model)[5:]]
    assert head == [GlobalAveragePool, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert (model.dense.in_features, model.dense.out_features, model.output.out_features) == (48, 64, 7)


def test_initial_weights_follow_the_activation_and_the_seed() -> None:
    import torch

    tested = space(filters=[256], batch_norm=False)
    genome = tested.parse("N256k3relu-R256k3tanh-R256k1sigmoid")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = tested.build(genome, FASHION).state_dict()
        second = tested.build(genome, FASHION).state_dict()
        torch.manual_seed(1)
        third = tested.build(genome, FASHION).state_dict()
    assert all(torch.equal(first[name], third[name]) for name in first)
    assert not torch.equal(first["layer1.convolution.weight"], second["layer1.convolution.weight"])
    assert not first["layer2.convolution.bias"].any()
    spread = [float(first[f"layer{number}.convolution.weight"].std()) for number in (1, 2, 3)]
    fan_out = 256 * 9
    assert spread == pytest.approx([(2 / fan_out) ** 0.5, 5 / 3 / fan_out**0.5, 1 / 16], rel=0.05)
    assert float(first["dense.weight"].std()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)


# Any options, any genome


@settings(max_examples=100, deadline=None)
@given(spaces(), seeds)
def test_any_genome_goes_round_and_varies_within_the_space(tested: SequentialCNN, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genome, other = tested.sample(rng), tested.sample(rng)
    for one in (genome, other):
        tested.validate(one)
        assert tested.parse(tested.format(one)) == one
        assert tested.decode(tested.encode(one)) == one
    for mutate in tested.mutations.values():
        tested.validate(mutate(genome, rng))
    tested.validate(tested.crossover(genome, other, rng))


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_any_vector_decodes(tested: SequentialCNN, data: st.DataObject) -> None:
    size = 1 + 4 * tested.max_depth
    vector = np.array(data.draw(st.lists(st.floats(-2, 3), min_size=size, max_size=size)))
    genome = tested.decode(vector)
    tested.validate(genome)
    # What is decoded lies in the shares into which the vector fell.
    shares = np.clip(vector, 0, 1) - tested.encode(genome)
    assert abs(shares[0]) <= 0.5 / (tested.max_depth - tested.min_depth + 1) + 1e-9
    for position in range(1, len(genome)):
        if place := (position - 1) % 4:
            values = tested.choices(genome[:position])
            assert abs(shares[position]) <= 0.5 / len(values) + 1e-9, ("kind", "filters", "kernel", "activation")[place]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="NRk-1368relutanhgsw\n ", max_size=40) | st.text(max_size=10))
def test_any_text_is_refused_or_written_back(text: str) -> None:
    tested = small(max_depth=6)
    try:
        genome = tested.parse(text)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert tested.format(genome) == text
    assert not refusal or refusal.startswith("character ")


@settings(max_examples=20, deadline=None)
@given(spaces(), seeds, st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_any_network_costs_what_it_has(
    tested: SequentialCNN, seed: int, channels: int, height: int, width: int, outputs: int
) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    task = Task("any", channels, height, width, outputs)
    genome = tested.sample(np.random.default_rng(seed))
    with torch.device("meta"), torch.inference_mode():
        model = tested.build(genome, task).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, channels, height, width))
    parameters = sum(weight.numel() for weight in model.parameters())
    assert tested.cost(genome, task) == Cost(parameters, counter.get_total_flops())


def test_strided_convolutions_of_kernel_one_train_with_any_batch() -> None:
    """In several threads and bf16, with a batch of odd size: once the end of the process, so it is tried in another."""
    code = (
        "import torch\n"
        "from nasrun.spaces.layers import convolutional_network\n"
        "torch.set_num_threads(2)\n"
        "model = convolutional_network(3, [(16, 1, 2, 'relu')] * 2, batch_norm=True, dense=8, outputs=2)\n"
        "model = model.to(memory_format=torch.channels_last)\n"
        "for _ in range(60):\n"
        "    images = torch.randn(43, 3, 28, 28).contiguous(memory_format=torch.channels_last)\n"
        "    with torch.autocast('cpu', torch.bfloat16):\n"
        "        loss = model(images).float().square().mean()\n"
        "    loss.backward()\n"
        "print(loss.isfinite().item())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
