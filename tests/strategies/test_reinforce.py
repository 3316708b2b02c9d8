"""Strategy reinforce: that it learns, draws without a trace, rewards as it is told, and repeats itself."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.strategies.controllers.rewards import EnasReward, IEnasReward
from nasrun.strategies.reinforce import Reinforce
from tests.strategies.torch_state import check_generators_and_modes, check_threads
from tests.strategies.words import ok, value, words
from tests.support import measure, setup_of, trajectory, with_options

FAILED = -float("inf")

variants = pytest.mark.parametrize("strategy", ["reinforce", "reinforce_ienas"])


def policy(space: Any, seed: int = 0, mode: Any = "max", **given: Any) -> Reinforce:
    return with_options(Reinforce, space, Objective("val_accuracy", mode), np.random.default_rng(seed), **given)


def play(strategy: Reinforce, trials: int, start: int = 0) -> list[Proposal]:
    proposals: list[Proposal] = []
    for number in range(start, start + trials):
        (proposal,) = strategy.ask(1)
        proposals.append(proposal)
        strategy.tell(Trial(number, proposal), ok(number, value(proposal.genome)))
    return proposals


# Rewards.


def test_enas_rewards_the_score() -> None:
    reward = EnasReward(penalty=0.01)
    assert [reward(score) for score in (0.5, 0.2, FAILED, 0.9)] == [0.5, 0.2, 0.01, 0.9]
    reward(-2.0)
    assert reward(FAILED) == -2.0, "to fail is no better than the worst loss"


def test_ienas_rewards_what_is_above_the_mean_of_the_last() -> None:
    reward = IEnasReward(window=2, threshold=0.7, penalty=0.01)
    assert reward(0.8) == 0.8
    assert reward(0.4) == 0.01  # s = 0.5
    assert reward(0.6) == pytest.approx(0.6 * 0.6 / 0.6)
    assert reward(0.9) == pytest.approx(0.9 * 0.9 / 0.5)
    assert reward(FAILED) == 0.01
    assert reward(0.75) == pytest.approx(0.75 * 0.75 / 0.75), "a failed trial does not enter the mean"


def test_ienas_penalizes_at_the_threshold_and_not_above() -> None:
    at, above = (IEnasReward(window=10, threshold=0.75, penalty=0.01) for _ in range(2))
    assert (at(1.0), at(0.75)) == (1.0, 0.01)
    assert (above(1.0), above(0.76)) == (1.0, pytest.approx(0.76**2))


def test_it_is_noted_how_often_the_penalty_was_given() -> None:
    strategy = policy(words(), reward="ienas", threshold=0.7)
    assert strategy.notes()["compared"] == strategy.notes()["penalised"] == 0
    for number, accuracy in enumerate((0.8, 0.4, 0.6, 0.1, 0.9)):  # means of the ones before: 0.8, 0.6, 0.6, 0.475
        (proposal,) = strategy.ask(1)
        strategy.tell(Trial(number, proposal), ok(number, accuracy))
    notes = strategy.notes()
    assert (notes["compared"], notes["penalised"]) == (4, 2)
    assert "penalised" not in policy(words()).notes()


def test_a_bias_for_convolutions_wants_a_space_that_has_some() -> None:
    text = r"^strategy\.convolution_bias=0\.25: needs a search space that tells which operations are convolutions"
    with pytest.raises(ConfigError, match=text):
        setup_of("strategy=reinforce", "search_space=mlp", "strategy.convolution_bias=0.25")
    setup_of("strategy=reinforce", "search_space=micro_cell", "strategy.convolution_bias=0.25")


def test_ienas_survives_accuracies_of_nothing() -> None:
    reward = IEnasReward(window=10, threshold=0.7, penalty=0.01)
    assert [reward(score) for score in (0.0, -0.5, 0.0, 0.3)] == [0.0, 0.0, 0.0, 0.3]


def test_ienas_is_refused_where_less_is_better() -> None:
    with pytest.raises(ConfigError, match=r"^strategy\.reward=ienas: divides by .* use reward=enas$"):
        setup_of("strategy=reinforce_ienas", "objective.metric=flops", "objective.mode=min")
    setup_of("strategy=reinforce", "objective.metric=flops", "objective.mode=min")


# Learning.


@pytest.mark.parametrize("reward", ["enas", "ienas"])
def test_good_words_become_probable(reward: Any) -> None:
    """Not the best word of all: the policy settles on one of the good ones, and does not leave it any more."""
    space = words()
    mean = float(np.mean([value(word) for word in space.words]))
    best = max(map(value, space.words))
    ends = []
    for seed in range(5):
        proposals = play(policy(space, seed, reward=reward), 400)
        ends.append(float(np.mean([value(p.genome) for p in proposals[-50:]])))
    assert np.mean(ends) > mean + 0.6 * (best - mean), ends


def test_low_losses_become_probable() -> None:
    strategy = policy(words(), mode="min")
    proposals = play(strategy, 400)
    first, last = (np.mean([value(p.genome) for p in part]) for part in (proposals[:50], proposals[-50:]))
    assert last < 0.5 * first


def test_what_fails_is_avoided() -> None:
    strategy = policy(words())
    begun = []
    for number in range(400):
        (proposal,) = strategy.ask(1)
        bad = proposal.genome[0] == "a"
        begun.append(bad)
        status = "failed" if number % 2 else "infeasible"
        told = [Measurement(number, 0, status, error="no")] if bad else ok(number, value(proposal.genome))
        strategy.tell(Trial(number, proposal), told)
    assert sum(begun[:50]) > 10
    assert sum(begun[-50:]) < 5


def test_there_is_a_step_after_every_few_trials() -> None:
    strategy = policy(words(), update_every=4)
    assert strategy.initial == 4
    play(strategy, 3)
    assert strategy.notes() == {"entropy": [], "baseline": []}
    play(strategy, 6, start=3)
    notes = strategy.notes()
    assert [len(curve) for curve in notes.values()] == [2, 2]
    assert all(0 < entropy < 6 for entropy in notes["entropy"])


def test_a_clipped_gradient_still_learns() -> None:
    proposals = play(policy(words(), clip=0.001), 400)
    first, last = (np.mean([value(p.genome) for p in part]) for part in (proposals[:50], proposals[-50:]))
    assert last > first


def test_trials_in_flight_may_be_told_in_any_order() -> None:
    """What is learned is of the genome told: with one step on all of them, the order changes the baseline alone."""
    ends = []
    for order in (range(8), reversed(range(8))):
        strategy = policy(words(), update_every=8)
        asked = strategy.ask(8)
        for number in order:
            strategy.tell(Trial(number, asked[number]), ok(number, 0.5))
        ends.append([p.genome for p in strategy.ask(20)])
    assert ends[0] == ends[1]


# Drawing.


@variants
def test_a_draw_changes_nothing(strategy: str) -> None:
    plain = setup_of(f"strategy={strategy}", "search_space=nasbench201", "deduplicate=never")
    drawn = setup_of(f"strategy={strategy}", "search_space=nasbench201", "deduplicate=never")
    assert isinstance(drawn.strategy, Reinforce)
    rng = np.random.default_rng(3)
    first = drawn.strategy.draw(rng)
    drawn.space.validate(first)
    for _ in range(20):
        expected, found = (trajectory(setup.strategy, setup, 3) for setup in (plain, drawn))
        assert found == expected
        for _ in range(3):
            drawn.space.validate(drawn.strategy.draw(rng))


def test_a_draw_follows_the_generator_and_the_policy() -> None:
    strategy = policy(words())
    before = [strategy.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert before == [strategy.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(before)) > 10
    play(strategy, 400)
    after = [strategy.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([value(word) for word in after]) > np.mean([value(word) for word in before]) + 0.1


# Repeating itself.


def test_the_number_of_threads_makes_no_difference_and_stays() -> None:
    check_threads(lambda: proposals_of(60))


def test_global_generators_and_modes_of_torch_are_left_alone() -> None:
    check_generators_and_modes(lambda: proposals_of(40))


def proposals_of(count: int) -> list[Proposal]:
    """The first of the strategy on the landscape."""
    setup = setup_of("strategy=reinforce", "search_space=nasbench201")
    return trajectory(setup.strategy, setup, count)


def test_torch_is_not_imported_before_something_is_asked() -> None:
    code = (
        "import sys\n"
        "from tests.support import setup_of\n"
        "setup_of('strategy=reinforce')\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


# On a real table.


@pytest.mark.slow
@variants
def test_it_beats_random_search_on_nasbench201(strategy: str) -> None:
    """One-sided Mann-Whitney U test over 8 seeds of 500 trials each."""
    from scipy.stats import mannwhitneyu

    ours, random_search = ([best_of(name, seed) for seed in range(8)] for name in (strategy, "random"))
    assert mannwhitneyu(ours, random_search, alternative="greater").pvalue < 0.05


def best_of(strategy: str, seed: int) -> float:
    """The highest validation accuracy of CIFAR-10 in 500 trials."""
    setup = setup_of(
        f"strategy={strategy}", "search_space=nasbench201", "evaluator=table", "dataset=cifar10", f"seed={seed}"
    )
    setup.evaluator.prepare()
    proposals = trajectory(setup.strategy, setup, 500)
    told = (measure(setup, Trial(number, proposal)) for number, proposal in enumerate(proposals))
    return max(map(Objective().score, told))
