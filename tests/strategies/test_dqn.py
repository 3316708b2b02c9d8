"""Strategy dqn: that it learns, explores as it is told, and repeats itself."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome, Measurement, Proposal, Token, Trial
from nasrun.core.options import ConfigError
from nasrun.strategies.controllers.vocabulary import UNKNOWN, TokenVocabulary
from tests.strategies.torch_state import check_generators_and_modes, check_threads
from tests.strategies.words import Words, agent, ok, play, value, words
from tests.support import options, setup_of, trajectory

kinds = pytest.mark.parametrize("kind", ["dense", "lstm"])
variants = pytest.mark.parametrize("strategy", ["dqn", "dqn_single", "dqn_lstm", "dqn_lstm_single"])


@variants
def test_the_best_word_is_found_and_kept(strategy: str) -> None:
    chosen = setup_of(f"strategy={strategy}").config["strategy"]
    given = {name: entry for name, entry in chosen.items() if name not in ("_target_", "epsilon_end")}
    space = words()
    proposals = play(agent(space, epsilon_end=0.0, **given), 200)
    assert {p.genome for p in proposals[-50:]} == {max(space.words, key=value)}
    assert {p.origin for p in proposals[-50:]} == {"greedy"}


# Rewards.


def rewards(given: list[float], told: list[float | None], mode: str = "max", **more: Any) -> list[float]:
    """The rewards of some scores after some trials; None is a failed one."""
    strategy = agent(words(), warm_up=100, mode=mode, **more)
    for number, score in enumerate(told):
        (proposal,) = strategy.ask(1)
        failed = [Measurement(number, 0, "failed", error="broken")]
        strategy.tell(Trial(number, proposal), failed if score is None else ok(number, score))
    return strategy.rewards(np.array(given)).tolist()


def test_rewards() -> None:
    told = [0.1, 0.9, None, 0.5, 0.5]
    root = 12**0.5
    assert rewards([0.05, 0.1, 0.5, 0.9], told) == pytest.approx([-0.5 * root, -0.25 * root, 0.25 * root, 0.5 * root])
    spread = float(np.std([0.1, 0.9, 0.5, 0.5]))
    assert rewards([0.5, 0.9], told, reward="standard") == pytest.approx([0.0, 0.4 / spread])
    assert rewards([0.5, 0.9], told, reward="score") == [0.5, 0.9]
    assert rewards([0.3], [0.3, 0.3], reward="standard") == [0.0]


def test_failed_trials_have_the_reward_of_the_penalty() -> None:
    told = [0.1, 0.9, None]
    failed = [float("nan")]
    assert rewards(failed, told, reward="score") == [0.1]
    assert rewards(failed, told, reward="score", penalty=-3.0) == [-3.0]
    assert rewards(failed, told) == rewards([0.1], told)
    # Of a loss less is better: a penalty of 5 is a score of -5.
    assert rewards(failed, [0.1, 0.9], mode="min", reward="score", penalty=5.0) == [-5.0]
    assert rewards(failed, [0.1, 0.9], mode="min", reward="score") == [-0.9]


def test_what_fails_is_avoided() -> None:
    strategy = agent(words(), epsilon_end=0.0)
    for number in range(200):
        (proposal,) = strategy.ask(1)
        bad = proposal.genome[0] == "a"
        status = "failed" if number % 2 else "infeasible"
        told = [Measurement(number, 0, status, error="no")] if bad else ok(number, value(proposal.genome))
        strategy.tell(Trial(number, proposal), told)
    assert strategy.ask(1)[0].genome[0] != "a"


# Exploration.


def test_the_warm_up_is_random_and_epsilon_then_falls() -> None:
    strategy = agent(words(), warm_up=15, epsilon_start=0.8, epsilon_end=0.2, epsilon_episodes=30)
    assert strategy.initial == 15
    epsilons = []
    for number in range(60):
        epsilons.append(strategy.epsilon)
        (proposal,) = strategy.ask(1)
        assert (proposal.origin == "sample") == (number < 15)
        strategy.tell(Trial(number, proposal), ok(number, value(proposal.genome)))
    assert epsilons[15] == pytest.approx(0.8)
    assert epsilons[30] == pytest.approx(0.5)
    assert epsilons[45:] == pytest.approx([0.2] * 15)


@pytest.mark.parametrize(("epsilon", "origins"), [(0.0, {"greedy"}), (1.0, {"explore"})])
def test_epsilon_is_the_probability_of_a_random_token(epsilon: float, origins: set[str]) -> None:
    space = words()
    proposals = play(agent(space, epsilon_start=epsilon, epsilon_end=epsilon, warm_up=5), 60)[5:]
    assert {p.origin for p in proposals} == origins
    if epsilon:
        # The first letter is uniform over "a", "b" and "x".
        counts = [sum(p.genome[0] == letter for p in proposals) for letter in "abx"]
        assert min(counts) > 8


def test_infeasible_trials_are_not_counted_as_episodes() -> None:
    strategy = agent(words(), warm_up=10)
    for number in range(30):
        (proposal,) = strategy.ask(1)
        assert proposal.origin == "sample"
        strategy.tell(Trial(number, proposal), [Measurement(number, 0, "infeasible", error="over a constraint")])
    for number in range(30, 41):
        (proposal,) = strategy.ask(1)
        assert (proposal.origin == "sample") == (number < 40)
        strategy.tell(Trial(number, proposal), ok(number, value(proposal.genome)))


def test_until_the_warm_up_is_told_proposals_are_random() -> None:
    strategy = agent(words(), warm_up=5)
    asked = strategy.ask(12)
    assert [p.origin for p in asked] == ["sample"] * 12
    for number in reversed(range(12)):
        strategy.tell(Trial(number, asked[number]), ok(number, value(asked[number].genome)))
    assert "sample" not in {p.origin for p in strategy.ask(12)}


# TokenVocabulary.


@pytest.mark.parametrize("name", options("search_space"))
def test_the_slots_of_every_space_are_found(name: str) -> None:
    space = setup_of(f"search_space={name}").space
    slots = TokenVocabulary(space)
    rng = np.random.default_rng(0)
    for _ in range(300):
        genome = space.sample(rng)
        assert len(genome) <= slots.positions
        found = [slots.of(position, [token])[0] for position, token in enumerate(genome)]
        assert UNKNOWN not in found
        assert max(found) < slots.count
    first = space.choices(())
    assert len(set(slots.of(0, first))) == len(first)


class Hidden(Words):
    """A letter that comes after one prefix in a million only, and makes the word longer: no walk meets it."""

    def __init__(self) -> None:
        super().__init__([])
        self.rare: Genome = tuple("babaabbbabababbaabab")

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        if prefix[:20] == self.rare:
            return ("z",) if len(prefix) < 25 else ()
        return ("a", "b") if len(prefix) < 20 else ()

    def sample(self, rng: np.random.Generator) -> Genome:
        if rng.random() < 0.2:
            return (*self.rare, *"zzzzz")
        return tuple("ab"[int(bit)] for bit in rng.integers(2, size=20))


@kinds
def test_tokens_and_lengths_that_no_walk_meets_are_survived(kind: Any) -> None:
    space = Hidden()
    slots = TokenVocabulary(space)  # type: ignore[arg-type]
    assert slots.positions == 20
    assert slots.of(22, ["z"]) == [UNKNOWN]
    proposals = play(agent(space, controller=kind, epsilon_end=0.0, epsilon_episodes=20, hidden=16), 60)
    assert (*space.rare, *"zzzzz") in {p.genome for p in proposals[:20]}


def test_words_of_one_letter_are_learned() -> None:
    space = Words([(letter,) for letter in "abcde"])
    for kind in ("dense", "lstm"):
        proposals = play(agent(space, controller=kind, epsilon_end=0.0), 130)
        assert proposals[-1].genome == max(space.words, key=value)


# Repeating itself.


@pytest.mark.parametrize("strategy", ["dqn", "dqn_lstm"])
def test_the_number_of_threads_makes_no_difference_and_stays(strategy: str) -> None:
    check_threads(lambda: proposals_of(strategy, 60))


@variants
def test_global_generators_and_modes_of_torch_are_left_alone(strategy: str) -> None:
    check_generators_and_modes(lambda: proposals_of(strategy, 40))


def proposals_of(strategy: str, count: int) -> list[Proposal]:
    """The first of a strategy on the landscape."""
    setup = setup_of(f"strategy={strategy}", "search_space=nasbench201")
    return trajectory(setup.strategy, setup, count)


def test_torch_is_not_imported_before_something_is_told() -> None:
    code = (
        "import sys\n"
        "from tests.support import setup_of\n"
        "setup = setup_of('strategy=dqn')\n"
        "assert setup.strategy.ask(3)\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^strategy\.epsilon_end=0\.5: must be <= epsilon_start=0\.2"):
        setup_of("strategy=dqn", "strategy.epsilon_start=0.2", "strategy.epsilon_end=0.5")


def test_the_four_variants_differ_in_what_their_names_say() -> None:
    chosen = {name: setup_of(f"strategy={name}").config["strategy"] for name in options("strategy") if "dqn" in name}
    assert {name: (c["controller"], c["target"]) for name, c in chosen.items()} == {
        "dqn": ("dense", True),
        "dqn_single": ("dense", False),
        "dqn_lstm": ("lstm", True),
        "dqn_lstm_single": ("lstm", False),
    }
