"""A space of a few short words, on which the true values of Q-learning are known."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Proposal, Token, Trial
from nasrun.strategies.dqn import DQN
from tests.support import with_options


class Words:
    """The part of a space that Q-learning sees: words of letters, `choices` being what the rule says."""

    def __init__(self, words: Sequence[Genome]) -> None:
        self.words = list(words)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        after = [word[len(prefix)] for word in self.words if len(word) > len(prefix) and word[: len(prefix)] == prefix]
        return tuple(dict.fromkeys(after))

    def sample(self, rng: np.random.Generator) -> Genome:
        return self.words[int(rng.integers(len(self.words)))]

    def fit(self, genome: Genome) -> Genome:
        return genome


def words() -> Words:
    """Words of one to three letters: "x" ends one at once, and after "b" there is no "a"."""
    longer = [word for word in product("ab", "abc", "abc") if "ba" not in "".join(word)]
    return Words([("x",), *longer])


def value(word: Genome) -> float:
    """A score of a word in [0, 1], unlike for unlike words."""
    return float(np.random.default_rng([ord(str(letter)) for letter in word]).random())


def agent(space: Any, seed: int = 0, mode: Any = "max", **given: Any) -> DQN:
    return with_options(DQN, space, Objective("val_accuracy", mode), np.random.default_rng(seed), **given)


def ok(number: int, score: float) -> list[Measurement]:
    return [Measurement(number, 0, "ok", {"val_accuracy": score})]


def play(strategy: DQN, episodes: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    for number in range(episodes):
        (proposal,) = strategy.ask(1)
        proposals.append(proposal)
        strategy.tell(Trial(number, proposal), ok(number, value(proposal.genome)))
    return proposals
