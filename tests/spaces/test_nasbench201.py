"""The space of NAS-Bench-201: its genomes and strings, which of them are the same network, and the network itself."""

import pickle
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from nasrun.spaces.nasbench201.space import same_network
from tests.spaces.nasbench201_cells import EVERYTHING, EXAMPLE, STORED, space

STRING = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
genomes = st.tuples(*[st.sampled_from(OPERATIONS)] * 6)


# What is in the space


def test_yaml_is_the_benchmark() -> None:
    default = space()
    assert (default.channels, default.cells, default.merge_isomorphs) == (16, 5, False)
    assert default.size == len(EVERYTHING) == 15625
    assert default.flops_limit is None


def test_choices_enumerate_exactly_the_space() -> None:
    tested, prefixes = space(), [()]
    for _ in range(6):
        prefixes = [(*prefix, token) for prefix in prefixes for token in tested.choices(prefix)]
    assert prefixes == EVERYTHING
    assert not any(tested.choices(genome) for genome in EVERYTHING)


def test_neighbours_differ_in_one_operation() -> None:
    tested = space()
    for genome in EVERYTHING[::619]:
        near = tested.neighbours(genome)
        assert len(near) == len(set(near)) == 24
        assert all(sum(a != b for a, b in zip(genome, other, strict=True)) == 1 for other in near)


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        (list(EXAMPLE), "genome of type list: expected a tuple"),
        (("conv", *EXAMPLE[1:]), "token 0 (edge 1<-0): expected one of {}; got 'conv'"),
        ((*EXAMPLE[:2], 3, *EXAMPLE[3:]), "token 2 (edge 2<-1): expected one of {}; got 3"),
        (EXAMPLE[:5], "token 5 (edge 3<-2): expected one of {}; got the end"),
        ((), "token 0 (edge 1<-0): expected one of {}; got the end"),
        ((*EXAMPLE, "none"), "token 6: expected the end; got 'none'"),
    ],
)
def test_validate_names_what_is_wrong(genome: Any, message: str) -> None:
    space().validate(EXAMPLE)
    with pytest.raises(ValueError, match="expected") as caught:
        space().validate(genome)
    assert str(caught.value) == message.format(", ".join(OPERATIONS))


# Drawing and varying


def test_sample_is_uniform() -> None:
    tested, rng = space(), np.random.default_rng(0)
    expected = 20
    counts = Counter(tested.sample(rng) for _ in range(expected * 15625))
    assert set(counts) == set(EVERYTHING)
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert abs(statistic - 15624) < 5 * (2 * 15624) ** 0.5


def test_operation_reaches_all_neighbours_alike() -> None:
    tested, rng = space(), np.random.default_rng(1)
    for genome in EVERYTHING[::2503]:
        counts = Counter(tested.mutations["operation"](genome, rng) for _ in range(2400))
        assert set(counts) == set(tested.neighbours(genome))
        assert max(abs(count - 100) for count in counts.values()) < 50


def test_crossover_takes_from_both() -> None:
    tested, rng = space(), np.random.default_rng(2)
    first, second = ("none",) * 6, ("skip_connect",) * 6
    counts = Counter(tested.crossover(first, second, rng) for _ in range(6200))
    assert set(counts) == set(product(("none", "skip_connect"), repeat=6)) - {first, second}
    assert max(abs(count - 100) for count in counts.values()) < 50
    assert tested.crossover(EXAMPLE, EXAMPLE, rng) == EXAMPLE


def test_space_can_be_pickled() -> None:
    tested = pickle.loads(pickle.dumps(space(merge_isomorphs=True)))
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    assert tested.mutations["operation"](EXAMPLE, first) == space().mutations["operation"](EXAMPLE, second)
    assert tested.key(EXAMPLE) == same_network(EXAMPLE)


# Strings and vectors


def test_format_is_the_string_of_the_benchmark() -> None:
    tested = space()
    assert tested.format(EXAMPLE) == STRING
    for text, _ in STORED:
        assert tested.format(tested.parse(text)) == text
    assert len({tested.format(genome) for genome in EVERYTHING}) == 15625
    assert all(tested.parse(tested.format(genome)) == genome for genome in EVERYTHING[::7])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 (start): expected '|'; got the end"),
        ("none", "character 1 (start): expected '|'; got 'none'"),
        ("|conv~0|", f"character 2 (edge 1<-0): expected one of {', '.join(OPERATIONS)}; got 'conv~0|'"),
        ("|none~1|", "character 6 (after edge 1<-0): expected '~0|+|'; got '~1|'"),
        ("|none~0|+|none~0|", f"character 18 (edge 2<-1): expected one of {', '.join(OPERATIONS)}; got the end"),
        (STRING[:-1], "character 85 (after edge 3<-2): expected '~2|'; got '~2'"),
        (STRING + "\n", "character 88 (after edge 3<-2): expected the end; got '\\n'"),
        (STRING * 2, "character 88 (after edge 3<-2): expected the end; got '|nor_conv_3x3~0|'"),
    ],
)
def test_parse_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space().parse(text)
    assert str(caught.value) == message


@settings(max_examples=200, deadline=None)
@given(genomes, st.integers(0, 88), st.integers(0, 12), st.text(alphabet="none~|+012skip", max_size=8))
def test_any_text_is_refused_or_written_back(genome: Genome, start: int, length: int, put: str) -> None:
    tested = space()
    text = tested.format(genome)
    text = text[:start] + put + text[start + length :]
    try:
        parsed = tested.parse(text)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert tested.format(parsed) == text
    assert not refusal or refusal.startswith("character ")


def test_encode_is_the_middle_of_each_share() -> None:
    assert space().encode(EXAMPLE).tolist() == pytest.approx([0.7, 0.1, 0.3, 0.9, 0.5, 0.3])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2, 3) | st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0, float("inf")]), min_size=6, max_size=6))
def test_any_vector_decodes_to_the_nearest_genome(entries: list[float]) -> None:
    tested = space()
    genome = tested.decode(np.array(entries))
    tested.validate(genome)
    assert tested.decode(tested.encode(genome)) == genome
    for entry, share in zip(np.clip(entries, 0, 1), tested.encode(genome), strict=True):
        assert abs(entry - share) <= 0.1 + 1e-9


def test_uniform_vectors_give_uniform_operations() -> None:
    tested, rng = space(), np.random.default_rng(3)
    counts = Counter(enumerate_ for _ in range(5000) for enumerate_ in enumerate(tested.decode(rng.random(6))))
    assert len(counts) == 30
    assert max(abs(count - 1000) for count in counts.values()) < 5 * 1000**0.5


def test_decode_refuses_what_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(30,\): expected \(6,\)"):
        space().decode(np.zeros(30))
    with pytest.raises(ValueError, match="NaN"):
        space().decode(np.array([0, 0, np.nan, 0, 0, 0]))
