"""Dominance and hypervolume, against their definition and against another implementation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nasrun.reports.front import hypervolume, non_dominated

points = arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 5).map(float))


def dominates(first: np.ndarray, second: np.ndarray) -> bool:
    return bool((first >= second).all() and (first > second).any())


@given(points)
def test_the_front_is_whom_nobody_dominates(scores: np.ndarray) -> None:
    front = non_dominated(scores)
    expected = [i for i, row in enumerate(scores) if not any(dominates(other, row) for other in scores)]
    assert front.tolist() == expected


@settings(deadline=None)
@given(points, st.integers(0, 1000))
def test_hypervolume_is_that_of_another_implementation(scores: np.ndarray, seed: int) -> None:
    from pymoo.indicators.hv import HV

    reference = np.full(scores.shape[1], 0.5)
    expected = HV(ref_point=-reference)(-scores)
    assert hypervolume(scores, reference) == pytest.approx(expected, abs=1e-9)
    shuffled = np.random.default_rng(seed).permutation(scores)
    assert hypervolume(shuffled, reference) == pytest.approx(expected, abs=1e-9)


def test_hypervolume_of_nothing_is_zero() -> None:
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0
    assert hypervolume(np.array([[-1.0, 5.0]]), np.zeros(2)) == 0
    assert non_dominated(np.empty((0, 2))).tolist() == []
