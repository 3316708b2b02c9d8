"""Stratified cuts and balanced subsets, over many shapes of data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.datasets import splitting

COUNTS = st.lists(st.integers(0, 60), min_size=2, max_size=12).filter(lambda counts: sum(counts) > 0)
FRACTIONS = st.floats(0.01, 0.9)


def shuffled_labels(counts: list[int], seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


@settings(max_examples=200, deadline=None)
@given(COUNTS, FRACTIONS)
def test_shares_add_up_and_stay_within_one_of_the_exact_share(counts: list[int], fraction: float) -> None:
    taken = splitting.shares(np.array(counts), fraction)
    most = [max(0, count - 1) for count in counts]
    assert taken.sum() == min(max(1, round(fraction * sum(counts))), sum(most))
    capped = any(share == limit for share, limit in zip(taken, most, strict=True))
    for share, count, limit in zip(taken, counts, most, strict=True):
        assert math.floor(fraction * count) <= share <= limit
        # Where a class is at its limit, what it cannot give falls to the others; and a total of at least 1 is asked.
        if not capped and fraction * sum(counts) >= 1:
            assert share < fraction * count + 1


@settings(max_examples=150, deadline=None)
@given(COUNTS, FRACTIONS, st.integers(0, 2**32))
def test_cut_is_a_partition_by_class_and_repeats_itself(counts: list[int], fraction: float, seed: int) -> None:
    labels = shuffled_labels(counts, seed)
    kept, cut_off = splitting.cut(labels, len(counts), fraction, np.random.default_rng(seed))
    assert sorted([*kept, *cut_off]) == list(range(len(labels)))
    assert list(kept) == sorted(kept)
    assert list(cut_off) == sorted(cut_off)
    wanted = splitting.shares(np.array(counts), fraction)
    assert (np.bincount(labels[cut_off], minlength=len(counts)) == wanted).all()
    again = splitting.cut(labels, len(counts), fraction, np.random.default_rng(seed))
    assert (again[0] == kept).all()
    assert (again[1] == cut_off).all()


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.data())
def test_subsets_are_as_even_as_can_be_and_nested(counts: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, sum(counts)))
    smaller = data.draw(st.integers(1, size))
    taken = splitting.balanced(np.array(counts), size)
    assert taken.sum() == size
    assert (taken <= counts).all()
    short = [share for share, count in zip(taken, counts, strict=True) if share < count]
    if short:
        assert max(taken) - min(short) <= 1
    labels = shuffled_labels(counts, size)
    large = splitting.subset(labels, len(counts), size, np.random.default_rng(1))
    small = splitting.subset(labels, len(counts), smaller, np.random.default_rng(1))
    assert set(small) <= set(large)
    assert len(large) == size


def test_the_largest_remainders_get_what_is_missing() -> None:
    # Exact shares 2.5, 2.9, 2.6 of a total of 8: two are missing, and they go to the second and the third class.
    assert list(splitting.shares(np.array([25, 29, 26]), 0.1)) == [2, 3, 3]


def test_another_seed_cuts_other_images() -> None:
    labels = np.repeat(np.arange(10), 100)
    first = splitting.cut(labels, 10, 0.1, np.random.default_rng(0))[1]
    second = splitting.cut(labels, 10, 0.1, np.random.default_rng(1))[1]
    assert len(set(first) & set(second)) < 40  # 10 of 100 are expected by chance


@pytest.mark.parametrize("counts", [[1, 1, 1], [1, 0]])
def test_classes_of_one_image_are_never_cut(counts: list[int]) -> None:
    assert splitting.shares(np.array(counts), 0.5).sum() == 0
