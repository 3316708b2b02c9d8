"""ASHA, successive halving and Hyperband: who is promoted and when, against the published rules spelled out anew."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Measurement, Objective, Proposal, Strategy, Trial
from nasrun.spaces.mlp.space import Mlp
from nasrun.strategies.multi_fidelity.asha import Asha
from nasrun.strategies.multi_fidelity.hyperband import SuccessiveHalving
from nasrun.strategies.multi_fidelity.rungs import Rungs
from nasrun.strategies.random import Random
from nasrun.strategies.wrappers import Deduplicate

SPACE = Mlp()


def asha(seed: int = 0, **options: Any) -> Asha:
    return Asha(SPACE, Objective(), np.random.default_rng(seed), **options)


def halving(seed: int = 0, **options: Any) -> SuccessiveHalving:
    return SuccessiveHalving(SPACE, Objective(), np.random.default_rng(seed), **options)


def told(strategy: Strategy, number: int, proposal: Proposal, score: float | None) -> None:
    failed = Measurement(number, 0, "failed", error="no")
    fine = Measurement(number, 0, "ok", {"val_accuracy": score if score is not None else 0.0})
    strategy.tell(Trial(number, proposal), [failed if score is None else fine])


def run(strategy: Strategy, scores: Sequence[float | None]) -> list[Proposal]:
    """Ask one at a time and tell at once; the n-th trial has the n-th score."""
    proposals: list[Proposal] = []
    for score in scores:
        [proposal] = strategy.ask(1)
        told(strategy, len(proposals), proposal, score)
        proposals.append(proposal)
    return proposals


@pytest.mark.parametrize(
    ("options", "budgets"),
    [
        ((1, 9, 3, None), (1, 3, 9)),
        ((1, 81, 3, None), (1, 3, 9, 27, 81)),
        ((2, 81, 3, None), (3, 9, 27, 81)),
        ((1, 100, 4, None), (1, 6, 25, 100)),
        ((1, 3, 2, None), (1, 3)),
        ((4, 108, 3, None), (4, 12, 36, 108)),
        ((1, 9, 3, [12, 200]), (12, 200)),
    ],
)
def test_budgets_of_the_rungs(options: tuple[int, int, int, list[int] | None], budgets: tuple[int, ...]) -> None:
    assert Rungs(*options).budgets == budgets


def test_the_first_promotions() -> None:
    proposals = run(asha(), [0.1, 0.3, 0.2, 0.9, 0.5, 0.4, 0.6, 0.8, 0.7])
    first, promoted = proposals[0], proposals[3]
    assert (first.budget, first.parent, first.warm_start, first.horizon, first.origin) == (1, None, "none", 9, "start")
    assert promoted == Proposal(proposals[1].genome, {}, 3, 1, "continue", "promote", horizon=9)
    # As the paper has it, a newcomer that leads its rung goes on at once (4, 6). Then three are at the second rung, the
    # best of them 3.
    assert [p.parent for p in proposals] == [None, None, None, 1, None, 4, None, 6, 3]
    assert [p.budget for p in proposals] == [1, 1, 1, 3, 1, 3, 1, 3, 9]


class Published:
    """Algorithm 2 as in the paper, implemented by a full search at each call."""

    def __init__(self, eta: int, rungs: int) -> None:
        self.eta, self.rungs = eta, [{} for _ in range(rungs)]  # type: ignore[var-annotated]
        self.promoted: list[set[int]] = [set() for _ in range(rungs)]

    def next(self) -> tuple[int, int] | None:
        """The trial to promote, and its rung."""
        for rung in reversed(range(len(self.rungs) - 1)):
            scores = self.rungs[rung]
            ranked = sorted(scores, key=lambda trial: (-scores[trial], trial))
            for trial in ranked[: len(ranked) // self.eta]:
                if trial not in self.promoted[rung] and scores[trial] > -np.inf:
                    self.promoted[rung].add(trial)
                    return trial, rung
        return None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.integers(0, 20), min_size=20, max_size=80),
    st.integers(1, 5),
    st.integers(2, 4),
    st.randoms(use_true_random=False),
)
def test_proposals_are_those_of_the_published_algorithm(
    scores: list[int | None], in_flight: int, eta: int, random: Any
) -> None:
    """With any number in flight, told in any order; and no checkpoint is missing when it is gone on from."""
    strategy, published = asha(eta=eta, max_budget=eta**2), Published(eta, 3)
    waiting: list[Trial] = []
    needed: dict[int, bool] = {}
    for number, score in enumerate(scores):
        [proposal] = strategy.ask(1)
        expected = published.next()
        if expected is None:
            assert (proposal.origin, proposal.parent, proposal.budget) == ("start", None, 1)
        else:
            trial, rung = expected
            assert (proposal.parent, proposal.budget) == (trial, eta ** (rung + 1))
            assert needed[trial]
        waiting.append(Trial(number, proposal))
        if len(waiting) == in_flight:
            trial_told = waiting.pop(random.randrange(in_flight))
            told(strategy, *trial_told, None if score is None else score / 20)
            rung = {1: 0, eta: 1, eta**2: 2}[trial_told.proposal.budget or 0]
            published.rungs[rung][trial_told.number] = -np.inf if score is None else score / 20
            needed[trial_told.number] = True
            needs = set(strategy.required_checkpoints())
            needed = {trial: kept and trial in needs for trial, kept in needed.items()}


@pytest.mark.parametrize("limit", [9, 20])
def test_a_limit_of_architectures_ends_the_search_and_frees_checkpoints(limit: int) -> None:
    strategy, free = asha(configurations=limit), asha()
    rng = np.random.default_rng(1)
    kept: dict[int, set[int]] = {}
    number = 0
    while not strategy.done:
        [proposal] = strategy.ask(1)
        if number < limit:
            assert free.ask(1) == [proposal], "the same search as long as there are architectures to begin"
        if proposal.parent is not None:
            assert all(proposal.parent in needs for trial, needs in kept.items() if trial >= proposal.parent)
        score = float(rng.random())
        told(strategy, number, proposal, score)
        if number < limit:
            told(free, number, proposal, score)
        kept[number] = set(strategy.required_checkpoints())
        number += 1
    assert strategy.ask(3) == []
    assert sum(map(len, kept.values())) < number * (number + 1) / 3
    assert set(strategy.required_checkpoints()) == {strategy.selected_trial()}


def test_failed_trials_are_never_promoted() -> None:
    proposals = run(asha(), [None, None, None, None, None, None, 0.1, 0.2, 0.3])
    assert [p.parent for p in proposals] == [None] * 7 + [6, None]
    proposals = run(halving(configurations=9), [None] * 8 + [0.5, None])
    assert [p.parent for p in proposals] == [None] * 9 + [8]


def test_the_result_is_the_best_at_the_highest_rung() -> None:
    strategy = asha()
    assert strategy.selected_trial() is None
    run(strategy, [0.1, 0.9, 0.2])
    assert strategy.selected_trial() == 1
    [proposal] = strategy.ask(1)
    told(strategy, 3, proposal, 0.5)
    assert strategy.selected_trial() == 3, "worse, but trained for longer"
    assert 3 in strategy.required_checkpoints()
    assert strategy.notes()["rungs"][0] == {"budget": 1, "trials": [1, 2, 0], "promoted": [1]}


def test_what_was_reused_or_turned_down_is_no_member() -> None:
    strategy = asha()
    first, second, third = strategy.ask(3)
    told(strategy, 0, first, 0.9)
    told(strategy, 1, second._replace(reuse_of=0), 0.9)
    strategy.reject(third, "over a limit")
    fourth, fifth = strategy.ask(2)
    assert (fourth.origin, fifth.origin) == ("start", "start")
    told(strategy, 2, fourth, 0.1)
    told(strategy, 3, fifth, 0.2)
    assert [p.parent for p in strategy.ask(2)] == [0, None]
    limited = asha(configurations=3)
    for number, proposal in enumerate(limited.ask(3)):
        told(limited, number, proposal, 0.1) if number < 2 else limited.reject(proposal, "over a limit")
    assert not limited.done
    [another] = limited.ask(1)
    assert another.origin == "start"


@pytest.mark.parametrize("kind", [asha, halving])
@pytest.mark.parametrize("mode", ["reuse", "resample"])
def test_a_promotion_is_never_a_duplicate(kind: Any, mode: Any) -> None:
    """A space of 16 networks, so that every other proposal is a duplicate."""
    small = Mlp(min_depth=1, max_depth=1, min_width=1, max_width=16)
    inner = (Asha if kind is asha else SuccessiveHalving)(small, Objective(), np.random.default_rng(0),
                                                          configurations=16)  # fmt: skip
    strategy = Deduplicate(inner, small, mode)
    trials: list[Proposal] = []
    parents: list[int] = []
    scores: dict[int, float] = {}
    while len(trials) < 60:
        asked = strategy.ask(1)
        if not asked:
            break
        [proposal] = asked
        number = len(trials)
        trials.append(proposal)
        if proposal.origin == "promote":
            assert proposal.reuse_of is None
            parents.append(proposal.parent or 0)
            assert trials[parents[-1]].reuse_of is None
        scores[number] = scores[proposal.reuse_of] if proposal.reuse_of is not None else (number * 7 % 11) / 11
        told(strategy, number, proposal, scores[number])
    promoted = [trials[parent].genome for parent in parents if trials[parent].budget == 1]
    assert len(promoted) >= 2
    assert len(set(promoted)) == len(promoted), "no architecture is promoted twice"
    assert any(p.reuse_of is not None for p in trials) == (mode == "reuse")


def test_successive_halving_waits_for_the_whole_rung() -> None:
    strategy = halving(configurations=10)
    assert strategy.length == 10 + 3 + 1
    first = strategy.ask(20)
    assert len(first) == 10
    scores = [0.3, 0.1, 0.9, 0.2, 0.8, 0.4, 0.7, 0.0, 0.5, 0.6]
    for number in reversed(range(10)):
        assert strategy.ask(1) == []
        told(strategy, number, first[number], scores[number])
    assert set(strategy.required_checkpoints()) == {2, 4, 6}
    second = strategy.ask(20)
    assert [(p.parent, p.budget, p.warm_start, p.horizon) for p in second] == [
        (parent, 3, "continue", 9) for parent in (2, 4, 6)
    ]
    for number, proposal in enumerate(second, 10):
        told(strategy, number, proposal, [0.5, 0.7, 0.6][number - 10])
    [last] = strategy.ask(20)
    assert (last.parent, last.budget) == (11, 9)
    told(strategy, 13, last, 0.1)
    assert strategy.done
    assert strategy.ask(1) == []
    assert strategy.selected_trial() == 13
    assert set(strategy.required_checkpoints()) == {13}
    assert [row["promoted"] for row in strategy.notes()["rungs"]] == [[2, 4, 6], [11], []]


def test_hyperband_has_the_brackets_of_its_paper() -> None:
    """Algorithm 1 of Li et al. 2018 with R = 81 and eta = 3."""
    strategy = halving(brackets="hyperband", max_budget=81, configurations=None)
    expected = [
        [(1, 81), (3, 27), (9, 9), (27, 3), (81, 1)],
        [(3, 34), (9, 11), (27, 3), (81, 1)],
        [(9, 15), (27, 5), (81, 1)],
        [(27, 8), (81, 2)],
        [(81, 5)],
    ]
    rng, number = np.random.default_rng(0), 0
    for bracket in [*expected, expected[0]]:
        for place, (budget, size) in enumerate(bracket):
            proposals = strategy.ask(1000)
            assert [p.budget for p in proposals] == [budget] * size
            assert {p.warm_start for p in proposals} == {"continue" if place else "none"}
            for proposal in proposals:
                told(strategy, number, proposal, float(rng.random()))
                number += 1
    assert not strategy.done


def test_evolution_begins_with_mutations_of_the_best() -> None:
    strategy = asha(sampler="evolution")
    proposals = run(strategy, [0.1, 0.9, 0.2])
    [promoted] = strategy.ask(1)
    for _ in range(20):
        [proposal] = strategy.ask(1)
        assert proposal.origin in SPACE.mutations
        assert proposal.genome != proposals[1].genome
        assert (proposal.parent, proposal.warm_start, proposal.budget) == (None, "none", 1)
    assert promoted.parent == 1


def test_epochs_of_a_plan() -> None:
    assert asha().epochs(130) == pytest.approx(90 * 1 + 30 * 2 + 10 * 6)
    assert halving(configurations=16).epochs(24) == 16 * 1 + 5 * 2 + 1 * 6
    assert halving(configurations=16).epochs(10) == 10
    hyperband = halving(brackets="hyperband", configurations=None)
    assert hyperband.epochs(9 + 3 + 1 + 5 + 1 + 3) == 9 + 6 + 6 + 15 + 6 + 27


@pytest.mark.parametrize("kind", ["asha", "evolution", "halving", "hyperband"])
def test_more_is_found_than_by_random_search_with_as_many_epochs(kind: str) -> None:
    """Random search trains 12 architectures to the end. Scores are of a hidden optimum, with noise that falls with the
    epochs; what counts is the best among those that were trained to the end."""
    optimum = np.random.default_rng(3).random(len(SPACE.encode(SPACE.sample(np.random.default_rng(0)))))

    def best(strategy: Strategy, seed: int) -> float:
        noise, left, found = np.random.default_rng(seed + 100), 12 * 9, 0.0
        epochs: list[int] = []
        while left > 0 and not strategy.done:
            [proposal] = strategy.ask(1)
            epochs.append(proposal.budget or 9)
            left -= epochs[-1] - (epochs[proposal.parent] if proposal.parent is not None else 0)
            quality = 1 - float(np.mean((SPACE.encode(proposal.genome) - optimum) ** 2))
            told(strategy, len(epochs) - 1, proposal, quality + float(noise.normal()) * 0.02 / epochs[-1])
            found = max(found, quality) if epochs[-1] == 9 else found
        return found

    def made(seed: int) -> Strategy:
        if kind in ("asha", "evolution"):
            return asha(seed, sampler="evolution" if kind == "evolution" else "random")
        single = kind == "halving"
        return halving(seed, configurations=45 if single else None, brackets="single" if single else "hyperband")

    ours = [best(made(seed), seed) for seed in range(20)]
    theirs = [best(Random(SPACE, Objective(), np.random.default_rng(seed)), seed) for seed in range(20)]
    assert sum(a > b for a, b in zip(ours, theirs, strict=True)) >= 15
    assert np.mean(ours) > np.mean(theirs) + 0.01


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_budget": 2}, "max_budget=2: leaves only one rung.*must be >= min_budget . eta = 3"),
        ({"min_budget": 10}, "max_budget=9: "),
        ({"budgets": [9]}, r"budgets=\[9\]: expected two"),
        ({"budgets": [9, 3]}, r"budgets=\[9, 3\]: expected two"),
        ({"configurations": 8}, "configurations=8: none would reach.*1, 3, 9; must be >= 9"),
        ({"configurations": None}, "configurations=null: "),
        ({"brackets": "hyperband"}, "configurations=16: brackets=hyperband sets its own"),
    ],
)
def test_mistakes(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="^" + text):
        halving(**options)
