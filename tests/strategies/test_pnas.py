"""Strategy pnas: architectures grow by one part a level, and the predictor chooses among them."""

import itertools
from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.strategies.pnas import PNAS
from tests.strategies.words import ok
from tests.support import setup_of, with_options

GROWING = ["micro_cell", "sequential_cnn", "staged_cnn", "nasbench201"]


def pnas(space: SearchSpace, seed: int = 0, **given: Any) -> PNAS:
    return with_options(PNAS, space, Objective("val_accuracy", "max"), np.random.default_rng(seed), **given)


def worth(proposal: Proposal) -> float:
    """A score of a cell: how many of its edges are 3x3 convolutions, less a little for poolings."""
    return proposal.genome.count("nor_conv_3x3") - 0.1 * proposal.genome.count("avg_pool_3x3")


def play(strategy: PNAS, trials: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    while len(proposals) < trials and not strategy.done:
        for proposal in strategy.ask(1):
            strategy.tell(Trial(len(proposals), proposal), ok(len(proposals), worth(proposal)))
            proposals.append(proposal)
    return proposals


@pytest.mark.parametrize("name", GROWING)
def test_what_grows_has_one_part_more_and_is_valid(name: str) -> None:
    space = setup_of(f"search_space={name}").space
    rng = np.random.default_rng(0)
    genome = space.simplest(rng)
    parts = [space.parts(genome)]
    while grown := space.grown(genome):
        assert len(set(grown)) == len(grown)
        assert genome not in grown
        for other in (grown[int(place)] for place in rng.integers(len(grown), size=20)):
            space.validate(other)
            assert (space.parts(other) or 0) > (parts[-1] or 0)
        genome = grown[int(rng.integers(len(grown)))]
        parts.append(space.parts(genome))
    assert len(parts) > 3


def test_the_simplest_cells_are_paths_and_all_of_them_come_up() -> None:
    space, rng = NASBench201(), np.random.default_rng(0)
    found = {space.simplest(rng) for _ in range(8000)}
    # One path from the input to the output: over no node, one of two, or both, with four operations on each edge.
    assert len(found) == 4 + 2 * 4**2 + 4**3
    assert {space.parts(genome) for genome in found} == {1, 2, 3}


def test_a_cell_without_a_way_through_has_no_parts() -> None:
    space = NASBench201()
    assert space.parts(space.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")) is None
    assert space.parts(space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")) == 2


def test_levels_grow_by_a_part_and_good_cells_are_found() -> None:
    """One cell in 600 is worth 5 or more."""
    strategy = pnas(NASBench201(), first=20, beam=15)
    proposals = play(strategy, 80)
    space = NASBench201()
    assert [p.origin for p in proposals] == ["sample"] * 20 + ["predicted"] * 60
    levels = [proposals[20 + 15 * level : 35 + 15 * level] for level in range(4)]
    for before, after in itertools.pairwise([proposals[:20], *levels]):
        parents = {proposal.genome for proposal in before}
        for proposal in after:
            assert any(proposal.genome in space.grown(parent) for parent in parents)
            assert proposals[proposal.parent or 0].genome in parents
    assert max(map(worth, proposals)) >= 5
    assert strategy.notes() == {"levels": [20, 15, 15, 15, 15]}


def test_nothing_comes_twice_and_a_space_is_exhausted_in_the_end() -> None:
    small = ("search_space.max_depth=4", "search_space.filters=[8]", "search_space.activations=[relu]")
    space = setup_of("search_space=sequential_cnn", *small).space
    assert space.size is not None
    strategy = pnas(space)
    proposals = play(strategy, 10 * space.size)
    assert strategy.done
    assert not strategy.ask(1)
    keys = [space.key(proposal.genome) for proposal in proposals]
    assert len(set(keys)) == len(keys)
    assert len(keys) > space.size / 2


def test_a_level_waits_for_the_one_before() -> None:
    strategy = pnas(NASBench201(), first=4, beam=3)
    first = strategy.ask(10)
    assert len(first) == 4
    assert not strategy.ask(1)
    for number, proposal in enumerate(first[:3]):
        strategy.tell(Trial(number, proposal), ok(number, worth(proposal)))
    assert not strategy.ask(1)
    strategy.reject(first[3], "over a limit")
    assert len(strategy.ask(10)) == 3


def test_what_failed_does_not_grow() -> None:
    strategy, space = pnas(NASBench201(), first=2, beam=50), NASBench201()
    good, bad = strategy.ask(2)
    strategy.tell(Trial(0, good), ok(0, 1.0))
    strategy.tell(Trial(1, bad), [Measurement(1, 0, "failed", error="broken")])
    grown = strategy.ask(50)
    assert grown
    assert all(proposal.genome in space.grown(good.genome) for proposal in grown)


def test_a_space_that_does_not_grow_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot grow.*strategy=pnas"):
        setup_of("strategy=pnas", "search_space=training_recipe")
    with pytest.raises(ConfigError, match=r"cannot grow.*strategy=pnas"):
        setup_of("strategy=pnas", "search_space=mlp", "search_space.min_depth=2", "search_space.max_depth=2")
