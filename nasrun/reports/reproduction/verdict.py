"""The verdict of runs on a claim: a mean with its interval, and one of five words.

`agrees`: a figure no farther from the mean of the runs than the 95 % intervals of both reach (for a paper without a
deviation, with that of the runs here); an order that the paired permutation test finds (p < 0.05); or, if no difference
is claimed, one that it does not find although it could. `differs`: a figure farther away, or an order that the test
finds reversed. `not shown`: an order that the runs leave open. `not comparable`: the paper measured something else, or
there is only one run. `not run`: there is none.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from nasrun.core.averages import exact_mean
from nasrun.reports.compare.numbers import tabulate
from nasrun.reports.compare.question import PLAIN
from nasrun.reports.compare.statistics import bootstrap_mean, permutation_test
from nasrun.reports.reproduction.plan import Claim, Printed

LEVEL = 0.05
NORMAL = 1.96
"""Half the width of a 95 % interval in standard errors."""
ENOUGH = 6
"""Minimum number of pairs with which the permutation test can reach p < 0.05."""

Word = Literal["agrees", "differs", "not shown", "not comparable", "not run"]


class Verdict(NamedTuple):
    """`mean`: of the runs, or for an order of the paired differences, with the 95 % bootstrap interval. `means`: of
    both sides of an order. `n`: number of runs, or pairs. `p`: of the test of an order. `why`: a remark."""

    word: Word
    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    means: tuple[float, float] | None = None
    p: float | None = None
    why: str = ""


def judge(claim: Claim, ours: Mapping[int, float], than: Mapping[int, float] | None = None) -> Verdict:
    """The verdict of values by seed on a claim; `than`: the values of the other side of an order."""
    verdict = _figure(claim, ours) if than is None else _order(claim, ours, than)
    if claim.not_comparable and verdict.n:
        return verdict._replace(word="not comparable", why=claim.not_comparable)
    return verdict


def _figure(claim: Claim, ours: Mapping[int, float]) -> Verdict:
    assert isinstance(claim.theirs, Printed)
    if not ours:
        return Verdict("not run", 0)
    [row] = tabulate("", "max", {"": ours}, [], PLAIN).rows
    if row.deviation is None:
        return Verdict("not comparable", 1, row.mean, why="one run, which has no interval")
    theirs = NORMAL * (row.deviation if claim.theirs.deviation is None else claim.theirs.deviation)
    reach = math.hypot((row.high - row.low) / 2, theirs / math.sqrt(claim.theirs.n))
    word: Word = "agrees" if abs(row.mean - claim.theirs.value) <= reach else "differs"
    return Verdict(word, row.seeds, row.mean, row.low, row.high)


def _order(claim: Claim, ours: Mapping[int, float], than: Mapping[int, float]) -> Verdict:
    seeds = [seed for seed in ours if seed in than]
    if not seeds:
        return Verdict("not run", 0)
    first, second = (np.array([values[seed] for seed in seeds]) for values in (ours, than))
    means = exact_mean(first.tolist()), exact_mean(second.tolist())
    mean = exact_mean((first - second).tolist())
    if len(seeds) == 1:
        return Verdict("not comparable", 1, mean, means=means, why="one pair, which has no interval")
    low, high = bootstrap_mean(first - second)
    p = permutation_test(first, second)
    return Verdict(_word(claim, mean, p, len(seeds)), len(seeds), mean, low, high, means, p)


def _word(claim: Claim, mean: float, p: float, pairs: int) -> Word:
    if claim.claimed == "alike":
        return "differs" if p < LEVEL else "agrees" if pairs >= ENOUGH else "not shown"
    if p >= LEVEL:
        return "not shown"
    return "agrees" if (mean > 0) == (claim.claimed == "above") else "differs"
