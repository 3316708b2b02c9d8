"""The LSTM policy and REINFORCE: probabilities that add up, and gradients that are those of the expected reward."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nasrun.core import Genome
from nasrun.strategies.controllers.lstm_policy import Episode, LSTMPolicy, PolicyLearner
from nasrun.strategies.controllers.settings import PolicySettings
from nasrun.strategies.controllers.vocabulary import TokenVocabulary
from tests.strategies.words import Words, value, words

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
    return learner._chances([episode(learner, rows, space, word) for word in space.words])[0].exp()


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
    policy = LSTMPolicy(3, 8, 5.0, 2.5, seed=0)
    plain = LSTMPolicy(3, 8, 5.0, None, seed=0)
    with torch.no_grad():
        for network in (policy, plain):
            network.head *= 3000
        logits = plain(rows)
        assert logits.abs().max() > 2.5
        torch.testing.assert_close(policy(rows), 2.5 * torch.tanh(logits))


def test_initial_weights_are_uniform_and_follow_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (LSTMPolicy(5, 64, 5.0, 2.5, seed).state_dict() for seed in (1, 1, 2))
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
    logs, _ = learner._chances([episode(learner, rows, space, word) for word in space.words])
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
    _, entropies = learner._chances([episode(learner, rows, space, word) for word in space.words])
    expected = -(found * found.log()).sum().item()
    assert sum(p * e for p, e in zip(found.tolist(), entropies, strict=True)) == pytest.approx(expected, rel=1e-4)


def test_the_baseline_follows_the_rewards_and_takes_in_the_entropy() -> None:
    space = words()
    learner, rows = learner_of(space, entropy_weight=0.5)
    told = [episode(learner, rows, space, space.words[0], reward) for reward in (1.0, 0.0)]
    _, (entropy, _) = learner._chances(told)
    assert learner.learn(told) == pytest.approx(entropy)
    assert learner.baseline == pytest.approx(0.9 * 1.0 + 0.1 * 0.0 + 0.5 * entropy)


def test_without_a_baseline_the_reward_is_the_advantage() -> None:
    space = words()
    learner, rows = learner_of(space, baseline_decay=None)
    assert [learner._advantage(reward) for reward in (0.5, 0.25)] == [0.5, 0.25]
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
    together, _ = learner._chances([Episode([row], [legal], 0.0) for row in (0, 1)])
    assert apart.sum() == pytest.approx(1.0)
    assert apart[0] == apart[2]
    assert together.exp().tolist() == pytest.approx([2 * apart[0], apart[1]], rel=1e-5)


def test_the_length_of_the_others_in_a_batch_makes_no_difference() -> None:
    space = words()
    learner, rows = learner_of(space)
    lengths = {len(word): word for word in space.words}
    assert len(lengths) == 2
    alone = [learner._chances([episode(learner, rows, space, word)]) for word in lengths.values()]
    logs, entropies = learner._chances([episode(learner, rows, space, word) for word in lengths.values()])
    torch.testing.assert_close(logs, torch.cat([log for log, _ in alone]))
    assert entropies == pytest.approx([entropy for _, (entropy,) in alone], rel=1e-5)
    assert all(a != b for a, b in pairwise(entropies))
