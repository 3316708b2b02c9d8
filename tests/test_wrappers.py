"""What goes round any strategy: duplicates and constraints."""

import pytest

from nasrun.protocols import Cost
from nasrun.strategies.wrappers import Constraints
from tests.support import options, setup_of, trajectory


@pytest.mark.parametrize("strategy", options("strategy"))
def test_no_proposal_is_over_a_constraint(strategy: str) -> None:
    limits = ("constraints.parameters=20000", "constraints.flops=3000000")
    setup = setup_of(f"strategy={strategy}", *limits)
    proposals = trajectory(setup.strategy, setup, 60)
    costs = [setup.space.cost(proposal.genome, setup.dataset.task) for proposal in proposals]
    assert len(costs) == 60
    assert all(cost.parameters <= 20000 and cost.flops <= 3000000 for cost in costs)
    free = setup_of(f"strategy={strategy}", "constraints.flops=null")
    others = trajectory(free.strategy, free, 60)
    assert any(free.space.cost(p.genome, free.dataset.task).parameters > 20000 for p in others)


@pytest.mark.parametrize("strategy", options("strategy"))
def test_resampling_proposes_nothing_twice(strategy: str) -> None:
    small = ("search_space.max_depth=3", "search_space.filters=[8,16]", "search_space.activations=[relu]")
    setup = setup_of(f"strategy={strategy}", "deduplicate=resample", *small)
    genomes = [proposal.genome for proposal in trajectory(setup.strategy, setup, 80)]
    assert len(set(genomes)) == len(genomes) == 80
    repeating = setup_of(f"strategy={strategy}", "deduplicate=never", *small)
    again = [proposal.genome for proposal in trajectory(repeating.strategy, repeating, 80)]
    assert len(set(again)) < 80


def test_limits_are_inclusive_and_none_is_no_limit() -> None:
    assert Constraints(parameters=10, flops=None).allow(Cost(10, 10**12))
    assert not Constraints(parameters=10, flops=None).allow(Cost(11, 1))
    assert not Constraints(flops=5).allow(Cost(1, 6))
