"""The search within a budget of time: its plan, its rungs, and how sure its choice is."""

import numpy as np
import pytest

from nasrun.core import Genome, Measurement, Objective, Proposal, Trial, seeding
from nasrun.core.choice import noise_of_pairs, noise_of_share, probability_of_best
from nasrun.strategies.random import Random
from nasrun.strategies.timed.plan import Plan, make_plan, search_seconds
from nasrun.strategies.timed.strategy import Timed
from tests.support import setup_of

PLAN = Plan(6, (2.0, 6.0), (6, 2), 1, 54.0, None)


def timed(seed: int = 0, patience: int | None = None, plan: Plan = PLAN) -> Timed:
    space = setup_of().space
    rng = seeding.generator(seed, seeding.Purpose.STRATEGY)
    strategy = Timed(Random(space, Objective(), rng), space, Objective(), patience)
    strategy.epoch_seconds = lambda genome: 1.0
    strategy.follow(plan)
    return strategy


def run(strategy: Timed, score: dict[int, float] | None = None, n: int = 1) -> list[Proposal]:
    """Ask and tell to the end, with scores by trial (default: the later, the worse)."""
    proposals: list[Proposal] = []
    while asked := strategy.ask(n):
        for proposal in asked:
            number = len(proposals)
            proposals.append(proposal)
            value = (score or {}).get(number, 0.5 / (number + 1))
            failed = value != value
            measurement = Measurement(
                number, 0, "failed" if failed else "ok", {} if failed else {"val_accuracy": value}
            )
            strategy.tell(Trial(number, proposal), [measurement])
    return proposals


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_best_of_the_lowest_rung_are_trained_on(n: int) -> None:
    strategy = timed()
    proposals = run(strategy, {2: 0.9, 4: 0.8, 6: 0.9, 7: 0.85, 8: 0.95}, n)
    assert [p.origin for p in proposals] == ["sample"] * 6 + ["repeat"] + ["promote"] * 2
    assert [p.budget for p in proposals] == [2] * 7 + [6] * 2
    assert {p.horizon for p in proposals} == {54}
    assert [p.parent for p in proposals[7:]] == [2, 4]
    assert all(p.warm_start == "continue" for p in proposals[7:])
    assert strategy.done
    assert strategy.selected_trial() == 8
    assert 8 in strategy.required_checkpoints()


def test_a_second_training_counts_half() -> None:
    strategy = timed()
    proposals = run(strategy, {0: 0.9, 1: 0.8, 2: 0.7, 3: 0.1, 4: 0.1, 5: 0.1, 6: 0.3})
    assert strategy.pairs == [(0.9, 0.3)]
    assert [p.parent for p in proposals[7:]] == [1, 2]  # 0.6 for the first


def test_what_an_architecture_gets_is_time() -> None:
    strategy = timed()
    seconds: dict[Genome, float] = {}

    def measured(genome: Genome) -> float:
        return seconds.setdefault(genome, 0.25 if len(seconds) % 2 else 4.0)

    strategy.epoch_seconds = measured
    proposals = run(strategy)
    for proposal in proposals:
        if proposal.origin == "sample":
            quick = seconds[proposal.genome] == 0.25
            assert (proposal.budget, proposal.horizon) == ((8, 216) if quick else (1, 14))


def test_another_is_begun_for_one_that_fails() -> None:
    nan = float("nan")
    strategy = timed()
    proposals = run(strategy, dict.fromkeys(range(5), nan))
    assert [p.origin for p in proposals] == ["sample"] * 11 + ["repeat"] + ["promote"] * 2
    assert strategy.done
    strategy = timed()
    assert len(run(strategy, dict.fromkeys(range(100), nan))) == 24
    assert strategy.done
    assert strategy.selected_trial() is None


def test_a_promotion_that_fails_leaves_what_was_there() -> None:
    strategy = timed()
    run(strategy, {7: float("nan"), 8: float("nan")})
    assert strategy.done
    assert strategy.selected_trial() == 0


def test_patience_ends_the_lowest_rung() -> None:
    proposals = run(timed(patience=2))
    assert [p.origin for p in proposals] == ["sample"] * 3 + ["repeat"] + ["promote"] * 2


def test_a_changed_plan_is_followed_from_then_on() -> None:
    strategy = timed()
    [first] = strategy.ask(1)
    strategy.tell(Trial(0, first), [Measurement(0, 0, "ok", {"val_accuracy": 0.5})])
    strategy.follow(PLAN._replace(candidates=2, survivors=(2, 2), repeats=0, rungs=(3.0, 6.0)))
    proposals = run(strategy)
    assert [p.origin for p in proposals] == ["sample", "promote", "promote"]
    assert [p.budget for p in proposals] == [3, 6, 6]


def test_a_speed_that_is_not_known_is_an_error() -> None:
    space = setup_of().space
    strategy = Timed(Random(space, Objective(), np.random.default_rng(0)), space, Objective())
    strategy.follow(PLAN)
    with pytest.raises(LookupError, match="not on record"):
        strategy.ask(1)


@pytest.mark.parametrize("epochs", [0.3, 2, 20, 60, 300, 5000])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_plan_fits_its_time(epochs: float, workers: int) -> None:
    seconds = 4.0 * epochs
    plan = make_plan(seconds, 4.0, 5000, workers)
    assert search_seconds(plan) / workers + plan.horizon - plan.rungs[-1] / workers <= seconds * 1.001
    assert plan.survivors[0] == plan.candidates
    assert len(plan.rungs) == len(plan.survivors)
    assert list(plan.rungs) == sorted(plan.rungs)
    assert plan.rungs[-1] <= plan.horizon


def test_a_larger_budget_has_more_candidates_and_a_small_one_one() -> None:
    counts = [make_plan(4.0 * epochs, 4.0, 5000).candidates for epochs in (2, 20, 100, 1000, 10_000)]
    assert counts[:2] == [1, 1]
    assert counts == sorted(counts)
    assert counts[-1] > 100


def test_epochs_of_large_data_are_parts_of_it() -> None:
    plan = make_plan(100.0, 25.0, 50_000)
    assert plan.epoch_images is not None
    assert plan.epoch_images % 128 == 0
    assert plan.epoch_images * 40 < 4 * 50_000 < plan.epoch_images * 80
    assert make_plan(1000.0, 1.0, 5000).epoch_images is None


def test_the_probability_of_the_best_is_that_of_draws() -> None:
    scores, noise = [0.70, 0.69, 0.67], 0.012
    rng = np.random.default_rng(0)
    drawn = rng.normal(scores, noise, (200_000, 3))
    assert probability_of_best(scores, noise) == pytest.approx((drawn.argmax(1) == 0).mean(), abs=0.004)
    assert probability_of_best([0.5], noise) == 1.0
    assert probability_of_best([0.5, 0.5], noise) == pytest.approx(0.5)
    assert probability_of_best([0.6, 0.5], 0.0) == 1.0


def test_noise_comes_from_pairs_or_from_the_images() -> None:
    rng = np.random.default_rng(1)
    pairs = [tuple(pair) for pair in rng.normal(0.7, 0.02, (4000, 2))]
    assert noise_of_pairs(pairs) == pytest.approx(0.02, rel=0.05)
    assert noise_of_pairs(pairs[:1]) is None
    assert noise_of_share(0.7, 480) == pytest.approx(0.0209, abs=1e-4)
    assert noise_of_share(1.0, 480) > 0


@pytest.mark.parametrize("origin", ["known", "sample"])
def test_the_one_that_there_is_time_for_takes_the_place_of_the_first_known_one(origin: str) -> None:
    setup = setup_of("search_space=staged_cnn", "strategy=aging_evolution")
    first, other = list(setup.space.known().values())[:2]
    plan = Plan(1, (2.0,), (1,), 0, 54.0, None, other if origin == "known" else None)
    strategy = Timed(setup.strategy, setup.space, Objective())
    strategy.epoch_seconds = lambda genome: 1.0
    strategy.follow(plan)
    [proposal] = run(strategy)
    assert (proposal.genome, proposal.origin) == (other if origin == "known" else first, "known")
    assert strategy.begins_known
    assert strategy.done
