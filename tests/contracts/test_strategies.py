"""One contract for every strategy in conf/strategy: a new option enrols itself."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nasrun.config import build
from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.strategies.checked import Checked
from tests.forks import Forks, forks
from tests.support import FITTING, measure, options, setup_of, strategy_setup, trajectory

GOLDEN = Path(__file__).parent.parent / "golden"
COUNT = 60

SEEDLESS = ("grid", "fixed", "derived")
"""Strategies that draw nothing at their defaults, or once, and learn nothing."""

SPARING = ("asha", "successive_halving", "hyperband")
"""Strategies that draw at random, and gain by not training everything to the end: nothing on a landscape where nothing
is trained. What they gain is in tests/strategies/test_asha.py."""

SHORT_GENOMES = ("dqn_single", "dqn_lstm", "dqn_lstm_single")
"""Strategies that within a few hundred trials reliably beat chance only on short genomes: values propagate back along a
genome step by step, which is slow at the 25 steps of the default space."""

EVERY_MEASUREMENT = ("asnn",)
"""Strategies that learn from each measurement and not from their mean."""

LEARNING_LONG = ("nao",)
"""Strategies whose networks take seconds for each batch of proposals."""

TRIALS = {"dqn": 250, "pbt": 400, "nao": 80}
"""Number of trials after which strategies are compared with random search, if 120 are too few to learn from, or
more than it takes."""

strategies = pytest.mark.parametrize("strategy", options("strategy"))


@cache
def digest(strategy: str) -> dict[str, object]:
    """A pinned trajectory: the last genomes in clear, all of them as a hash."""
    setup = strategy_setup(strategy, "seed=7", learns=True)
    proposals = trajectory(setup.strategy, setup, COUNT)
    lines = [f"{setup.space.format(p.genome)} {p.origin} {p.parent} {p.reuse_of}" for p in proposals]
    return {"sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(), "last": lines[-3:]}


@strategies
def test_golden_trajectory(strategy: str) -> None:
    """A changed trajectory changes every user's results: `python -m tests.golden` pins it anew, on purpose only."""
    path = GOLDEN / f"{strategy}.json"
    assert path.is_file(), f"no pinned trajectory for {strategy}: run python -m tests.golden"
    assert digest(strategy) == json.loads(path.read_text())


@strategies
def test_equal_measurements_are_a_tie_however_many_they_are(strategy: str) -> None:
    """A search is the same whether a value was measured once or, in some trials, two or three times."""

    def proposals(most: int) -> list[Proposal]:
        setup = strategy_setup(strategy, "seed=3")
        made: list[Proposal] = []
        while len(made) < 40 and not setup.strategy.done:
            asked = setup.strategy.ask(1)
            if not asked:
                break
            for proposal in asked:
                trial = Trial(len(made), proposal)
                made.append(proposal)
                [one] = measure(setup, trial)
                coarse = {name: round(value, 1) for name, value in one.metrics.items()}  # so that many are equal
                repeats = range(1 + trial.number % most)
                setup.strategy.tell(trial, [one._replace(repeat=repeat, metrics=coarse) for repeat in repeats])
        return made

    assert proposals(1) == proposals(3) or strategy in EVERY_MEASUREMENT


@strategies
def test_the_same_seed_repeats_and_another_does_not(strategy: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        setup = strategy_setup(strategy, f"seed={seed}")
        runs.append(trajectory(setup.strategy, setup, 40))
    assert runs[0] == runs[1]
    assert (runs[0] != runs[2]) or strategy in SEEDLESS
    assert len(runs[0]) == 40


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Forks]:
    """Another process."""
    with forks("import torch; from tests.contracts.test_strategies import digest") as made:
        yield made


@strategies
def test_another_process_proposes_the_same(strategy: str, elsewhere: Forks) -> None:
    assert elsewhere.value(f"digest({strategy!r})") == digest(strategy)


@strategies
def test_global_generators_are_neither_used_nor_changed(strategy: str) -> None:
    import random

    setup = strategy_setup(strategy, "seed=1")
    np.random.seed(5)
    random.seed(5)
    before = np.random.get_state()[1].tolist(), random.getstate()
    first = trajectory(setup.strategy, setup, 30)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before
    setup = strategy_setup(strategy, "seed=1")
    np.random.seed(6)
    random.seed(6)
    assert trajectory(setup.strategy, setup, 30) == first


@strategies
def test_proposals_are_valid_and_at_most_as_many_as_asked(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "checked", Checked)  # held to what users' strategies may answer
    setup = strategy_setup(strategy)
    waiting: deque[Trial] = deque()
    number = 0
    for n in [1, 3, 0, 7, 2, 5, 1, 4, 6, 2] * 4:
        proposals = setup.strategy.ask(n)
        assert len(proposals) <= n
        for proposal in proposals:
            setup.space.validate(proposal.genome)
            json.dumps(proposal.hparams)
            waiting.append(Trial(number, proposal))
            number += 1
        assert waiting or not n or setup.strategy.done, "nothing to wait for, yet nothing proposed"
        # Tell some, the youngest first: strategies take tells out of order.
        for _ in range((len(waiting) + 1) // 2):
            trial = waiting.pop()
            setup.strategy.tell(trial, measure(setup, trial))
        setup.strategy.messages(), setup.strategy.required_checkpoints(), setup.strategy.selected_trial()
    setup.strategy.notes()
    assert number >= 30


@strategies
def test_failed_trials_are_survived(strategy: str) -> None:
    setup = strategy_setup(strategy)
    number = 0
    for _ in range(60):
        for proposal in setup.strategy.ask(2):
            trial = Trial(number, proposal)
            failed = [Measurement(number, 0, "failed", error="broken")]
            infeasible = [Measurement(number, 0, "infeasible", error="not in the table")]
            told = (failed, infeasible, measure(setup, trial))[number % 3]
            setup.strategy.tell(trial, told)
            number += 1
    assert number >= 60, "a strategy may wait for what is in flight, but it goes on"


@strategies
def test_all_trials_failing_is_survived(strategy: str) -> None:
    setup = strategy_setup(strategy)
    for number in range(50):
        for proposal in setup.strategy.ask(1):
            setup.strategy.tell(Trial(number, proposal), [Measurement(number, 0, "failed", error="broken")])
    assert setup.strategy.ask(1)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [name for name in options("strategy") if name not in SEEDLESS + SPARING])
def test_learning_strategies_beat_random_search_on_the_landscape(strategy: str) -> None:
    """Mean best of 12 seeds after as many trials (of 6 for those that learn long); random search itself is the bar."""
    if strategy == "random":
        bests = {seed: best_of(strategy, strategy, seed) for seed in range(2)}
        assert bests[0] != bests[1]
        return
    seeds = 6 if strategy in LEARNING_LONG else 12
    ours, random_search = ([best_of(name, strategy, seed) for seed in range(seeds)] for name in (strategy, "random"))
    wins = sum(a > b for a, b in zip(ours, random_search, strict=True))
    assert np.mean(ours) > np.mean(random_search)
    assert wins >= seeds * 5 // 6, f"{strategy} won {wins} of {seeds} seeds"


def best_of(strategy: str, rival: str, seed: int) -> float:
    """The best that a strategy finds on the search space that fits its rival."""
    fitting = FITTING.get(rival, ())[: None if strategy == rival else 1]
    if rival in SHORT_GENOMES:
        fitting = ("search_space=nasbench201",)
    return best_on(strategy, fitting, TRIALS.get(rival, 120), seed)


@cache  # that of random search is the bar of many strategies
def best_on(strategy: str, words: tuple[str, ...], count: int, seed: int) -> float:
    """The best of so many trials of a strategy."""
    setup = setup_of(f"strategy={strategy}", *words, f"seed={seed}", "evaluator.noise=0")
    proposals = trajectory(setup.strategy, setup, count)
    trials = [Trial(number, proposal) for number, proposal in enumerate(proposals)]
    return max(Objective().score(measure(setup, trial)) for trial in trials)
