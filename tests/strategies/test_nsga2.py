"""NSGA-II: who survives, what generations are, and that its fronts are better than random search's."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.config.build import Setup
from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.reports.front import hypervolume, non_dominated
from nasrun.strategies.nsga2 import Nsga2
from nasrun.strategies.random import Random
from tests.support import measure, setup_of, trajectory

TWO = ("search_space=nasbench201", "objective.metric=[val_accuracy,parameters]", "deduplicate=never")
ON_TABLE = (*TWO, "evaluator=table", "dataset=cifar10")
ONE = Objective()


@cache
def on_table() -> Setup:
    """NAS-Bench-201's cells and their table, with two objectives."""
    setup = setup_of("strategy=random", *ON_TABLE)
    setup.evaluator.prepare()
    return setup


def made(population: int, seed: int = 0, objective: Objective | None = None, generations: int | None = None) -> Nsga2:
    """The strategy on NAS-Bench-201's cells, with two objectives unless others are given."""
    setup, rng = on_table(), np.random.default_rng(seed)
    return Nsga2(setup.space, objective or setup.objective, rng, population=population, generations=generations)


def measured(number: int, accuracy: float, parameters: float) -> list[Measurement]:
    return [Measurement(number, 0, "ok", {"val_accuracy": accuracy, "parameters": parameters})]


def next_parents(strategy: Nsga2, number: int) -> set[int]:
    """The trials that the children of the next generation descend from; nothing of them is told."""
    found: set[int] = set()
    for proposal in strategy.ask(1000):
        assert proposal.parent is not None
        assert proposal.parent < number
        found.add(proposal.parent)
    return found


def test_all_of_a_generation_are_told_before_the_next() -> None:
    strategy = made(6)
    first = strategy.ask(50)
    assert len(first) == 6, "no more than a generation, however many may be in flight"
    assert all(proposal.origin == "sample" for proposal in first)
    for number, proposal in reversed(list(enumerate(first))):
        assert strategy.ask(3) == []
        strategy.tell(Trial(number, proposal), measured(number, number / 10, number))
    second = strategy.ask(4) + strategy.ask(50)
    assert len(second) == 6
    assert all(proposal.parent is not None and proposal.origin != "sample" for proposal in second)


def test_generations_end_the_search() -> None:
    strategy = made(5, generations=3)
    proposals: list[Proposal] = []
    while not strategy.done:
        for proposal in strategy.ask(3):
            strategy.tell(Trial(len(proposals), proposal), measured(len(proposals), 0.5, 10))
            proposals.append(proposal)
    assert len(proposals) == 15
    assert strategy.ask(5) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=16, max_size=16), st.integers(0, 99))
def test_who_survives_is_beaten_by_nobody_who_does_not(values: list[tuple[int, int]], seed: int) -> None:
    strategy = made(8, seed)
    scores = np.array([(accuracy / 10, -float(parameters)) for accuracy, parameters in values])
    for start in (0, 8):
        for number, proposal in enumerate(strategy.ask(8), start):
            accuracy, parameters = values[number]
            strategy.tell(Trial(number, proposal), measured(number, accuracy / 10, parameters))
    strategy.ask(1)
    survivors = [member.trial for member in strategy.parents]
    assert len(set(survivors)) == 8
    rank = np.zeros(16, dtype=int)
    left, level = np.arange(16), 0
    while len(left):
        front = left[non_dominated(scores[left])]
        rank[front] = level
        left, level = np.setdiff1d(left, front), level + 1
    dead = np.setdiff1d(np.arange(16), survivors)
    assert rank[survivors].max() <= rank[dead].min()
    assert rank[survivors].tolist() == sorted(rank[survivors]), "better fronts come first"


def test_the_ends_of_a_crowded_front_survive_and_its_middle_thins_out() -> None:
    strategy = made(4)
    # Nobody beats anybody: 0.1 ... 0.8 accuracy at 1 ... 8 parameters, but for a gap in the middle.
    places = [1, 2, 3, 4, 5, 6, 7, 20]
    for start in (0, 4):
        for number, proposal in enumerate(strategy.ask(4), start):
            strategy.tell(Trial(number, proposal), measured(number, places[number] / 100, places[number]))
    strategy.ask(1)
    assert {0, 6, 7} <= {member.trial for member in strategy.parents}


def test_failed_models_are_parents_of_nothing_and_infeasible_ones_are_replaced() -> None:
    strategy = made(6)
    proposals = strategy.ask(6)
    for number in (0, 1):
        failed = [Measurement(number, 0, "failed", error="broken")]
        strategy.tell(Trial(number, proposals[number]), failed)
    strategy.tell(Trial(2, proposals[2]), [Measurement(2, 0, "infeasible", error="over a limit")])
    [other] = strategy.ask(6)
    assert other.origin == "sample"
    for number, proposal in ((3, proposals[3]), (4, proposals[4]), (5, proposals[5]), (6, other)):
        strategy.tell(Trial(number, proposal), measured(number, 0.5, 10 + number))
    assert next_parents(strategy, 7) <= {3, 4, 5, 6}


def test_a_generation_that_failed_as_a_whole_is_followed_by_a_random_one() -> None:
    strategy = made(3)
    for number, proposal in enumerate(strategy.ask(3)):
        strategy.tell(Trial(number, proposal), [Measurement(number, 0, "failed", error="broken")])
    assert [proposal.origin for proposal in strategy.ask(3)] == ["sample"] * 3


def test_nothing_is_proposed_twice_until_nothing_new_is_found() -> None:
    setup = setup_of("strategy=nsga2", *TWO)
    keys = [setup.space.key(proposal.genome) for proposal in trajectory(setup.strategy, setup, 400)]
    assert len(set(keys)) == len(keys)
    small = ("search_space=mlp", "search_space.widths=[8,16]", "search_space.min_depth=1", "search_space.max_depth=2")
    setup = setup_of("strategy=nsga2", *small, "deduplicate=never", "strategy.population=4")
    assert setup.space.size == 6
    proposals = trajectory(setup.strategy, setup, 30)
    assert len(proposals) == 30
    assert len({setup.space.key(proposal.genome) for proposal in proposals}) == 6


def test_one_objective_is_a_plain_genetic_algorithm() -> None:
    strategy = made(4, objective=ONE)
    for start in (0, 4):
        for number, proposal in enumerate(strategy.ask(4), start):
            strategy.tell(Trial(number, proposal), measured(number, [0.3, 0.9, 0.1, 0.8][number % 4] + start / 99, 1))
    strategy.ask(1)
    assert [member.trial for member in strategy.parents] == [5, 1, 7, 3]


def test_its_fronts_on_a_real_table_are_larger_than_those_of_random_search() -> None:
    setup, reference = on_table(), np.array([0.84, -1_100_000.0])
    volumes: dict[str, list[float]] = {"nsga2": [], "random": []}
    for seed in range(8):
        rivals = {"nsga2": made(20, seed), "random": Random(setup.space, setup.objective, np.random.default_rng(seed))}
        for name, strategy in rivals.items():
            scores = []
            for number in range(500):
                [proposal] = strategy.ask(1)
                told = measure(setup, Trial(number, proposal))
                strategy.tell(Trial(number, proposal), told)
                scores.append(setup.objective.scores(told))
            volumes[name].append(hypervolume(np.array(scores), reference))
    wins = sum(ours > theirs for ours, theirs in zip(*volumes.values(), strict=True))
    assert wins >= 7, volumes
    assert np.mean(volumes["nsga2"]) > 1.01 * np.mean(volumes["random"])


def test_without_pymoo_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pymoo'] = None\n"
        "from tests.support import setup_of\n"
        "from nasrun.core.options import ConfigError\n"
        "try:\n    setup_of('strategy=nsga2')\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "strategy=nsga2: needs pymoo: pip install 'nasrun[multi]'\n"


@pytest.mark.parametrize("bad", ["strategy.population=1", "strategy.crossover_rate=1.5", "strategy.mutations=[swop]"])
def test_nonsense_is_refused_in_a_line(bad: str) -> None:
    with pytest.raises(ConfigError, match=bad.partition("=")[0].replace(".", r"\.")) as caught:
        setup_of("strategy=nsga2", bad)
    assert "\n" not in str(caught.value)
