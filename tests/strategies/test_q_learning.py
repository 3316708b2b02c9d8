"""The networks, memory and learner of Q-learning: that the true values are learned."""

from typing import Any

import numpy as np
import pytest
import torch

from nasrun.strategies.controllers.controllers import make_controller
from nasrun.strategies.controllers.q_learning import QLearner, Replay
from nasrun.strategies.controllers.settings import QSettings
from nasrun.strategies.controllers.vocabulary import TokenVocabulary
from tests.strategies.words import value, words

kinds = pytest.mark.parametrize("kind", ["dense", "lstm"])


# The networks.


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_a_walk_sees_the_values_of_the_batch(kind: Any, layers: int) -> None:
    controller = make_controller(kind, slots=9, positions=4, hidden=16, layers=layers, seed=3)
    torch.nn.init.normal_(controller.head.bias, generator=torch.Generator().manual_seed(1))
    row = [4, 0, 8, 2]
    rows = torch.tensor([row[:length] + [9] * (4 - length) for length in range(5)])
    with torch.no_grad():
        batch = controller(rows, torch.arange(5))
        state = controller.start()
        torch.testing.assert_close(controller.values(state), batch[0])
        for length, slot in enumerate(row, start=1):
            state = controller.read(state, [slot])
            torch.testing.assert_close(controller.values(state), batch[length])
        torch.testing.assert_close(controller.values(controller.read(controller.start(), row)), batch[4])
        torch.testing.assert_close(controller(rows[:1], torch.tensor([0])), batch[:1])


@kinds
def test_initial_weights_follow_the_seed_alone(kind: Any) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (make_controller(kind, 9, 4, 16, 2, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(bool(tensor.isfinite().all()) for tensor in first.values())


# The memory.


def test_the_memory_holds_the_last_transitions() -> None:
    replay = Replay(capacity=4, slots=6, positions=3)
    replay.add([1, 2], [[2, 3], []], 0.5)
    assert replay.size == 2
    replay.add([1, 3, 5], [[2, 3], [4, 5], []], 0.7)
    assert replay.size == 4
    order = [1, 2, 3, 0]  # the fifth transition took the place of the first
    assert replay.prefixes[order].tolist() == [[1, 6, 6], [6, 6, 6], [1, 6, 6], [1, 3, 6]]
    assert replay.lengths[order].tolist() == [1, 0, 1, 2]
    assert replay.actions[order].tolist() == [2, 1, 3, 5]
    assert replay.scores[order].tolist() == [0.5, 0.7, 0.7, 0.7]
    assert [np.flatnonzero(row).tolist() for row in replay.legal[order]] == [[], [2, 3], [4, 5], []]


def test_the_memory_takes_longer_episodes_than_expected() -> None:
    replay = Replay(capacity=8, slots=6, positions=1)
    replay.add([1], [[]], 0.1)
    replay.add([1, 2, 3], [[2], [3], []], 0.2)
    assert replay.prefixes[:4].tolist() == [[6, 6, 6], [6, 6, 6], [1, 6, 6], [1, 2, 6]]


# What is learned.


@pytest.mark.parametrize("target_every", [None, 5])
@kinds
def test_the_true_values_are_learned(kind: Any, target_every: int | None) -> None:
    """Q*(s, a) is the discounted score of the best word that begins with s and a; illegal actions have no part."""
    space, discount = words(), 0.9
    slots = TokenVocabulary(space)  # type: ignore[arg-type]
    target = {} if target_every is None else {"target_every": target_every}
    settings = QSettings(
        controller=kind,
        target=target_every is not None,
        **target,
        hidden=32,
        layers=1,
        lr=0.01,
        discount=discount,
        memory=1000,
    )
    learner = QLearner(settings, slots.count, slots.positions, 0)
    for word in space.words:
        legal = [slots.of(position, space.choices(word[:position])) for position in range(1, len(word) + 1)]
        learner.replay.add([slots.of(p, [token])[0] for p, token in enumerate(word)], legal, value(word))
    rng = np.random.default_rng(1)
    learner.learn(rng.integers(learner.replay.size, size=(1200, 32)), lambda scores: scores)
    prefixes = dict.fromkeys(word[:length] for word in space.words for length in range(len(word)))
    assert len(prefixes) > 5
    for prefix in prefixes:
        with learner.episode() as reader:
            for position, token in enumerate(prefix):
                reader.read(slots.of(position, [token])[0])
            legal = space.choices(prefix)
            known = slots.of(len(prefix), legal)
            best = reader.best(known)
            found = reader.values(known)
        begun = [[word for word in space.words if word[: len(prefix) + 1] == (*prefix, token)] for token in legal]
        true = [max(discount ** (len(word) - len(prefix) - 1) * value(word) for word in some) for some in begun]
        assert found == pytest.approx(true, abs=0.05)
        assert best == int(np.argmax(found))


def test_the_target_network_follows_every_so_many_steps() -> None:
    learner = QLearner(QSettings(hidden=8, lr=0.1, target_every=3, memory=10), 4, 2, 0)
    learner.replay.add([1, 2], [[2, 3], []], 1.0)

    def equal() -> bool:
        pairs = zip(learner.prediction.parameters(), learner.target.parameters(), strict=True)
        return all(torch.equal(weight, target) for weight, target in pairs)

    equals = []
    for _ in range(6):
        learner.learn(np.array([[0, 1]]), lambda scores: scores)
        equals.append(equal())
    assert equals == [False, False, True, False, False, True]


def test_one_network_is_its_own_target() -> None:
    learner = QLearner(QSettings(hidden=8, lr=0.1, target=False, memory=10), 4, 2, 0)
    assert learner.target is learner.prediction
