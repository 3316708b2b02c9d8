"""The space of dense networks: what is in it, how it is drawn, varied, written down, priced and built."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from nasrun.spaces.mlp.space import Mlp
from tests.spaces.mlps import deep, seeds, space, spaces

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
        ({"min_depth": 3, "max_depth": 2}, "min_depth=3: must be <= max_depth=2"),
        ({"min_width": 9, "max_width": 8}, "min_width=9: must be <= max_width=8"),
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
