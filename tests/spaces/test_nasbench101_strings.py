"""Search space nasbench101: strings and vectors."""

import numpy as np
import pytest

from tests.spaces.nasbench101_cells import EXAMPLE, space

EXAMPLE_TEXT = "conv3x3(0)-maxpool3x3(0+1)-out(1+2)"


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
        ("out(0+0)", "character 7 (vertex 1): expected ')', because inputs ascend and come before 1; got '0)'"),
        (
            "conv1x1(0)-conv1x1(1+0)-out(2)",
            "character 22 (vertex 2): expected ')', because inputs ascend and come before 2; got '0)'",
        ),
        ("out(0)\n", "character 7 (vertex 1): expected the end after out; got '\\n'"),
        ("out(0)-", "character 7 (vertex 1): expected the end after out; got '-'"),
        (
            "conv1x1(0)",
            "character 11 (vertex 1): expected '-' and another vertex, with out as the last; got the end",
        ),
        (
            "conv1x1(0) -out(1)",
            "character 11 (vertex 1): expected '-' and another vertex, with out as the last; got ' '",
        ),
        (
            "conv1x1(0)-out(0)",
            "character 16 (vertex 2): expected 1 among the inputs, because nothing else uses it; got '0)'",
        ),
        (
            "conv1x1(0)-conv1x1(0+1)-conv1x1(0+1+2)-conv1x1(0+1+2+3)-out(4)",
            "character 48 (vertex 4): expected fewer inputs, because at most 9 edges are allowed; got '0+1+2+3)'",
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
