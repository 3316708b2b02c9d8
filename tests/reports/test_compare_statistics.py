"""Statistics against scipy, which has another's implementation of most of them, and against published tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from nasrun.reports.compare import statistics as own

values = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 2))
NEMENYI = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
"""Demsar 2006, table 5a: critical values at 5 %."""


@given(st.lists(values, min_size=1, max_size=30))
def test_interquartile_mean_is_the_mean_trimmed_by_a_quarter(numbers: list[float]) -> None:
    assert own.interquartile_mean(np.array(numbers)) == pytest.approx(stats.trim_mean(numbers, 0.25), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9).flatmap(lambda size: arrays(float, (2, size), elements=values)))
def test_permutation_test_is_exact(pairs: np.ndarray) -> None:
    expected = stats.permutation_test(
        (pairs[0], pairs[1]), lambda a, b: abs(np.mean(a - b)), permutation_type="samples", alternative="greater"
    )
    assert own.permutation_test(*pairs) == pytest.approx(expected.pvalue, abs=1e-12)


def test_permutation_test_of_many_pairs_is_sampled_and_repeats() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.35, 1, 40), rng.normal(0, 1, 40)
    p = own.permutation_test(first, second)
    assert p == own.permutation_test(first, second)
    assert p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.02)
    assert own.permutation_test(first, first) == 1
    assert own.permutation_test(first + 100, second) == pytest.approx(1 / (own.RESAMPLES + 1))


def test_five_pairs_cannot_be_significant() -> None:
    assert own.permutation_test(np.arange(5) + 10.0, np.arange(5) + 0.0) == 2 / 2**5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_correction(p_values: list[float]) -> None:
    corrected = own.holm(p_values)
    count, order = len(p_values), np.argsort(p_values, kind="stable")
    steps = np.minimum(1, np.maximum.accumulate([(count - place) * p_values[at] for place, at in enumerate(order)]))
    assert np.array(corrected)[order] == pytest.approx(steps)


@given(arrays(float, 7, elements=values), arrays(float, 9, elements=values))
def test_a12_follows_from_the_u_statistic(first: np.ndarray, second: np.ndarray) -> None:
    expected = stats.mannwhitneyu(first, second).statistic / (len(first) * len(second))
    assert own.vargha_delaney(first, second) == pytest.approx(expected)


def test_paired_cohen_d() -> None:
    first, second = np.array([3.0, 5.0, 8.0, 4.0]), np.array([1.0, 4.0, 5.0, 4.0])
    differences = first - second
    assert own.paired_cohen_d(first, second) == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert own.paired_cohen_d(first + 1, first) == math.inf
    assert own.paired_cohen_d(first, first + 1) == -math.inf
    assert own.paired_cohen_d(first, first) == 0


@given(arrays(float, (6, 4), elements=st.integers(0, 5)))
def test_ranks_and_friedman(scores: np.ndarray) -> None:
    expected = np.array([stats.rankdata(-row) for row in scores])
    assert np.array_equal(own.ranks(scores), expected)
    if any(len(set(row)) > 1 for row in scores.tolist()):
        assert own.friedman(scores) == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue, abs=1e-9)
    else:
        assert own.friedman(scores) == 1


@given(st.floats(0, 60), st.integers(1, 20))
def test_chi_square_tail(value: float, degrees: int) -> None:
    assert own.chi_square_tail(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), abs=1e-10)


@pytest.mark.parametrize("groups", sorted(NEMENYI))
def test_critical_difference_is_that_of_the_table(groups: int) -> None:
    blocks = 14
    factor = math.sqrt(groups * (groups + 1) / (6 * blocks))
    assert own.critical_difference(groups, blocks) / factor == pytest.approx(NEMENYI[groups], abs=0.0011)


def test_cliques_are_the_longest_stretches_without_a_difference() -> None:
    average = np.array([1.0, 1.5, 2.4, 4.0])
    assert own.cliques(average, 1.0) == [(0, 1), (1, 2)]
    assert own.cliques(average, 1.5) == [(0, 2)]
    assert own.cliques(average, 5.0) == [(0, 3)]
    assert own.cliques(average, 0.1) == []


def test_bootstrap_interval_repeats_and_holds_what_it_says() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(5, 1, 25)
    low, high = own.bootstrap_mean(numbers)
    assert (low, high) == own.bootstrap_mean(numbers)
    assert low < numbers.mean() < high
    standard = numbers.std(ddof=1) / 5
    assert high - low == pytest.approx(2 * 1.96 * standard, rel=0.1)
    covered = [own.bootstrap_mean(rng.normal(0, 1, 25)) for _ in range(60)]
    assert sum(low <= 0 <= high for low, high in covered) >= 50


def test_bootstrap_resamples_curves_as_a_whole() -> None:
    curves = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    low, high = own.bootstrap_means(curves)
    assert low[0] == pytest.approx(1 - high[1])
    assert np.array_equal(own.bootstrap_means(curves[:1])[0], curves[0])
