"""Wrappers of any strategy: duplicates and constraints."""

import json
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from nasrun.core import Cost, Genome, Measurement, Proposal, Strategy, StrategyWrapper, Trial
from nasrun.strategies.wrappers import Constrain, Constraints, Price
from tests.support import FITTING, measure, options, searching, setup_of, strategy_setup, trajectory

# Parameters and FLOPs that are a limit where the default search space does not fit a strategy.
LIMITS = {"grid": (110_000, 6_000_000), "nao": (110_000, 16_000_000)}

ONCE = ("asnn", "grid", "local_search", "nao", "nsga2", "pnas")
"""Strategies that propose nothing twice, wrapped or not."""

ONE_NETWORK = ("miha", "pbt", "fixed", "derived")
"""Strategies without different costs: two continue one network from checkpoints, which are never duplicates, one is not
a search, and derived architectures have their own limits and duplicates (tests/config)."""

SETTLING = ("reinforce", "reinforce_ienas")
"""Strategies whose policy may settle on one genome, so that asking again gives nothing new."""

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
    small = tuple(word.replace("max_depth=3", "max_depth=4") for word in small) if strategy == "pnas" else small
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


class Recorder(Strategy):
    """Notes every call, and answers each with a value of its own."""

    initial, uses_checkpoints, length, budgets = 7, True, 9, (1, 3)
    multi_objective, steerable, begins_known, draws_from_space, follows_derived = True, False, True, False, True
    inherits = reads_scores = True

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal((n,))]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self.calls.append(("tell", trial, measurements))

    def tell_derived(self, genome: Genome) -> None:
        self.calls.append(("tell_derived", genome))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self.calls.append(("reject", proposal, reason))

    done = True

    def required_checkpoints(self) -> set[int]:
        return {3}

    def selected_trial(self) -> int:
        return 4

    def epochs(self, trials: int) -> float:
        return 2.0 * trials

    def draw(self, rng: np.random.Generator) -> tuple[int]:
        return (5,)

    def messages(self) -> list[str]:
        return ["said"]

    def notes(self) -> dict[str, int]:
        return {"noted": 1}


def test_a_wrapper_is_what_it_goes_round() -> None:
    public = {name for name in vars(Strategy) if not name.startswith("_")}
    assert public <= set(vars(Recorder)), "this test knows of everything that a strategy may have"
    inner = Recorder()
    outer = StrategyWrapper(StrategyWrapper(inner))
    for name in (
        "initial",
        "uses_checkpoints",
        "length",
        "budgets",
        "multi_objective",
        "steerable",
        "begins_known",
        "inherits",
        "draws_from_space",
        "reads_scores",
        "follows_derived",
        "done",
    ):
        assert getattr(outer, name) == getattr(inner, name) != getattr(Strategy, name), name
    proposal, rng = Proposal((2,)), np.random.default_rng(0)
    assert outer.ask(2) == [proposal]
    outer.tell(Trial(0, proposal), [])
    outer.reject(proposal, "why")
    outer.tell_derived((6,))
    assert inner.calls == [
        ("tell", Trial(0, proposal), []),
        ("reject", proposal, "why"),
        ("tell_derived", (6,)),
    ]
    assert (outer.required_checkpoints(), outer.selected_trial(), outer.epochs(3)) == ({3}, 4, 6.0)
    assert (outer.draw(rng), outer.messages(), outer.notes()) == ((5,), ["said"], {"noted": 1})


class Picky(Constraints):
    """Rejects two fifths of all networks, by their cost."""

    def exceeded(self, cost: Price | Cost) -> list[str]:
        return ["a limit"] if zlib.crc32(repr(cost).encode()) % 5 < 2 else []


def constrained(inner: Strategy, setup) -> Constrain:
    while isinstance(inner, StrategyWrapper):
        inner = inner.inner
    return Constrain(inner, setup.space, setup.dataset.task, Picky())


@pytest.mark.parametrize("strategy", searching())
@pytest.mark.parametrize("in_flight", [1, 4])
def test_what_is_turned_down_is_no_trial_and_another_one_comes_in_its_place(strategy: str, in_flight: int) -> None:
    setup = strategy_setup(strategy)
    picky = constrained(setup.strategy, setup)
    waiting: list[Trial] = []
    number = 0
    while number < 40:
        proposals = picky.ask(in_flight - len(waiting))
        assert proposals or waiting or picky.done, "nothing to wait for, yet nothing proposed"
        for proposal in proposals:
            assert Picky().allow(setup.space.cost(proposal.genome, setup.dataset.task))
            assert proposal.parent is None or 0 <= proposal.parent < number
            waiting.append(Trial(number, proposal))
            number += 1
        if not waiting:
            break
        trial = waiting.pop(0)
        picky.tell(trial, measure(setup, trial))
    assert picky.turned_down or strategy in ONE_NETWORK
    assert '"trial": -1' not in json.dumps(picky.notes(), default=str)


class Waiting(Strategy):
    """Waits until all of its first four proposals are completed; does not know of rejections."""

    def __init__(self, space, rng) -> None:
        self._space, self._rng, self._asked, self._told = space, rng, 0, 0

    def ask(self, n: int) -> list[Proposal]:
        count = min(n, 4 - self._asked) if self._asked < 4 else n * (self._told == 4)
        self._asked += count
        return [Proposal(self._space.sample(self._rng)) for _ in range(count)]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._told += 1


def test_a_strategy_that_waits_for_what_was_turned_down_is_told_what_it_lacks() -> None:
    setup = setup_of()
    strategy = constrained(Waiting(setup.space, np.random.default_rng(0)), setup)
    proposals = trajectory(strategy, setup, 10)
    assert len(proposals) + strategy.turned_down == 4
    assert 0 < strategy.turned_down < 4
    assert strategy.messages()[-1] == (
        f"Waiting proposes nothing more; if it waits for one of the {strategy.turned_down} rejected proposals, "
        "give it a method reject(proposal, reason)"
    )
