"""Local search: what it climbs, when it starts again, and what it never does."""

from collections.abc import Callable, Hashable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome, Measurement, Objective, Proposal, SearchSpace, Trial
from nasrun.strategies.local_search import LocalSearch
from tests.support import setup_of

SMALL = (
    "search_space.min_depth=2",
    "search_space.max_depth=3",
    "search_space.filters=[8,16]",
    "search_space.kernels=[1,3]",
    "search_space.activations=[relu]",
)
modes = pytest.mark.parametrize("mode", ["all", "first"])


def small() -> SearchSpace:
    """16 genomes of depth 2 and 192 of depth 3."""
    return setup_of(*SMALL).space


def landscape(space: SearchSpace, seed: int) -> Callable[[Genome], float]:
    """A rugged score for every architecture, without ties."""
    weights = np.random.default_rng(seed).normal(size=len(space.encode(space.sample(np.random.default_rng(0)))))

    def score(genome: Genome) -> float:
        vector = space.encode(genome)
        return float(weights @ vector + np.sin(40 * (weights * vector).sum()))

    return score


def climber(space: SearchSpace, mode: str, seed: int = 0, starts: int = 1) -> LocalSearch:
    return LocalSearch(space, Objective(), np.random.default_rng(seed), neighbours=mode, starts=starts)  # type: ignore[arg-type]


def ok(number: int, score: float) -> list[Measurement]:
    return [Measurement(number, 0, "ok", {"val_accuracy": score})]


def climb(strategy: LocalSearch, score: Callable[[Genome], float], most: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    while len(proposals) < most and not strategy.done:
        for proposal in strategy.ask(1):
            strategy.tell(Trial(len(proposals), proposal), ok(len(proposals), score(proposal.genome)))
            proposals.append(proposal)
    return proposals


@modes
def test_a_new_start_comes_only_at_a_local_optimum(mode: str) -> None:
    space = small()
    score = landscape(space, 1)
    proposals = climb(climber(space, mode), score, 200)
    restarts = [number for number, proposal in enumerate(proposals) if proposal.origin == "sample"]
    assert len(restarts) > 3
    for start, end in pairwise(restarts):
        seen = {proposal.genome: score(proposal.genome) for proposal in proposals[:end]}
        # `all` climbs from the start; with `first` the best of a climb leads on, maybe into an earlier one.
        genome = proposals[start].genome
        if mode == "first":
            genome = max((p.genome for p in proposals[start:end]), key=score)
        while better := [n for n in space.neighbours(genome) if seen.get(n, -np.inf) > seen[genome]]:
            genome = max(better, key=score)
        assert all(neighbour in seen for neighbour in space.neighbours(genome))


def test_all_moves_to_the_best_of_the_whole_neighbourhood() -> None:
    space = small()
    score = landscape(space, 2)
    proposals = climb(climber(space, "all"), score, 200)
    climbed = [proposals[0].genome]
    number = 1
    while proposals[number].origin == "neighbour":
        assert proposals[number].parent is not None
        around = [n for n in space.neighbours(climbed[-1]) if n not in {p.genome for p in proposals[:number]}]
        assert [p.genome for p in proposals[number : number + len(around)]] == around
        assert {p.parent for p in proposals[number : number + len(around)]} == {
            next(i for i, p in enumerate(proposals) if p.genome == climbed[-1])
        }
        number += len(around)
        climbed.append(max(space.neighbours(climbed[-1]), key=score))
    assert len(climbed) > 2
    # The last of them is no better than the one before: that one was the optimum.
    assert score(climbed[-1]) <= score(climbed[-2])
    assert [score(genome) for genome in climbed[:-1]] == sorted(score(genome) for genome in climbed[:-1])


def test_first_climbs_from_the_best_of_the_climb() -> None:
    space = small()
    score = landscape(space, 3)
    proposals = climb(climber(space, "first"), score, 60)
    best, climbs = -np.inf, 0
    for number, proposal in enumerate(proposals):
        if proposal.origin == "sample":
            best = -np.inf
        else:
            assert proposal.parent is not None
            assert proposal.genome in space.neighbours(proposals[proposal.parent].genome)
            assert score(proposals[proposal.parent].genome) >= best
        climbs += score(proposal.genome) > best
        best = max(best, score(proposal.genome))
        assert proposal.parent is None or proposal.parent < number
    assert climbs > 5


@modes
def test_everything_is_found_once_and_then_it_is_done(mode: str) -> None:
    space = small()
    strategy = climber(space, mode)
    proposals = climb(strategy, landscape(space, 4), 1000)
    assert strategy.done
    assert strategy.ask(3) == []
    assert space.size is not None
    assert len(proposals) == len({p.genome for p in proposals}) == space.size


@modes
@settings(max_examples=25, deadline=None)
@given(data=st.data(), starts=st.integers(1, 4), in_flight=st.integers(1, 7))
def test_any_order_of_tells_and_failures_is_survived(
    mode: str, data: st.DataObject, starts: int, in_flight: int
) -> None:
    space = small()
    strategy = climber(space, mode, starts=starts)
    score = landscape(space, 5)
    seed = data.draw(st.integers(0, 1000))
    waiting: list[Trial] = []
    keys: set[Hashable] = set()
    rng = np.random.default_rng(seed)
    number = 0
    while not strategy.done and number < 150:
        for proposal in strategy.ask(in_flight - len(waiting)):
            key = space.key(proposal.genome)
            assert key not in keys
            keys.add(key)
            waiting.append(Trial(number, proposal))
            number += 1
        assert waiting or strategy.done, "nothing to wait for, yet nothing proposed"
        if waiting:
            trial = waiting.pop(int(rng.integers(len(waiting))))
            told = ok(trial.number, score(trial.proposal.genome))
            if rng.random() < 0.3:
                status = "failed" if rng.random() < 0.5 else "infeasible"
                told = [Measurement(trial.number, 0, status, error="broken")]
            strategy.tell(trial, told)


def test_isomorphic_cells_count_as_one() -> None:
    setup = setup_of("search_space=nasbench101", "search_space.vertices=5")
    proposals = climb(climber(setup.space, "first"), landscape(setup.space, 6), 300)
    keys = [setup.space.key(proposal.genome) for proposal in proposals]
    assert len(set(keys)) == len(keys) == 300


def test_the_best_of_several_starts_is_climbed_from() -> None:
    space = small()
    score = landscape(space, 7)
    proposals = climb(climber(space, "all", starts=5), score, 12)
    assert [p.origin for p in proposals[:6]] == ["sample"] * 5 + ["neighbour"]
    assert proposals[5].parent == max(range(5), key=lambda number: score(proposals[number].genome))
    assert climber(space, "all", starts=5).initial == 5


@modes
def test_all_proposals_of_a_neighbourhood_may_be_in_flight(mode: str) -> None:
    space = small()
    strategy = climber(space, mode)
    (start,) = strategy.ask(50)
    assert strategy.ask(50) == []
    strategy.tell(Trial(0, start), ok(0, 1.0))
    asked = strategy.ask(50)
    assert {p.genome for p in asked} == set(space.neighbours(start.genome))
    assert strategy.ask(50) == []


def test_a_late_better_neighbour_is_moved_to() -> None:
    space = small()
    strategy = climber(space, "first")
    (start,) = strategy.ask(1)
    strategy.tell(Trial(0, start), ok(0, 0.0))
    first, second, third = strategy.ask(3)
    strategy.tell(Trial(2, second), ok(2, 0.5))
    assert strategy.ask(1)[0].parent == 2
    strategy.tell(Trial(1, first), ok(1, 0.4))
    assert strategy.ask(1)[0].parent == 2
    strategy.tell(Trial(3, third), ok(3, 0.9))
    assert strategy.ask(1)[0].parent == 3
