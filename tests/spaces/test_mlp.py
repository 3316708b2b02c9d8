"""The space of dense networks: what is in it, how it is drawn, varied, written down, priced and built."""

from collections import Counter
from itertools import product
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.mlp.space import Mlp
from nasrun.spaces.mlp.widths import STEP

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "mlp.yaml"
ACTIVATIONS = ["relu", "sigmoid", "tanh", "swish", "gelu"]
MNIST = Task("mnist", 1, 28, 28, 10)
TASKS = [MNIST, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3)]


def space(**changes: Any) -> Mlp:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return Mlp(**{**options, **changes})


def deep(**changes: Any) -> Mlp:
    """Everything that can vary does."""
    return space(**{"min_depth": 1, "max_depth": 4, "activations": ["relu", "tanh", "gelu"], **changes})


@st.composite
def spaces(draw: st.DrawFn) -> Mlp:
    low = draw(st.integers(1, 4))
    narrow = draw(st.integers(1, 3000))
    listed = st.lists(st.integers(1, 65_536), min_size=1, max_size=6, unique=True)
    return Mlp(
        min_depth=low,
        max_depth=draw(st.integers(low, low + 3)),
        min_width=narrow,
        max_width=draw(st.integers(narrow, narrow + 3000)),
        widths=draw(st.none() | listed),
        scale=draw(st.sampled_from(["log2", "linear"])),
        activations=draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=1, unique=True)),
        dropout=draw(st.sampled_from([0.0, 0.2])),
    )


seeds = st.integers(0, 2**32 - 1)


# What is in the space


def test_the_yaml_says_what_the_constructor_says() -> None:
    ours, default = space(), Mlp()
    assert (ours.min_depth, ours.max_depth, ours.dropout) == (default.min_depth, default.max_depth, default.dropout)
    assert ours.widths.values == default.widths.values == tuple(range(8, 513))
    assert ours.activations == default.activations == ("relu",)
    assert ours.size == default.size == 505**2
    assert ours.flops_limit is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_depth": 3, "max_depth": 2}, "min_depth=3: larger than max_depth=2"),
        ({"min_width": 9, "max_width": 8}, "min_width=9: larger than max_width=8"),
        ({"min_depth": 0}, "min_depth=0: must be from 1 to 100"),
        ({"max_width": 10**6}, "max_width=1000000: must be from 1 to 65536"),
        ({"widths": []}, "widths=[]: must not be empty"),
        ({"widths": [16, 16]}, "widths=[16,16]: must not hold the same entry twice"),
        ({"widths": [0]}, "must be from 1 to 65536"),
        ({"dropout": 1.0}, "dropout=1.0: must be from 0 to below 1"),
        ({"activations": ["reul"]}, "did you mean 'relu'?"),
        ({"scale": "log"}, "scale=log: unknown"),
    ],
)
def test_options_that_make_no_space_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"^\w+") as caught:
        space(**changes)
    assert words in str(caught.value)
    assert str(caught.value).startswith(next(iter(changes)))


def test_a_list_takes_the_place_of_the_range() -> None:
    chosen = space(min_width=20, max_width=10, widths=[64, 16, 256])
    assert chosen.choices((2,)) == chosen.choices((2, 16)) == (16, 64, 256)
    assert chosen.size == 9


def test_size_counts_every_genome_once() -> None:
    chosen = deep(max_depth=3, widths=[4, 8, 16], activations=["relu", "tanh"])
    rows = [row for depth in (1, 2, 3) for row in product([4, 8, 16], repeat=depth)]
    genomes = {(len(row), *row, name) for row in rows for name in ("relu", "tanh")}
    assert chosen.size == len(genomes) == 2 * (3 + 9 + 27)
    for genome in genomes:
        chosen.validate(genome)


@pytest.mark.parametrize(
    ("genome", "words"),
    [
        ([2, 16, 16], "genome of type list"),
        ((), "token 0 (depth): expected one of 1, 2, 3, 4; got the end"),
        ((5, 8, 8, 8, 8, 8, "relu"), "token 0 (depth): expected one of 1, 2, 3, 4; got 5"),
        ((True, 8, "relu"), "token 0 (depth): expected one of 1, 2, 3, 4; got True"),
        ((2, 16, 7, "relu"), "token 2 (width of layer 2): expected a width from 8 to 512; got 7"),
        ((2, 16, 16.0, "relu"), "token 2 (width of layer 2): expected a width from 8 to 512; got 16.0"),
        ((2, 16), "token 2 (width of layer 2): expected a width from 8 to 512; got the end"),
        ((1, 16), "token 2 (activation): expected one of relu, tanh, gelu; got the end"),
        ((1, 16, "swish"), "token 2 (activation): expected one of relu, tanh, gelu; got 'swish'"),
        ((1, 16, "relu", "relu"), "token 3: expected the end, depth is 1; got 'relu'"),
    ],
)
def test_validate_names_the_token(genome: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        deep().validate(genome)
    assert words in str(caught.value)


# How it is written down


def test_strings_are_hidden_widths() -> None:
    assert space().format((2, 448, 65)) == "448-65"
    assert space().parse("448-65") == (2, 448, 65)
    assert deep().format((1, 64, "tanh")) == "64-tanh"
    assert deep().parse("64-tanh") == (1, 64, "tanh")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "character 1 (layer 1): expected a width from 8 to 512; got ''"),
        ("448-0", "character 5 (layer 2): expected a width from 8 to 512; got '0'"),
        ("448-065", "character 5 (layer 2): expected a width from 8 to 512; got '065'"),
        ("448-٦٥", "character 5 (layer 2)"),
        ("448", "character 5: expected at least 2 layers (min_depth), there are 1; got the end"),
        ("448-65-10", "character 8 (layer 3): expected the end after 2 layers (max_depth); got '10'"),
        ("448-65-relu", "character 8 (layer 3): expected the end"),
        ("784-448-65-10", "character 1 (layer 1): expected a width from 8 to 512; got '784'"),
        ("9" * 5000 + "-65", "character 1 (layer 1)"),
    ],
)
def test_parse_names_the_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        space().parse(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("64-32", "character 4 (activation): expected one of relu, tanh, gelu; got '32'"),
        ("64", "character 4 (activation): expected one of relu, tanh, gelu; got the end"),
        ("64-relu-tanh", "character 4 (layer 2): expected a width from 8 to 512; got 'relu'"),
        ("8-8-8-8-8-relu", "character 9 (layer 5): expected one of relu, tanh, gelu after 4 layers (max_depth)"),
    ],
)
def test_parse_expects_the_activation_last(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        deep().parse(text)
    assert words in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_genomes_survive_writing_encoding_and_checking(chosen: Mlp, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(10):
        genome = chosen.sample(rng)
        chosen.validate(genome)
        assert chosen.parse(chosen.format(genome)) == genome
        vector = chosen.encode(genome)
        assert vector.min() >= 0
        assert vector.max() <= 1
        assert chosen.decode(vector) == genome
        assert chosen.encode(chosen.decode(rng.random(len(vector)))).shape == vector.shape


# How it is drawn


def test_samples_are_even_over_octaves_over_widths_and_over_depths() -> None:
    def counts(values: list[int]) -> list[int]:
        return [count for _, count in sorted(Counter(values).items())]

    rng = np.random.default_rng(0)
    octaves, even, depths = (
        space(min_width=16, max_width=511),
        space(min_width=64, max_width=511, scale="linear"),
        deep(),
    )
    drawn = [
        counts([int(log2(width)) for _ in range(4000) for width in octaves.hidden(octaves.sample(rng))]),
        counts([width // 64 for _ in range(4000) for width in even.hidden(even.sample(rng))]),
        counts([int(depths.sample(rng)[0]) for _ in range(4000)]),
    ]
    assert [len(shares) for shares in drawn] == [5, 7, 4]
    for shares in drawn:
        expected = sum(shares) / len(shares)
        assert all(abs(share - expected) < 4 * expected**0.5 for share in shares)


def test_uniform_vectors_decode_to_what_is_drawn() -> None:
    rng = np.random.default_rng(1)
    chosen = space(widths=[16, 32, 64, 128])
    decoded = Counter(chosen.decode(rng.random(2)) for _ in range(8000))
    assert len(decoded) == 16
    assert max(decoded.values()) < 1.3 * min(decoded.values())


# How it is varied


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_mutations_change_what_they_are_called_after(chosen: Mlp, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name, mutate in chosen.mutations.items():
        parent = chosen.sample(rng)
        child = mutate(parent, rng)
        chosen.validate(child)
        before, after = chosen.hidden(parent), chosen.hidden(child)
        if name == "activation":
            assert before == after
            assert parent[-1] != child[-1]
            continue
        assert parent[1 + len(before) :] == child[1 + len(after) :]
        if name == "add_layer":
            expected = min(len(before) + 1, chosen.max_depth)
            assert len(after) == expected
            assert any(after[:i] + after[i + 1 :] == before for i in range(len(after))) or before == after
        elif name == "remove_layer":
            assert len(after) == max(len(before) - 1, chosen.min_depth)
            assert any(before[:i] + before[i + 1 :] == after for i in range(len(before))) or before == after
        else:
            changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
            if name == "swap":
                assert sorted(before) == sorted(after)
                assert len(changed) == (0 if len(set(before)) == 1 else 2)
            else:
                assert len(changed) == (len(chosen.widths) > 1)


def test_steps_are_small_and_new_widths_are_anywhere() -> None:
    chosen, rng = space(min_width=16, max_width=1024), np.random.default_rng(2)
    genome: Genome = (2, 128, 128)

    def distances(name: str) -> list[float]:
        children = [chosen.mutations[name](genome, rng) for _ in range(500)]
        return [float(np.abs(chosen.encode(child) - chosen.encode(genome)).sum()) for child in children]

    assert 0.9 * STEP < max(distances("step_width")) < 1.05 * STEP
    assert max(distances("new_width")) > 0.45


def test_which_mutations_there_are() -> None:
    assert list(space().mutations) == ["step_width", "new_width", "swap"]
    assert list(space(min_depth=1, max_depth=1).mutations) == ["step_width", "new_width"]
    assert list(deep().mutations) == ["step_width", "new_width", "swap", "add_layer", "remove_layer", "activation"]


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_a_crossover_has_layers_of_its_parents_in_their_places(chosen: Mlp, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = chosen.sample(rng), chosen.sample(rng)
    child = chosen.crossover(first, second, rng)
    chosen.validate(child)
    assert child[0] in (first[0], second[0])
    parents = [chosen.hidden(first), chosen.hidden(second)]
    for place, width in enumerate(chosen.hidden(child)):
        assert width in {parent[place] for parent in parents if place < len(parent)}
    assert child[1 + int(child[0]) :] in (first[1 + int(first[0]) :], second[1 + int(second[0]) :])


def test_crossover_reaches_all_mixtures() -> None:
    rng = np.random.default_rng(3)
    children = {space().crossover((2, 16, 32), (2, 64, 128), rng) for _ in range(100)}
    assert children == {(2, 16, 32), (2, 16, 128), (2, 64, 32), (2, 64, 128)}


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_neighbours_are_few_valid_and_others(chosen: Mlp, seed: int) -> None:
    genome = chosen.sample(np.random.default_rng(seed))
    found = chosen.neighbours(genome)
    assert len(set(found)) == len(found) <= 8 * len(genome) + len(chosen.activations)
    assert genome not in found
    for near in found:
        chosen.validate(near)
    assert found or chosen.size == 1


def test_neighbours_step_by_one_by_a_little_and_by_much() -> None:
    chosen = space(min_depth=1, max_depth=1, min_width=16, max_width=1024)
    widths = [near[1] for near in chosen.neighbours((1, 128))]
    assert widths == sorted(widths)
    assert {127, 129} <= set(widths)
    assert widths[0] == pytest.approx(128 / 2**1.5, rel=0.03)
    assert widths[-1] == pytest.approx(128 * 2**1.5, rel=0.03)
    assert len(widths) == 6
    listed = space(min_depth=1, max_depth=2, widths=[16, 32, 64], activations=["relu", "tanh"])
    assert listed.neighbours((1, 32, "relu")) == [
        (1, 16, "relu"), (1, 64, "relu"), (2, 32, 32, "relu"), (1, 32, "tanh")
    ]  # fmt: skip


def test_choices_of_wide_ranges_are_made_once() -> None:
    chosen = space(min_width=1, max_width=65_536)
    assert chosen.choices((2,)) is chosen.choices((2, 5))
    assert chosen.choices((2, 5, 5)) == ()


# What it costs and builds


def test_the_cost_of_a_network_of_the_paper() -> None:
    cost = space().cost((2, 448, 65), MNIST)
    assert cost == Cost(784 * 448 + 448 + 448 * 65 + 65 + 65 * 10 + 10, 2 * (784 * 448 + 448 * 65 + 65 * 10))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_flops_are_those_that_torch_counts(task: Task) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    genome: Genome = (3, 17, 8, 30)
    chosen = space(min_depth=3, max_depth=3)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        chosen.build(genome, task)(torch.empty(1, task.channels, task.height, task.width))
    assert counter.get_total_flops() == chosen.cost(genome, task).flops


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_networks_are_plain_sequences(dropout: float) -> None:
    from torch import nn

    from nasrun.training.dense.steps import dense_shape

    model = space(dropout=dropout).build((2, 448, 65), MNIST)
    hidden = [nn.Linear, nn.ReLU, *([nn.Dropout] if dropout else [])]
    assert [type(part) for part in model.children()] == [nn.Flatten, *hidden, *hidden, nn.Linear]
    assert dense_shape(model) == ((784, 448, 65, 10), (True, True), (dropout, dropout))
    assert all(part.p == dropout for part in model.modules() if isinstance(part, nn.Dropout))


def test_the_last_hidden_layer_can_be_linear() -> None:
    from nasrun.training.dense.steps import dense_shape

    model = space(dropout=0.2, last_linear=True).build((2, 448, 65), MNIST)
    assert dense_shape(model) == ((784, 448, 65, 10), (True, False), (0.2, 0.0))


def test_activations_are_those_of_the_genome() -> None:
    from torch import nn

    kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "swish": nn.SiLU, "gelu": nn.GELU}
    chosen = space(activations=ACTIVATIONS)
    for name, kind in kinds.items():
        parts = [type(part) for part in chosen.build((2, 16, 8, name), MNIST).children()]
        assert parts.count(kind) == 2
    alone = space(activations=["tanh"]).build((2, 16, 8), MNIST)
    assert [type(part) for part in alone.children()].count(nn.Tanh) == 2


def test_initial_weights_are_glorot_uniform_and_repeat() -> None:
    import torch

    models = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            models.append(space().build((2, 300, 100), MNIST).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["1.weight"], models[2]["1.weight"])
    for name, values in models[0].items():
        if name.endswith("bias"):
            assert not values.any()
        else:
            bound = (6 / sum(values.shape)) ** 0.5
            assert float(values.abs().max()) == pytest.approx(bound, rel=0.02)
            assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
