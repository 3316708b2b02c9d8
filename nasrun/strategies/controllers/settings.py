"""The options of controllers, in groups. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nasrun.core.options import Above, AtLeast, Between, Fraction, Positive


@dataclass(kw_only=True, frozen=True)
class QSettings:
    """The networks of Q-learning, and their training.

    `target`: a second network gives the values that the first one learns, and is updated to a copy of it every
    `target_every` gradient steps. After each completed trial there are `updates` steps, each on `batch_size`
    transitions drawn from the last `memory`.
    """

    controller: Literal["dense", "lstm"] = "dense"
    target: bool = True
    target_every: Positive = 10
    hidden: Positive = 64
    layers: Positive = 2
    lr: Annotated[float, Above(0)] = 0.005
    discount: Fraction = 1.0
    memory: Positive = 10_000
    batch_size: Positive = 64
    updates: Positive = 4


@dataclass(kw_only=True, frozen=True)
class Exploration:
    """The probability epsilon of a random token: it changes linearly from `epsilon_start` to `epsilon_end` over
    `epsilon_episodes`, after `warm_up` fully random genomes."""

    epsilon_start: Fraction = 1.0
    epsilon_end: Fraction = 0.1
    epsilon_episodes: Positive = 80
    warm_up: Positive = 20

    def __post_init__(self) -> None:
        if self.epsilon_end > self.epsilon_start:
            raise ValueError(f"epsilon_end={self.epsilon_end}: must be <= epsilon_start={self.epsilon_start}")

    def epsilon(self, episode: int) -> float:
        """The probability of a random token in an episode, counted from 0 after the warm-up."""
        return self.epsilon_start + min(1.0, episode / self.epsilon_episodes) * (self.epsilon_end - self.epsilon_start)


@dataclass(kw_only=True, frozen=True)
class QRewards:
    """The reward of an episode: `reward` says how it follows from the score. `penalty`: the metric that a failed trial
    counts for; None: the worst so far."""

    reward: Literal["rank", "standard", "score"] = "rank"
    penalty: float | None = None


@dataclass(kw_only=True, frozen=True)
class PolicySettings:
    """The LSTM of a policy, and its training: one gradient step after every `update_every` completed trials.

    `clip`: the largest norm of a gradient; None: no limit. For the other options see `LSTMPolicy` and `PolicyLearner`.
    """

    hidden: Positive = 64
    temperature: Annotated[float, Above(0)] | None = 5.0
    tanh_constant: Annotated[float, Above(0)] | None = 2.5
    operation_tanh: Annotated[float, Above(0)] = 1.0
    convolution_bias: float = 0.0
    operation_bias: float | None = None
    attention: bool = False
    lr: Annotated[float, Above(0)] = 0.0035
    entropy_weight: Annotated[float, AtLeast(0)] = 0.0001
    baseline_decay: Annotated[float, Between(0, 1, open_high=True)] | None = 0.95
    baseline_start: Literal["first", "zero"] = "first"
    update_every: Positive = 1
    clip: Annotated[float, Above(0)] | None = None

    @property
    def sets_operations_apart(self) -> bool:
        """Whether logits of operations differ from those of other tokens."""
        return self.operation_tanh != 1 or self.convolution_bias != 0 or self.operation_bias is not None


@dataclass(kw_only=True, frozen=True)
class PolicyRewards:
    """The reward of a genome (`nasrun.strategies.controllers.rewards`): `window` and `threshold` belong to `ienas`;
    `penalty`: the reward of a failed or infeasible trial."""

    reward: Literal["enas", "ienas"] = "enas"
    window: Positive = 10
    threshold: Annotated[float, AtLeast(0)] = 0.7
    penalty: Annotated[float, AtLeast(0)] = 0.01
