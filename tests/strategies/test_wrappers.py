"""What goes round any strategy: duplicates and constraints."""

import pytest

from nasrun.core import Cost
from nasrun.strategies.wrappers import Constraints
from tests.support import FITTING, options, strategy_setup, trajectory

# Parameters and FLOPs that are a limit where the default search space does not fit a strategy.
LIMITS = {"grid": (110_000, 6_000_000)}

ONCE = ("asnn", "grid", "local_search", "nsga2")
"""Strategies that propose nothing twice, wrapped or not."""

ONE_NETWORK = ("miha", "pbt", "fixed")
"""Strategies of one price: two train one network on from checkpoints, which are never duplicates, one is no search."""

SETTLING = ("reinforce", "reinforce_ienas")
"""Strategies whose policy may settle on one genome, so that nothing new comes of asking again."""

several = pytest.mark.parametrize("strategy", [name for name in options("strategy") if name not in ONE_NETWORK])


@several
def test_no_proposal_is_over_a_constraint(strategy: str) -> None:
    parameters, flops = LIMITS.get(strategy, (20_000, 3_000_000))
    setup = strategy_setup(strategy, f"constraints.parameters={parameters}", f"constraints.flops={flops}")
    proposals = trajectory(setup.strategy, setup, 60)
    costs = [setup.space.cost(proposal.genome, setup.dataset.task) for proposal in proposals]
    assert len(costs) == 60
    assert all(cost.parameters <= parameters and cost.flops <= flops for cost in costs)
    free = strategy_setup(strategy, "constraints.flops=null")
    others = trajectory(free.strategy, free, 60)
    assert any(free.space.cost(p.genome, free.dataset.task).parameters > parameters for p in others)


@several
def test_resampling_proposes_nothing_twice(strategy: str) -> None:
    small = ("search_space.max_depth=3", "search_space.filters=[8,16]", "search_space.activations=[relu]")
    small = () if strategy in FITTING else small
    setup = strategy_setup(strategy, "deduplicate=resample", *small)
    proposals = trajectory(setup.strategy, setup, 80)
    genomes = [(proposal.genome, proposal.budget) for proposal in proposals if proposal.warm_start != "continue"]
    assert len(set(genomes)) == len(genomes)
    assert len(proposals) == 80 or (strategy in SETTLING and len(proposals) > 40)
    if setup.strategy.budgets:  # the same architectures again, to be trained on
        return
    repeating = strategy_setup(strategy, "deduplicate=never", *small)
    again = [proposal.genome for proposal in trajectory(repeating.strategy, repeating, 80)]
    assert len(again) == 80
    assert (len(set(again)) == 80) == (strategy in ONCE)


def test_limits_are_inclusive_and_none_is_no_limit() -> None:
    assert Constraints(parameters=10, flops=None).allow(Cost(10, 10**12))
    assert not Constraints(parameters=10, flops=None).allow(Cost(11, 1))
    assert not Constraints(flops=5).allow(Cost(1, 6))
