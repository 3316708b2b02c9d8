"""The LSTM policy and REINFORCE: probabilities that add up, and gradients that are those of the expected reward."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nasrun.core import Genome, StrategyWrapper, Trial
from nasrun.strategies.controllers.lstm_policy import Episode, LSTMPolicy, PolicyLearner, TokenKinds
from nasrun.strategies.controllers.settings import PolicySettings
from nasrun.strategies.controllers.vocabulary import TokenVocabulary
from nasrun.strategies.reinforce import Reinforce
from tests.strategies.words import Words, ok, value, words
from tests.support import setup_of

SETTINGS = PolicySettings(hidden=16, lr=0.01, entropy_weight=0.0, baseline_decay=0.9)


def learner_of(space: Words, **given: object) -> tuple[PolicyLearner, dict[object, int]]:
    """A learner over the letters of a space, whose weights are larger than at first, and the rows of the letters."""
    rows = {token: row for row, token in enumerate(TokenVocabulary(space).tokens, start=1)}  # type: ignore[arg-type]
    learner = PolicyLearner(len(rows) + 1, 0, replace(SETTINGS, **given))  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in learner.policy.parameters():
            weight *= 8
    return learner, rows


def episode(
    learner: PolicyLearner, rows: dict[object, int], space: Words, word: Genome, reward: float = 0.0
) -> Episode:
    legal = [learner.legal(tuple(rows[t] for t in space.choices(word[:place]))) for place in range(len(word))]
    return Episode([rows[token] for token in word], legal, reward)


def chances(learner: PolicyLearner, rows: dict[object, int], space: Words) -> torch.Tensor:
    """The probability of every word of the space."""
    return learner.log_probabilities([episode(learner, rows, space, word) for word in space.words])[0].exp()


def test_the_probabilities_of_all_words_add_up_to_one() -> None:
    space = words()
    learner, rows = learner_of(space)
    found = chances(learner, rows, space)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert found.max() > 2 * found.min(), "the words are not all alike, or nothing is shown"


def test_a_walk_draws_what_the_batch_says() -> None:
    space = words()
    learner, rows = learner_of(space)
    expected = dict(zip(space.words, chances(learner, rows, space).tolist(), strict=True))
    rng = np.random.default_rng(0)
    drawn: Counter[Genome] = Counter()
    for _ in range(4000):
        word: Genome = ()
        product = 1.0
        with learner.walk() as walker:
            while legal := space.choices(word):
                known = learner.legal(tuple(rows[token] for token in legal))
                place = walker.draw(known, rng)
                product *= walker.probabilities(known)[place]
                walker.read(rows[legal[place]])
                word = (*word, legal[place])
        assert product == pytest.approx(expected[word], rel=1e-4)
        drawn[word] += 1
    for word, chance in expected.items():
        spread = (4000 * chance * (1 - chance)) ** 0.5
        assert abs(drawn[word] - 4000 * chance) < 5 * spread + 1


def test_the_squashed_logits_stay_within_the_constant() -> None:
    rows = torch.tensor([[0, 1, 2]])
    policy = LSTMPolicy(3, 0, replace(SETTINGS, hidden=8))
    plain = LSTMPolicy(3, 0, replace(SETTINGS, hidden=8, tanh_constant=None))
    with torch.no_grad():
        for network in (policy, plain):
            network.head *= 3000
        logits = plain(rows)
        assert logits.abs().max() > 2.5
        torch.testing.assert_close(policy(rows), 2.5 * torch.tanh(logits))


class TestOperationsOfTheCode:
    """What the public code of ENAS does with operations, other than with inputs: rows 1 to 3, 1 and 2 convolutions."""

    KINDS = TokenKinds(operations=(1, 2, 3), convolutions=(1, 2))
    ROWS = torch.tensor([[0, 1, 2, 3]])

    def logits(self, **given: object) -> torch.Tensor:
        policy = LSTMPolicy(4, 0, replace(SETTINGS, hidden=8, **given), self.KINDS)  # type: ignore[arg-type]
        with torch.no_grad():
            policy.head *= 30
        return policy(self.ROWS)

    def test_their_bound_is_smaller(self) -> None:
        plain = self.logits(tanh_constant=None, temperature=None)
        bound = torch.tensor([1.1, 0.44, 0.44, 0.44])
        found = self.logits(tanh_constant=1.1, operation_tanh=2.5, temperature=None)
        torch.testing.assert_close(found, bound * torch.tanh(plain))

    def test_convolutions_are_favoured_behind_the_bound(self) -> None:
        added = self.logits(convolution_bias=0.25) - self.logits()
        torch.testing.assert_close(added, torch.tensor([0.0, 0.25, 0.25, -0.25]).expand_as(added))

    def test_a_learned_bias_begins_high_for_convolutions_and_is_of_operations_alone(self) -> None:
        plain = self.logits(tanh_constant=None, temperature=2.0)
        found = self.logits(tanh_constant=None, temperature=2.0, operation_bias=10.0)
        torch.testing.assert_close(found - plain, torch.tensor([0.0, 5.0, 5.0, 0.0]).expand_as(plain))
        learner = PolicyLearner(4, 0, replace(SETTINGS, operation_bias=10.0), self.KINDS)
        legal = [learner.legal((0, 1, 2, 3))] * 2
        for reward in (1.0, 0.0):
            learner.learn([Episode([0, 3], legal, reward), Episode([3, 0], legal, 1 - reward)])
        assert learner.policy.bias is not None
        assert learner.policy.bias[0] == 0
        assert learner.policy.bias[3] != 0


class TestAttention:
    """Inputs that are chosen by what was drawn of them."""

    @staticmethod
    def strategy(space: str = "search_space=micro_cell", *words: str) -> Reinforce:
        setup = setup_of(
            space,
            "search_space.blocks=2",
            "strategy=reinforce",
            "strategy.attention=true",
            "strategy.temperature=0.05",
            *words,
        )
        assert isinstance(setup.strategy, StrategyWrapper)
        inner = setup.strategy
        while isinstance(inner, StrategyWrapper):
            inner = inner.inner  # type: ignore[assignment]
        assert isinstance(inner, Reinforce)
        return inner

    def test_what_is_drawn_is_as_probable_as_what_is_learned_of(self) -> None:
        strategy = self.strategy()
        learner = strategy.learner
        episode = strategy.episode(strategy.draw(np.random.default_rng(0)), 0.0)
        logs = 0.0
        with learner.walk() as walker:
            for row, legal in zip(episode.rows, episode.legal, strict=True):
                [place] = (legal.rows == row).nonzero().flatten().tolist()
                logs += float(np.log(walker.probabilities(legal)[place]))
                walker.read(row)
        [chance], _ = learner.log_probabilities([episode])
        assert chance.item() == pytest.approx(logs, rel=1e-4)
        named = [one.references.tolist() for one in episode.legal if one.references is not None]
        assert named[:6] == [[0, 0], [0, 0], [-1] * 5, [-1] * 5, [0, 0, 4], [0, 0, 4]]
        assert named[8:10] == [[8, 8], [8, 8]]

    def test_its_weights_are_learned(self) -> None:
        strategy = self.strategy()
        learner = strategy.learner
        assert learner.policy.attention is not None
        before = learner.policy.attention.detach().clone()
        for number, score in enumerate((0.2, 0.9)):
            [proposal] = strategy.ask(1)
            strategy.tell(Trial(number, proposal), ok(number, score))
        assert not torch.equal(before, learner.policy.attention)

    def test_genes_before_the_genome_move_what_is_named(self) -> None:
        words = ("search_space=micro_cell", "search_space.blocks=2", "search_space.recipe=[lr]", "evaluator=train")
        space = setup_of(*words).space
        genome = space.sample(np.random.default_rng(0))
        assert space.referred((), genome[0]) is None
        assert space.referred(genome[:1], 1) == 1
        assert space.referred(genome[:5], 2) == 5


def test_a_baseline_may_begin_at_zero() -> None:
    for start, expected in (("first", [1.0, 1.0]), ("zero", [0.1, 0.19])):
        learner = PolicyLearner(2, 0, replace(SETTINGS, baseline_start=start))  # type: ignore[arg-type]
        legal = [learner.legal((0, 1))]
        found = []
        for _ in range(2):
            learner.learn([Episode([0], legal, 1.0)])
            found.append(learner.baseline)
        assert found == pytest.approx(expected)


def test_initial_weights_are_uniform_and_follow_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (LSTMPolicy(5, seed, PolicySettings()).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name, weights in first.items():
        assert not torch.equal(weights, other[name])
        assert weights.abs().max() <= 0.1
        assert weights.abs().max() > 0.09
        assert abs(float(weights.mean())) < 0.02


def test_the_expected_step_climbs_the_expected_reward() -> None:
    """Summed over all words, each as often as it is drawn, the score function gives the gradient of the mean reward."""
    space = words()
    learner, rows = learner_of(space)
    rewards = torch.tensor([value(word) for word in space.words])
    weights = list(learner.policy.parameters())
    exact = torch.autograd.grad((chances(learner, rows, space) * rewards).sum(), weights)
    logs, _ = learner.log_probabilities([episode(learner, rows, space, word) for word in space.words])
    baseline = 0.37  # any constant does
    estimate = torch.autograd.grad((logs.exp().detach() * (rewards - baseline) * logs).sum(), weights)
    for ours, theirs in zip(estimate, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


def test_one_step_makes_the_better_of_two_words_more_probable() -> None:
    space = words()
    learner, rows = learner_of(space)
    good, bad = space.words[3], space.words[7]
    before = dict(zip(space.words, chances(learner, rows, space).tolist(), strict=True))
    learner.baseline = 0.5
    learner.learn([episode(learner, rows, space, good, 1.0), episode(learner, rows, space, bad, 0.0)])
    after = dict(zip(space.words, chances(learner, rows, space).tolist(), strict=True))
    assert after[good] > before[good]
    assert after[bad] < before[bad]


def test_the_entropy_is_that_of_the_walks() -> None:
    """The mean over what is drawn of the entropies along it is the entropy over words, by the chain rule."""
    space = words()
    learner, rows = learner_of(space)
    found = chances(learner, rows, space)
    _, entropies = learner.log_probabilities([episode(learner, rows, space, word) for word in space.words])
    expected = -(found * found.log()).sum().item()
    assert sum(p * e for p, e in zip(found.tolist(), entropies, strict=True)) == pytest.approx(expected, rel=1e-4)


def test_the_baseline_follows_the_rewards_and_takes_in_the_entropy() -> None:
    space = words()
    learner, rows = learner_of(space, entropy_weight=0.5)
    told = [episode(learner, rows, space, space.words[0], reward) for reward in (1.0, 0.0)]
    _, (entropy, _) = learner.log_probabilities(told)
    assert learner.learn(told) == pytest.approx(entropy)
    assert learner.baseline == pytest.approx(0.9 * 1.0 + 0.1 * 0.0 + 0.5 * entropy)


def test_without_a_baseline_the_reward_is_the_advantage() -> None:
    space = words()
    learner, rows = learner_of(space, baseline_decay=None)
    assert [learner.advantage(reward) for reward in (0.5, 0.25)] == [0.5, 0.25]
    learner.learn([episode(learner, rows, space, space.words[0], 1.0)])
    assert learner.baseline is None


def test_a_clipped_gradient_is_a_short_one() -> None:
    space = words()
    norms = []
    for clip in (None, 1e-3):
        learner, rows = learner_of(space, clip=clip)
        learner.baseline = 0.0
        learner.learn([episode(learner, rows, space, space.words[2], 5.0)])
        gradients = [weight.grad for weight in learner.policy.parameters()]
        norms.append(float(torch.cat([g.flatten() for g in gradients if g is not None]).norm()))
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)
    assert norms[0] > 1e-2


def test_tokens_that_share_a_row_count_each() -> None:
    """Three tokens, two of which no walk met: they have one logit, and each its share."""
    learner = PolicyLearner(2, 0, SETTINGS)
    legal = learner.legal((0, 1, 0))
    with learner.walk() as walker:
        apart = walker.probabilities(legal)
    together, _ = learner.log_probabilities([Episode([row], [legal], 0.0) for row in (0, 1)])
    assert apart.sum() == pytest.approx(1.0)
    assert apart[0] == apart[2]
    assert together.exp().tolist() == pytest.approx([2 * apart[0], apart[1]], rel=1e-5)


def test_the_length_of_the_others_in_a_batch_makes_no_difference() -> None:
    space = words()
    learner, rows = learner_of(space)
    lengths = {len(word): word for word in space.words}
    assert len(lengths) == 2
    alone = [learner.log_probabilities([episode(learner, rows, space, word)]) for word in lengths.values()]
    logs, entropies = learner.log_probabilities([episode(learner, rows, space, word) for word in lengths.values()])
    torch.testing.assert_close(logs, torch.cat([log for log, _ in alone]))
    assert entropies == pytest.approx([entropy for _, (entropy,) in alone], rel=1e-5)
    assert all(a != b for a, b in pairwise(entropies))
