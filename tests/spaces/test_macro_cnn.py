"""The macro space: what is in it, how it is drawn, varied, written down, priced and built."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.spaces.macro_cnn.space import MacroCNN
from tests.spaces.checks import check_choices, check_round_and_variation
from tests.spaces.macro_cnns import CONFIG, EXAMPLE, FASHION, everything, seeds, small, space, spaces

STRING = "c32-pool-c64-c64-pool"


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
        check_choices(tested, everything(tested))


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
    with pytest.raises(ValueError, match=r"^max_pools=5: must be < 5, the smallest of depths$"):
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
            "character 21 (layer 5): expected a convolution, because max_pools=4 allows no more pooling; got 'pool'",
        ),
        (
            "c8-c8-c8",
            "character 9 (layer 3): expected '-' and another layer; the number of layers is one of 5, 7, 9 (depths); "
            "got the end",
        ),
        (
            STRING + "-c8",
            "character 25 (layer 6): expected '-' and another layer; the number of layers is one of 5, 7, 9 (depths); "
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
    check_round_and_variation(tested, seed)
