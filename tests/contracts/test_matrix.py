"""Any strategy on any search space: the whole matrix of conf/strategy and conf/search_space, on the made-up landscape.

A pair that makes no sense is refused by the config in one line; everything else must run, repeat itself and survive.
"""

import itertools
from collections import deque

import pytest

from nasrun.config.build import Setup
from nasrun.core import Measurement, Trial
from nasrun.core.options import ConfigError
from tests.support import FITTING, SHORTER, measure, options, setup_of, trajectory

SAME = ("nasnet",)
"""Search spaces that are other ones with different options, which strategies cannot distinguish from those."""
SPACES = [name for name in options("search_space") if name not in SAME]
PAIRS = list(itertools.product(options("strategy"), SPACES))

pairs = pytest.mark.parametrize(("strategy", "space"), PAIRS)

COUNT = 32
"""Trials: more than any strategy draws at random before it learns."""


def setup_or_skip(strategy: str, space: str, *overrides: str) -> Setup:
    """The pair as objects; where the config refuses it, the refusal must be the strategy's or space's, in a line."""
    try:
        return setup_of(f"strategy={strategy}", f"search_space={space}", *SHORTER.get(strategy, ()), *overrides)
    except ConfigError as error:
        text = str(error)
        assert text.startswith(("strategy", "search_space"))
        assert len(text.splitlines()) == 1
        pytest.skip(text)


@pytest.mark.parametrize("strategy", options("strategy"))
def test_every_strategy_runs_on_some_space(strategy: str) -> None:
    assert any(runs_on(strategy, space) for space in options("search_space"))


def runs_on(strategy: str, space: str) -> bool:
    """Whether the config takes the pair."""
    try:
        setup_of(f"strategy={strategy}", *FITTING.get(strategy, ()), f"search_space={space}")
    except ConfigError:
        return False
    return True


@pairs
def test_proposals_belong_to_the_space_and_repeat(strategy: str, space: str) -> None:
    runs = []
    for _ in range(2):
        setup = setup_or_skip(strategy, space, "seed=3")
        proposals = trajectory(setup.strategy, setup, COUNT)
        for proposal in proposals:
            setup.space.validate(proposal.genome)
        runs.append(proposals)
    assert runs[0] == runs[1]
    assert len(runs[0]) == COUNT or setup.strategy.done


@pairs
def test_several_in_flight_and_failures_are_survived(strategy: str, space: str) -> None:
    setup = setup_or_skip(strategy, space, "seed=4")
    waiting: deque[Trial] = deque()
    number = told = 0
    for _ in range(COUNT):
        for proposal in setup.strategy.ask(4 - len(waiting)):
            setup.space.validate(proposal.genome)
            waiting.append(Trial(number, proposal))
            number += 1
        if not waiting:
            assert setup.strategy.done
            return
        trial = waiting.popleft()
        outcomes = (
            [Measurement(trial.number, 0, "failed", error="broken")],
            [Measurement(trial.number, 0, "infeasible", error="not in the table")],
            measure(setup, trial),
            measure(setup, trial),
        )
        setup.strategy.tell(trial, outcomes[trial.number % 4])
        told += 1
    assert told == COUNT
