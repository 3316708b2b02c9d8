"""The space of sequential networks: what is in it, how it is drawn, varied, written down, priced and built."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome
from nasrun.spaces.sequential_cnn.space import SequentialCNN
from tests.spaces.checks import check_choices, check_round_and_variation
from tests.spaces.sequential_cnns import ACTIVATIONS, everything, layers, seeds, small, space, spaces

EXAMPLE: Genome = (3, "N", 32, 3, "relu", "R", 64, 3, "gelu", "R", 64, 1, "tanh")


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
    check_choices(tested, everything(range(2, 5), [8, 16]))


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
        ({"min_depth": 7}, "min_depth=7: must be <= max_depth=6"),
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
            "character 19 (layer 3): expected N, because there are 2 reductions (R) already; got 'R8k3relu'",
        ),
        (
            "R8k3relu-R8k3relu",
            "character 18 (layer 2): expected '-' and another layer, at least 3 in all (min_depth); got the end",
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


# Any options, any genome


@settings(max_examples=100, deadline=None)
@given(spaces(), seeds)
def test_any_genome_goes_round_and_varies_within_the_space(tested: SequentialCNN, seed: int) -> None:
    check_round_and_variation(tested, seed)


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
