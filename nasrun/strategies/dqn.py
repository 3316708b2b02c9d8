"""Deep Q-learning over the choices of a space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.strategies.controllers.settings import Exploration, QRewards, QSettings
from nasrun.strategies.controllers.vocabulary import TokenVocabulary

if TYPE_CHECKING:
    from nasrun.strategies.controllers.q_learning import QLearner


class DQN(Strategy):
    """An agent that writes genomes token by token, and learns by Q-learning which token is best next.

    Sources: Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015; the slides on NAS
    with NAS-Bench-101 ("Deep Q-learning"), which name the options: a dense or an LSTM controller, one network or a
    prediction and a target network that is updated every C iterations, an epsilon-greedy strategy, a replay memory of
    (s, a, r, s'). Baker et al., "Designing Neural Network Architectures using Reinforcement Learning", ICLR 2017, is
    the same idea with a table in place of the network.

    An episode is a trial. The state is the prefix of the genome, an action is a next token out of
    `space.choices(prefix)`; illegal tokens are masked, both in the greedy choice and in the target. The reward is 0
    until the genome is complete, and then follows from its score:

    - `rank`: the share of all scores so far that are not higher, scaled to mean 0 and standard deviation 1 of a uniform
      share. Accuracies of cells differ little at the top and much at the bottom; ranks do not, and they are the same
      for any metric.
    - `standard`: the score less the mean of all scores so far, in their standard deviations.
    - `score`: the score itself (the metric, negated if lower is better).

    The first two begin near the initial Q-values, so that an untried token counts as average. A failed trial has the
    reward of the score `penalty`, given as a value of the metric; None: that of the worst score so far.

    The search begins with `warm_up` random genomes. Then each token is random with probability epsilon, which changes
    linearly from `epsilon_start` to `epsilon_end` over `epsilon_episodes`, and otherwise the one of the highest
    Q-value. After each completed trial there are `updates` gradient steps, each on `batch_size` transitions drawn from
    the last `memory`. Infeasible trials are learned from but not counted as episodes. Proposals may repeat.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        network: QSettings = QSettings(),
        exploration: Exploration = Exploration(),
        rewards: QRewards = QRewards(),
    ) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._network, self._exploration, self._reward = network, exploration, rewards.reward
        self.initial = exploration.warm_up
        penalty = rewards.penalty
        self._penalty = penalty if penalty is None or objective.mode == "max" else -penalty
        self._scores = np.empty(0)  # of all completed trials, sorted
        self._begun = self._told = 0
        self._learned: tuple[TokenVocabulary, QLearner] | None = None

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        for _ in range(n):
            # With many in flight, the whole warm-up may be proposed before any of it is completed.
            if self._begun >= self.initial and self._learned is not None and self._learned[1].steps:
                proposals.append(self._episode(*self._learned))
            else:
                proposals.append(Proposal(self._space.sample(self._rng)))
            self._begun += 1
        return proposals

    def _episode(self, slots: TokenVocabulary, learner: "QLearner") -> Proposal:
        epsilon, origin = self.epsilon, Origin.GREEDY
        genome: Genome = ()
        with learner.episode() as reader:
            while legal := self._space.choices(genome):
                known = slots.of(len(genome), legal)
                place = 0
                if len(legal) > 1:
                    if self._rng.random() < epsilon:
                        place, origin = int(self._rng.integers(len(legal))), Origin.EXPLORE
                    else:
                        place = reader.best(known)
                reader.read(known[place])
                genome = (*genome, legal[place])
        return Proposal(self._space.fit(genome), origin=origin)

    @property
    def epsilon(self) -> float:
        """The probability of a random token in the episode that begins now."""
        return self._exploration.epsilon(self._begun - self.initial)

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        if measurements[0].status == "infeasible":
            self._begun -= 1
        else:
            self._told += 1
        self._remember(trial.proposal.genome, self._objective.score(measurements))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._begun -= 1
        self._remember(proposal.genome, -float("inf"))

    def _remember(self, genome: Genome, score: float) -> None:
        """Add an episode to the replay memory, then learn from a sample of it."""
        if self._learned is None:
            self._learned = self._new_learner()
        slots, learner = self._learned
        failed = score == -float("inf")
        if not failed:
            self._scores = np.insert(self._scores, np.searchsorted(self._scores, score), score)
        episode = [slots.of(position, [token])[0] for position, token in enumerate(genome)]
        legal = [slots.of(position, self._space.choices(genome[:position])) for position in range(1, len(genome) + 1)]
        learner.replay.add(episode, legal, float("nan") if failed else score)
        if self._told >= self.initial and len(self._scores):
            picks = self._rng.integers(learner.replay.size, size=(self._network.updates, self._network.batch_size))
            learner.learn(picks, self.rewards)

    def _new_learner(self) -> "tuple[TokenVocabulary, QLearner]":
        from nasrun.strategies.controllers.q_learning import (
            QLearner,  # imports torch, so not before there is something to learn
        )

        slots = TokenVocabulary(self._space)
        seed = int(self._rng.integers(2**62))
        return slots, QLearner(self._network, slots.count, slots.positions, seed)

    def rewards(self, scores: np.ndarray) -> np.ndarray:
        """The current rewards of some scores; NaN is the score of a failed trial."""
        penalty = self._scores[0] if self._penalty is None else self._penalty
        scores = np.where(np.isnan(scores), penalty, scores)
        if self._reward == "score":
            return scores
        if self._reward == "standard":
            return np.asarray((scores - self._scores.mean()) / (self._scores.std() or 1.0))
        shares = np.searchsorted(self._scores, scores, side="right") / len(self._scores)
        return np.asarray((shares - 0.5) * 12**0.5)
