"""Strategy predictor: that its networks predict, its acquisition functions are right, and it finds what is good."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, SearchSpace, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.strategies.predictor.network import ensemble_predictions
from nasrun.strategies.predictor.reading import ranks_of
from nasrun.strategies.predictor.settings import EnsembleSettings
from nasrun.strategies.predictor.strategy import Acquisition, Predictor
from nasrun.strategies.prescreen import ScoredSpace
from tests.strategies.torch_state import check_generators_and_modes, check_threads
from tests.strategies.words import ok
from tests.support import measure, setup_of, trajectory, with_options

SETTINGS = EnsembleSettings(networks=4, hidden=32, steps=200, batch_size=32)
QUICK: dict[str, Any] = {"steps": 20, "hidden": 16, "networks": 2, "candidates": 40}


def cells(seed: int = 0, mode: Any = "max", **given: Any) -> Predictor:
    return with_options(Predictor, NASBench201(), Objective("val_accuracy", mode), np.random.default_rng(seed), **given)


def worth(proposal: Proposal) -> float:
    """A score of a cell: how many of its edges are 3x3 convolutions, less a little for poolings."""
    return proposal.genome.count("nor_conv_3x3") - 0.1 * proposal.genome.count("avg_pool_3x3")


def play(strategy: Predictor, trials: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    for number in range(trials):
        (proposal,) = strategy.ask(1)
        proposals.append(proposal)
        strategy.tell(Trial(number, proposal), ok(number, worth(proposal)))
    return proposals


# The networks.


def test_the_ensemble_predicts_what_it_did_not_see() -> None:
    rng = np.random.default_rng(0)
    known, wanted = rng.random((200, 3)), rng.random((50, 3))

    def truth(rows: np.ndarray) -> np.ndarray:
        return np.asarray(3 * (rows[:, 0] - rows[:, 1] * rows[:, 2]))

    predicted = ensemble_predictions(known, truth(known), wanted, 0, SETTINGS)
    assert predicted.shape == (4, 50)
    assert np.corrcoef(predicted.mean(0), truth(wanted))[0, 1] > 0.95
    assert 0 < predicted.std(0).mean() < 0.3


def test_the_ensemble_is_less_of_one_mind_far_from_what_it_saw() -> None:
    rng = np.random.default_rng(0)
    known = rng.random((100, 2))
    predicted = ensemble_predictions(known, known[:, 0], np.array([[0.5, 0.5], [9.0, -9.0]]), 0, SETTINGS)
    near, far = predicted.std(0)
    assert far > 5 * near


def test_the_ensemble_follows_the_seed_and_its_networks_differ() -> None:
    rng = np.random.default_rng(0)
    known, targets, wanted = rng.random((20, 3)), rng.random(20), rng.random((5, 3))
    first, again, other = (ensemble_predictions(known, targets, wanted, seed, SETTINGS) for seed in (3, 3, 4))
    assert (first == again).all()
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


# The acquisition.


def test_acquisition_functions() -> None:
    means, deviations = np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.2, 0.0])
    rng = np.random.default_rng(0)
    upper = Acquisition(acquisition="ucb", exploration=2.0)
    assert upper.values(means, deviations, 1.0, rng).tolist() == [2.0, 1.4, 0.5]
    expected = Acquisition(acquisition="ei").values(means, deviations, 1.0, rng)
    draws = rng.normal(means, deviations, size=(400_000, 3))
    assert expected == pytest.approx(np.maximum(draws - 1.0, 0).mean(0), abs=2e-3)
    its = np.array([Acquisition(acquisition="its").values(means, deviations, 1.0, rng) for _ in range(2000)])
    assert its.mean(0) == pytest.approx(means, abs=0.1)
    assert its.std(0) == pytest.approx(deviations, abs=0.05)


def test_targets_are_ranks_and_failures_are_below_them() -> None:
    strategy = cells()
    for number, score in enumerate([0.1, 0.9, None, 0.5, 0.5]):
        (proposal,) = strategy.ask(1)
        failed = [Measurement(number, 0, "failed", error="broken")]
        strategy.tell(Trial(number, proposal), failed if score is None else ok(number, score))
    shares = strategy.targets() / 12**0.5 + 0.5
    assert shares == pytest.approx([1 / 8, 7 / 8, 0, 1 / 2, 1 / 2])


# The search.


@pytest.mark.parametrize("acquisition", ["its", "ucb", "ei"])
@pytest.mark.parametrize(("encoding", "least"), [("tokens", 6), ("vector", 5)])
def test_good_cells_are_found(acquisition: Any, encoding: Any, least: float) -> None:
    """A random cell is worth 1.1 on average, and one in 600 is worth 5 or more."""
    proposals = play(cells(acquisition=acquisition, encoding=encoding), 100)
    assert max(map(worth, proposals)) >= least
    assert np.mean([worth(p) for p in proposals[-20:]]) > 2
    assert [p.origin for p in proposals] == ["sample"] * 20 + ["predicted"] * 80
    assert len({p.genome for p in proposals[20:]}) == 80
    assert all(p.parent is not None and p.parent < number for number, p in enumerate(proposals) if number >= 20)


def test_low_losses_are_found() -> None:
    proposals = play(cells(mode="min"), 100)
    assert min(map(worth, proposals)) < -0.4


def test_what_fails_is_avoided() -> None:
    strategy = cells()
    begun = []
    for number in range(120):
        (proposal,) = strategy.ask(1)
        bad = proposal.genome[0] == "nor_conv_3x3"
        begun.append(bad)
        status = "failed" if number % 2 else "infeasible"
        told = [Measurement(number, 0, status, error="no")] if bad else ok(number, worth(proposal))
        strategy.tell(Trial(number, proposal), told)
    assert sum(begun[:60]) > 5
    assert sum(begun[-50:]) <= 5


def test_in_flight_nothing_is_predicted_before_something_is_told() -> None:
    strategy = cells(initial=4, **QUICK)
    asked = strategy.ask(9)
    assert {p.origin for p in asked} == {"sample"}
    for number in reversed(range(9)):
        strategy.tell(Trial(number, asked[number]), ok(number, worth(asked[number])))
    after = strategy.ask(25)
    assert {p.origin for p in after} == {"predicted"}
    assert len({p.genome for p in [*asked, *after]}) == len({p.genome for p in asked}) + 25


def test_a_space_that_is_exhausted_is_drawn_from() -> None:
    setup = setup_of("strategy=predictor", "search_space=mlp", "search_space.widths=[8,16,32]", "strategy.initial=5")
    proposals = trajectory(setup.strategy, setup, 60)
    assert len({p.genome for p in proposals}) == 9
    assert proposals[-1].origin == "predicted"


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^strategy\.batch=300: must be <= candidates=200"):
        setup_of("strategy=predictor", "strategy.batch=300")
    with pytest.raises(ConfigError, match=r"^strategy\.mutations=swop: no such mutation"):
        setup_of("strategy=predictor", "strategy.mutations=[swop]")


# Repeating itself.


def test_the_number_of_threads_makes_no_difference_and_stays() -> None:
    check_threads(lambda: play(cells(), 50))


def test_global_generators_and_modes_of_torch_are_left_alone() -> None:
    check_generators_and_modes(lambda: play(cells(**QUICK), 40))


def test_torch_is_not_imported_before_something_is_predicted() -> None:
    code = (
        "import sys\n"
        "from tests.support import setup_of, trajectory\n"
        "setup = setup_of('strategy=predictor')\n"
        "trajectory(setup.strategy, setup, 20)\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


# On a real table.


@pytest.mark.slow
def test_it_beats_random_search_and_aging_evolution_on_nasbench201() -> None:
    """One-sided Mann-Whitney U tests over 8 seeds of 120 trials each."""
    from scipy.stats import mannwhitneyu

    ours = [best_of("predictor", seed) for seed in range(8)]
    for other in ("random", "aging_evolution"):
        theirs = [best_of(other, seed) for seed in range(8)]
        assert mannwhitneyu(ours, theirs, alternative="greater").pvalue < 0.05, other


def best_of(strategy: str, seed: int) -> float:
    """The highest validation accuracy of CIFAR-10 in 120 trials."""
    setup = setup_of(
        f"strategy={strategy}", "search_space=nasbench201", "evaluator=table", "dataset=cifar10", f"seed={seed}"
    )
    setup.evaluator.prepare()
    proposals = trajectory(setup.strategy, setup, 120)
    told = (measure(setup, Trial(number, proposal)) for number, proposal in enumerate(proposals))
    return max(map(Objective().score, told))


def test_scores_are_read_as_ranks_of_any_scale() -> None:
    rows = [[1.0, -np.inf, 5.0], [100.0, -np.inf, -np.inf], [10.0, -np.inf, 7.0]]
    ranks = ranks_of(rows)
    assert ranks.shape == (3, 3)
    assert ranks[:, 0].tolist() == ranks_of([[np.log(row[0])] for row in rows])[:, 0].tolist()
    assert np.argsort(ranks[:, 0]).tolist() == [0, 2, 1]
    assert ranks[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert np.argsort(ranks[:, 2]).tolist() == [1, 0, 2]
    assert ranks_of([(), ()]).shape == (2, 0)


def test_scores_that_tell_the_truth_make_better_proposals() -> None:
    def proposals(seed: int, space: SearchSpace) -> list[Proposal]:
        strategy = with_options(
            Predictor, space, Objective("val_accuracy"), np.random.default_rng(seed), initial=5, batch=5, **QUICK
        )
        return play(strategy, 15)[5:]

    plain, cell = NASBench201(), lambda genome: (worth(Proposal(genome)),)
    means = [
        [np.mean([worth(one) for one in proposals(seed, space)]) for seed in range(6)]
        for space in (plain, ScoredSpace(plain, cell))
    ]
    assert np.mean(means[1]) > np.mean(means[0])
