"""The rates of aging evolution, and the mutator that they go through."""

from collections import Counter

import numpy as np
import pytest

from nasrun.core import Genome, SearchSpace
from nasrun.core.options import ConfigError
from nasrun.strategies.variation import Mutator
from tests.support import setup_of, trajectory

DRAWS = 2000


def cells() -> SearchSpace:
    return setup_of("search_space=nasbench101").space


def parent(space: SearchSpace) -> Genome:
    """A cell that every mutation can change: room for a node and a connection."""
    rng = np.random.default_rng(0)
    while True:
        genome = space.sample(rng)
        if all(mutate(genome, np.random.default_rng(1)) != genome for mutate in space.mutations.values()):
            return genome


def shares(space: SearchSpace, mutate: Mutator) -> dict[str, float]:
    """How often each mutation is named among children of one parent."""
    rng, genome = np.random.default_rng(2), parent(space)
    counts: Counter[str] = Counter()
    for _ in range(DRAWS):
        child, name = mutate(genome, rng)
        assert child != genome
        counts[name] += 1
    return {name: count / DRAWS for name, count in counts.items()}


def near(expected: float) -> object:
    # Four standard deviations of a share of this many draws.
    return pytest.approx(expected, abs=4 * (expected * (1 - expected) / DRAWS) ** 0.5)


def test_rates_are_the_shares_of_the_children() -> None:
    space = cells()
    others = [name for name in space.mutations if name not in ("add_node", "add_connection")]
    found = shares(space, Mutator(space, None, {"add_node": 0.2, "add_connection": 0.05}))
    assert found["add_node"] == near(0.2)
    assert found["add_connection"] == near(0.05)
    assert len(others) > 1
    for name in others:
        assert found[name] == near(0.75 / len(others))


def test_one_rate_leaves_the_rest_to_all_others() -> None:
    space = cells()
    found = shares(space, Mutator(space, ["add_node", "add_connection"], {"add_node": 0.1}))
    assert found == {"add_node": near(0.1), "add_connection": near(0.9)}


def test_rates_without_other_mutations_are_proportions() -> None:
    space = cells()
    rates = {"add_node": 0.05, "add_connection": 0.15}
    found = shares(space, Mutator(space, ["add_node", "add_connection"], rates))
    assert found == {"add_node": near(0.25), "add_connection": near(0.75)}


def test_a_rate_of_0_is_never_and_of_1_always() -> None:
    space = cells()
    found = shares(space, Mutator(space, None, {"add_node": 0.0}))
    assert "add_node" not in found
    assert shares(space, Mutator(space, None, {"add_node": 1.0, "add_connection": 0.0})) == {"add_node": 1.0}


def test_a_mutation_that_cannot_change_the_parent_gives_way() -> None:
    space = setup_of("search_space=nasbench101", "search_space.chain=true").space
    rng = np.random.default_rng(0)
    full = max((space.sample(rng) for _ in range(200)), key=len)
    assert space.mutations["add_node"](full, rng) == full
    mutate = Mutator(space, None, {"add_node": 1.0})
    for _ in range(20):
        child, name = mutate(full, rng)
        assert child != full
        assert name != "add_node"
    assert Mutator(space, ["add_node"])(full, rng) == (full, "add_node")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("strategy.add_node_rate=0.1", "strategy.add_node_rate=0.1: this space has no mutation add_node"),
        ("strategy.add_connection_rate=0", "strategy.add_connection_rate=0.0: this space has no mutation"),
        ("strategy.add_node_rate=1.5 search_space=nasbench101", "strategy.add_node_rate=1.5: must be from 0 to 1"),
        (
            "strategy.add_node_rate=0.7 strategy.add_connection_rate=0.6 search_space=nasbench101",
            "strategy.add_node_rate=0.7 add_connection_rate=0.6: the sum of the rates must be <= 1",
        ),
        (
            "strategy.add_node_rate=0 strategy.mutations=[add_node] search_space=nasbench101",
            "strategy.add_node_rate=0.0: no other mutation is enabled",
        ),
    ],
)
def test_rates_that_make_no_choice_are_refused(words: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("strategy=aging_evolution", *words.split())
    assert str(caught.value).startswith(expected)


def test_the_rates_of_the_config_reach_the_search() -> None:
    rates = ("strategy.add_node_rate=0.5", "strategy.add_connection_rate=0.5")
    setup = setup_of("strategy=aging_evolution", "search_space=nasbench101", "search_space.chain=false", *rates)
    proposals = trajectory(setup.strategy, setup, 40)
    assert {p.origin for p in proposals[:8]} == {"sample"}
    first = Counter(p.origin for p in proposals[8:20])
    assert first["add_node"] + first["add_connection"] >= 6
