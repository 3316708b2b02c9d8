"""Grid search: everything once, in order, lazily, and no space that is too large."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome, Measurement, Objective, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.mlp.space import Mlp
from nasrun.strategies.grid import Grid
from nasrun.tables.asnn import UNITS, Asnn
from tests.support import measure, setup_of, trajectory

WIDTHS = [16, 32, 64, 128, 256]
PAPER = ("search_space=mlp", f"search_space.widths={WIDTHS}", "strategy=grid", "evaluator=table", "dataset=mnist")


def grid(space: Mlp | None = None, seed: int = 0, **options: Any) -> Grid:
    return Grid(space or Mlp(widths=WIDTHS), Objective(), np.random.default_rng(seed), **options)


def genomes(strategy: Grid, at_a_time: int = 4) -> list[Genome]:
    """All that it proposes; nothing is told."""
    found: list[Genome] = []
    while not strategy.done:
        proposals = strategy.ask(at_a_time)
        assert proposals
        assert {proposal.origin for proposal in proposals} == {"grid"}
        found += [proposal.genome for proposal in proposals]
    assert strategy.ask(3) == []
    return found


def test_the_whole_space_in_the_order_of_its_choices() -> None:
    assert genomes(grid()) == [(2, *row) for row in product(WIDTHS, repeat=2)]
    mixed = Mlp(min_depth=1, max_depth=2, widths=[8, 16], activations=["relu", "tanh"])
    rows = [(1, 8), (1, 16), *((2, *row) for row in product([8, 16], repeat=2))]
    assert genomes(grid(mixed)) == [(*row, name) for row in rows for name in ("relu", "tanh")]
    assert len(genomes(grid(mixed))) == mixed.size


@pytest.mark.parametrize("at_a_time", [1, 7, 100])
def test_how_many_are_asked_for_makes_no_difference(at_a_time: int) -> None:
    assert genomes(grid(), at_a_time) == genomes(grid())


def test_done_comes_with_the_last_proposal() -> None:
    strategy = grid(genomes=["16-16", "32-32"])
    strategy.ask(1)
    assert not strategy.done
    strategy.ask(1)
    assert strategy.done


def test_failures_and_results_change_nothing() -> None:
    strategy = grid()
    told: list[Genome] = []
    for number in range(25):
        (proposal,) = strategy.ask(1)
        told.append(proposal.genome)
        outcome = Measurement(number, 0, "ok", {"val_accuracy": number / 30}) if number % 2 else None
        strategy.tell(Trial(number, proposal), [outcome or Measurement(number, 0, "failed", error="broken")])
    assert told == genomes(grid())


def test_a_list_is_proposed_in_its_own_order() -> None:
    assert genomes(grid(genomes=["64-16", "16-64", "256-16"])) == [(2, 64, 16), (2, 16, 64), (2, 256, 16)]


def test_a_list_needs_no_small_space() -> None:
    huge = Mlp(max_width=65_536)
    assert genomes(grid(huge, genomes=["448-65"])) == [(2, 448, 65)]


def test_numbers_in_a_list_are_genomes_of_one_layer() -> None:
    setup = setup_of("strategy=grid", "search_space=mlp", "search_space.min_depth=1", "strategy.genomes=[64,448-65]")
    proposals = trajectory(setup.strategy, setup, 10)
    assert [proposal.genome for proposal in proposals] == [(1, 64), (2, 448, 65)]


def test_shuffled_is_a_permutation_by_the_seed() -> None:
    runs = [genomes(grid(seed=seed, shuffle=True)) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0] != genomes(grid())
    assert sorted(runs[0]) == sorted(runs[2]) == sorted(genomes(grid()))
    listed = ["16-16", "32-32", "64-64", "128-128"]
    assert sorted(genomes(grid(seed=2, shuffle=True, genomes=listed))) == [(2, w, w) for w in (16, 32, 64, 128)]


def test_a_walk_goes_only_as_far_as_it_is_asked() -> None:
    # 65,529 to the power of 100 genomes: whatever is not lazy does not come back.
    strategy = grid(Mlp(min_depth=100, max_depth=100, max_width=65_536), limit=None)
    assert [proposal.genome[-2:] for proposal in strategy.ask(3)] == [(8, 8), (8, 9), (8, 10)]


def test_spaces_over_the_limit_are_refused() -> None:
    assert len(genomes(grid(limit=25))) == 25
    with pytest.raises(ValueError, match=r"^limit=24: the space holds 25 architectures"):
        grid(limit=24)
    with pytest.raises(ConfigError, match=r"^strategy.limit=20000: the space holds 255,025 architectures"):
        setup_of("strategy=grid", "search_space=mlp")


def test_a_space_that_does_not_know_its_size_is_counted() -> None:
    space = Mlp(widths=WIDTHS)
    space.size = None  # type: ignore[assignment]
    assert len(genomes(grid(space, limit=25))) == 25
    with pytest.raises(ValueError, match=r"^limit=24: the space holds over 24 architectures"):
        grid(space, limit=24)


def test_what_is_no_genome_is_refused_with_its_text() -> None:
    with pytest.raises(ConfigError, match=r"^strategy.genomes=448-0: character 5 \(layer 2\): expected a width"):
        setup_of("strategy=grid", "search_space=mlp", "strategy.genomes=[448-65,448-0]")
    with pytest.raises(ConfigError, match=r"^strategy.genomes=\[\]: must not be empty"):
        setup_of("strategy=grid", "search_space=mlp", "strategy.genomes=[]")


def test_the_grid_of_the_paper_from_its_table() -> None:
    setup = setup_of(*PAPER)
    setup.evaluator.prepare()
    proposals = trajectory(setup.strategy, setup, 30)
    assert len(proposals) == 25
    table = Asnn()
    table.load()
    means = {}
    for number, proposal in enumerate(proposals):
        (measurement,) = measure(setup, Trial(number, proposal))
        means[proposal.genome] = measurement.metrics["val_accuracy"]
        row = table.row_of(proposal.genome[1:])
        assert means[proposal.genome] == pytest.approx(table.arrays["accuracies"][row].mean() / UNITS, abs=1e-12)
    assert max(means, key=lambda genome: means[genome]) == (2, 256, 16)
