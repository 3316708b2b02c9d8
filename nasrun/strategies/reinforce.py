"""REINFORCE: a policy over the choices of a space."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Token, Trial
from nasrun.strategies.controllers.rewards import EnasReward, IEnasReward, Reward
from nasrun.strategies.controllers.settings import PolicyRewards, PolicySettings
from nasrun.strategies.controllers.vocabulary import UNKNOWN, TokenVocabulary

if TYPE_CHECKING:
    from nasrun.strategies.controllers.lstm_policy import Episode, Legal, PolicyLearner


class Reinforce(Strategy):
    """An LSTM controller that draws genomes token by token, and makes the tokens of good ones more probable.

    Sources: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017; Pham et al., "Efficient
    Neural Architecture Search via Parameter Sharing" (ENAS), ICML 2018; "Improving the Efficient Neural Architecture
    Search via Rewarding Modifications" (I-ENAS), whose settings are the defaults: Adam at 0.0035, temperature 5, tanh
    constant 2.5, entropy weight 0.0001, weights from [-0.1, 0.1].

    The next token is drawn from `space.choices(prefix)`; a token has the same embedding, and the same row of the head,
    at every position, and an illegal token has probability 0. `reward`: `enas` or `ienas`, see
    `nasrun.strategies.controllers.rewards`; `window` and `threshold` belong to the latter. A failed or infeasible trial
    has the reward `penalty`. After every `update_every` completed trials there is one gradient step on all of them;
    proposals that were drawn before the last step are treated as draws of the current policy. Learning uses the genome
    of a trial, so trials may complete in any order, and duplicates count.

    Options from the authors' public code that differ from the paper: no `temperature`, `tanh_constant` 1.1, less for
    operations (`operation_tanh`), biases that favour convolutions (`convolution_bias`, `operation_bias`), `attention`
    to the inputs, `baseline_start=zero`; `experiment=ienas_code_cifar10` uses all of them.

    Inferred: hidden units (64), one layer, the decay of the baseline (0.95; 64 and 0.95 were as good as any on
    NAS-Bench-201), one trial per step.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        rewards: PolicyRewards = PolicyRewards(),
        policy: PolicySettings = PolicySettings(),
    ) -> None:
        modified = rewards.reward == "ienas"
        if modified and objective.mode == "min":
            raise ValueError(
                f"reward=ienas: divides by the mean of earlier accuracies, but lower is better for "
                f"objective.metric={objective.metric}; use reward=enas"
            )
        for name in ("convolution_bias", "operation_bias"):
            if getattr(policy, name) and not space.convolutions:
                raise ValueError(
                    f"{name}={getattr(policy, name)}: needs a search space that tells which operations are "
                    f"convolutions; use {name}={'0' if name == 'convolution_bias' else 'null'}"
                )
        self._space, self._objective, self._rng = space, objective, rng
        self._reward: Reward = (
            IEnasReward(rewards.window, rewards.threshold, rewards.penalty) if modified else EnasReward(rewards.penalty)
        )
        self._policy = policy
        self.initial = self._update_every = policy.update_every
        self._seed = int(rng.integers(2**62))
        self._rows: dict[Token, int] = {}
        self._learner: PolicyLearner | None = None
        self._told: list[Episode] = []
        self._curves: dict[str, list[float]] = {"entropy": [], "baseline": []}

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self.draw(self._rng), origin=Origin.POLICY) for _ in range(n)]

    def draw(self, rng: np.random.Generator) -> Genome:
        """A genome drawn from the current policy with the caller's generator; changes nothing."""
        learner = self.learner
        genome: Genome = ()
        with learner.walk() as walker:
            while legal := self._space.choices(genome):
                rows = self._rows_of(legal)
                place = walker.draw(self._legal(learner, genome, legal), rng) if len(legal) > 1 else 0
                walker.read(rows[place])
                genome = (*genome, legal[place])
        return self._space.fit(genome)

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._remember(trial.proposal.genome, self._objective.score(measurements))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._remember(proposal.genome, -float("inf"))

    def _remember(self, genome: Genome, score: float) -> None:
        """Keep an episode; when there are enough, learn from them."""
        self._told.append(self.episode(genome, self._reward(score)))
        if len(self._told) == self._update_every:
            self._curves["entropy"].append(self.learner.learn(self._told))
            self._curves["baseline"].append(self.learner.baseline or 0.0)
            self._told = []

    def episode(self, genome: Genome, reward: float) -> "Episode":
        """A genome with its reward, as the policy learns of it."""
        from nasrun.strategies.controllers.lstm_policy import Episode

        learner = self.learner
        prefixes = [genome[:place] for place in range(len(genome))]
        legal = [self._legal(learner, prefix, self._space.choices(prefix)) for prefix in prefixes]
        return Episode(self._rows_of(genome), legal, reward)

    def notes(self) -> Mapping[str, Any]:
        """For each step the entropy of the policy before it, in nats, and the baseline; with `reward=ienas` also how
        many accuracies were compared with a mean, and how many of them got the penalty."""
        return {**self._curves, **self._reward.notes()}

    @property
    def learner(self) -> "PolicyLearner":
        """The policy; made when first needed, because it imports torch."""
        if self._learner is None:
            from nasrun.strategies.controllers.lstm_policy import NO_KINDS, PolicyLearner, TokenKinds

            self._rows = {
                token: row for row, token in enumerate(TokenVocabulary(self._space).tokens, start=UNKNOWN + 1)
            }
            kinds = NO_KINDS
            if self._policy.sets_operations_apart:
                kinds = TokenKinds(
                    operations=[row for token, row in self._rows.items() if isinstance(token, str)],
                    convolutions=[row for token, row in self._rows.items() if token in self._space.convolutions],
                )
            self._learner = PolicyLearner(len(self._rows) + 1, self._seed, self._policy, kinds)
        return self._learner

    def _legal(self, learner: "PolicyLearner", prefix: Genome, tokens: Sequence[Token]) -> "Legal":
        if not self._policy.attention:
            return learner.legal(self._rows_of(tokens))
        named = (self._space.referred(prefix, token) for token in tokens)
        return learner.legal(self._rows_of(tokens), tuple([-1 if place is None else place for place in named]))

    def _rows_of(self, tokens: Sequence[Token]) -> tuple[int, ...]:
        """The rows of some tokens; those that no walk through the space met share one."""
        return tuple([self._rows.get(token, UNKNOWN) for token in tokens])
