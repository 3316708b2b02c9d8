"""Widths and where they lie in [0, 1]."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.spaces.mlp.widths import Widths


@pytest.mark.parametrize("scale", ["log2", "linear"])
@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 2), (1, 4096), (8, 512), (30_000, 65_536)])
def test_every_width_of_a_range_survives_its_entry(scale: Any, low: int, high: int) -> None:
    widths = Widths(range(low, high + 1), scale)
    entries = [widths.entry(width) for width in widths.values]
    assert [widths.at(entry) for entry in entries] == list(range(low, high + 1))
    assert all(0 < one < other < 1 for one, other in pairwise(entries)) or low == high
    assert (widths.at(-1.0), widths.at(0.0)) == (low, low)
    assert (widths.at(1.0), widths.at(2.0)) == (high, high)


def test_scales() -> None:
    octaves, even, places = (
        Widths(range(16, 1025), "log2"), Widths(range(16, 1025), "linear"), Widths([1024, 16, 128], "places")
    )  # fmt: skip
    assert octaves.entry(128) == pytest.approx(0.5, abs=0.01)
    assert even.entry(520) == pytest.approx(0.5, abs=1e-9)
    assert [places.entry(width) for width in (16, 128, 1024)] == pytest.approx([1 / 6, 1 / 2, 5 / 6])


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8, unique=True), st.floats(-10, 6000))
def test_nearest_is_nearest(values: list[int], wanted: float) -> None:
    found = Widths(values, "places").nearest(wanted)
    assert abs(found - wanted) == min(abs(value - wanted) for value in values)


def test_nearest_of_two_is_the_wider() -> None:
    assert Widths([10, 20], "places").nearest(15) == 20
