"""A policy that writes genomes token by token, and REINFORCE, which makes rewarded tokens more probable.

Every token of a space has a row, numbered from 0: of the embedding, by which the LSTM reads the token, and of the head,
which gives its probability. This module imports torch, so import it only when a policy is made.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nasrun.hardware.devices import single_thread
from nasrun.strategies.controllers.settings import PolicySettings

INITIAL_BOUND = 0.1
"""All weights are drawn uniformly between plus and minus this (I-ENAS, section on the experiments; also ENAS, section
3)."""


class Legal(NamedTuple):
    """The legal next tokens: the row of each, and for every row the logarithm of how many of the tokens have it.

    `references`: for each token, the number of tokens after which the part of the genome that it names was complete, -1
    if it names nothing (`SearchSpace.referred`); None: not used.
    """

    rows: torch.Tensor
    counts: torch.Tensor
    references: torch.Tensor | None = None


class Episode(NamedTuple):
    """A genome with its result: the row of each token, the legal tokens at its position, and the reward of the
    genome."""

    rows: Sequence[int]
    legal: Sequence[Legal]
    reward: float


class TokenKinds(NamedTuple):
    """The rows of the tokens that are operations, and of those that are convolutions."""

    operations: Sequence[int]
    convolutions: Sequence[int]


NO_KINDS = TokenKinds((), ())


class LSTMPolicy(nn.Module):
    """Logits of the next token after each prefix; all weights are drawn from `seed`.

    An LSTM of one layer reads a start token and then the tokens chosen so far. Source: Pham et al., "Efficient Neural
    Architecture Search via Parameter Sharing" (ENAS), ICML 2018, section 2.2; the squashing, tanh_constant *
    tanh(logits / temperature), is that of Bello et al., "Neural Combinatorial Optimization with Reinforcement
    Learning", 2016, appendix A.1, with a temperature inside.

    As in the public code of ENAS:

    - For operations the bound is `tanh_constant` divided by `operation_tanh`.
    - `operation_bias` adds a learned bias per operation, which begins at this value for convolutions and at 0 for
      others.
    - `convolution_bias` is added after the bound to the logits of convolutions, and subtracted from those of other
      operations.
    - With `attention` a token that names a part of the genome has the logit v . tanh(W1 s + W2 t + its row of the
      head), where s is the output of the LSTM when that part was complete and t the current one. ENAS's code does not
      add the row of the head, and reads s next in place of an embedding.
    """

    def __init__(self, tokens: int, seed: int, settings: PolicySettings, kinds: TokenKinds = NO_KINDS) -> None:
        super().__init__()
        hidden = settings.hidden
        self._temperature, self._tanh_constant = settings.temperature, settings.tanh_constant
        self.embedding = nn.Parameter(torch.empty(tokens + 1, hidden))  # the last row is the start token
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, device="meta").to_empty(device="cpu")
        self.head = nn.Parameter(torch.empty(tokens, hidden))
        self.attention = nn.Parameter(torch.empty(2 * hidden + 1, hidden)) if settings.attention else None
        """W1, W2 and v, stacked."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -INITIAL_BOUND, INITIAL_BOUND, generator=generator)
        self._set_apart(tokens, settings, kinds)

    def _set_apart(self, tokens: int, settings: PolicySettings, kinds: TokenKinds) -> None:
        """Set how logits of operations are changed, per row; None: like those of other tokens."""
        self._bound: torch.Tensor | None = None
        self._fixed: torch.Tensor | None = None
        self.bias: nn.Parameter | None = None
        operations, convolutions = torch.zeros(2, tokens)
        operations[list(kinds.operations)] = 1.0
        convolutions[list(kinds.convolutions)] = 1.0
        self._operations = operations
        if settings.tanh_constant is not None and settings.operation_tanh != 1:
            self._bound = settings.tanh_constant / (1 + (settings.operation_tanh - 1) * operations)
        if settings.convolution_bias:
            self._fixed = settings.convolution_bias * (2 * convolutions - operations)
        if settings.operation_bias is not None:
            self.bias = nn.Parameter(settings.operation_bias * convolutions)

    def forward(self, rows: torch.Tensor, references: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (batch, positions, tokens) of the token at each position, given those before it.

        `rows`: int64 (batch, positions); the last one of each is not read. `references`: those of `Legal`, int64
        (batch, positions, tokens), needed with attention.
        """
        read = F.pad(rows[:, :-1], (1, 0), value=len(self.head))
        outputs, _ = self.lstm(F.embedding(read, self.embedding))
        if references is None:
            return self.logits(outputs, slice(None))
        batch = torch.arange(len(rows))[:, None, None]
        named = outputs[batch, references.clamp(min=0)]
        return self.logits(outputs, slice(None), named, references >= 0)

    def logits(
        self,
        outputs: torch.Tensor,
        rows: torch.Tensor | slice,
        named: torch.Tensor | None = None,
        names: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits (..., rows) of some tokens after outputs of the LSTM, float (..., hidden).

        With attention `names`, bool (..., rows), marks the tokens that name a part of the genome, and `named`, float
        (..., rows, hidden), holds the outputs at which that part was complete.
        """
        logits = F.linear(outputs, self.head[rows])
        if self.bias is not None:
            logits = logits + (self.bias * self._operations)[rows]
        if named is not None and names is not None:
            logits = torch.where(names, self._attended(outputs, self.head[rows], named), logits)
        if self._temperature is not None:
            logits = logits / self._temperature
        if self._tanh_constant is not None:
            bound = self._tanh_constant if self._bound is None else self._bound[rows]
            logits = bound * torch.tanh(logits)
        biased: torch.Tensor = logits if self._fixed is None else logits + self._fixed[rows]
        return biased

    def _attended(self, outputs: torch.Tensor, head: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
        assert self.attention is not None
        keys, queries, values = self.attention.split([head.shape[1], head.shape[1], 1])
        hidden: torch.Tensor = torch.tanh(F.linear(named, keys) + F.linear(outputs, queries)[..., None, :] + head)
        return torch.matmul(hidden, values[0])


class Walker:
    """Writes one genome: gives the probabilities of the legal tokens at each step, and reads the one chosen."""

    def __init__(self, policy: LSTMPolicy) -> None:
        self._policy = policy
        # One step of the cell costs a quarter of a call of the whole LSTM.
        self._weights = policy.lstm.all_weights[0]
        self._state = (torch.zeros(1, policy.lstm.hidden_size),) * 2
        self._outputs: list[torch.Tensor] = []
        self.read(len(policy.head))

    def read(self, row: int) -> None:
        """Read a token."""
        output, memory = torch.lstm_cell(self._policy.embedding[row : row + 1], self._state, *self._weights)
        self._state = (output, memory)
        self._outputs.append(output)

    def probabilities(self, legal: Legal) -> np.ndarray:
        """The probability of each legal token, in float64."""
        told: tuple[torch.Tensor, ...] = ()
        if legal.references is not None:
            told = (torch.stack(self._outputs, 1)[:, legal.references.clamp(min=0)], legal.references >= 0)
        logits = self._policy.logits(self._state[0], legal.rows, *told)
        return np.asarray(torch.softmax(logits[0].double(), 0).numpy())

    def draw(self, legal: Legal, rng: np.random.Generator) -> int:
        """The index of one of the legal tokens, drawn with the policy's probabilities."""
        shares = self.probabilities(legal).cumsum()
        return min(int(np.searchsorted(shares, rng.random() * shares[-1], side="right")), len(shares) - 1)


class PolicyLearner:
    """A policy and its training by REINFORCE.

    Source: Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning",
    Machine Learning 8, 1992. Adam follows the gradient of log P(genome) times the advantage, averaged over the episodes
    of a step. As in ENAS, `entropy_weight` times the entropy of the policy, summed over the tokens of the genome, is
    added to the reward. The advantage is the reward less the baseline, a moving average of the rewards that decays by
    `baseline_decay`; None: no baseline, the advantage is the reward. Inferred: the baseline begins at the first reward,
    so that the first genome is not reinforced merely for having been drawn; with `baseline_start=zero` it begins at 0,
    as in the public code of ENAS.

    All torch computations here run in one thread, as in `QLearner`, so that results do not depend on the number of
    cores.
    """

    def __init__(
        self,
        tokens: int,
        seed: int,
        settings: PolicySettings,
        kinds: TokenKinds = NO_KINDS,
    ) -> None:
        self.policy = LSTMPolicy(tokens, seed, settings, kinds)
        self.baseline: float | None = None if settings.baseline_start == "first" else 0.0
        self._weights = list(self.policy.parameters())
        self._optimizer = torch.optim.Adam(self._weights, lr=settings.lr, fused=True)
        self._entropy_weight, self._baseline_decay = settings.entropy_weight, settings.baseline_decay
        self._clip = settings.clip
        self.legal = lru_cache(maxsize=4096)(self._legal)
        """The tensors of the legal tokens' rows, given as a tuple; cached, because the same rows come up again and
        again."""

    def _legal(self, rows: tuple[int, ...], references: tuple[int, ...] | None = None) -> Legal:
        counts = torch.bincount(torch.tensor(rows), minlength=len(self.policy.head)).float().log()
        return Legal(torch.tensor(rows), counts, None if references is None else torch.tensor(references))

    @contextmanager
    def walk(self) -> Iterator[Walker]:
        """A new genome, to be written by the current policy."""
        with single_thread(), torch.inference_mode():
            yield Walker(self.policy)

    def learn(self, episodes: Sequence[Episode]) -> float:
        """Take one step of gradient ascent; returns the mean entropy of the policy over the episodes, in nats."""
        with single_thread(), torch.enable_grad():
            chances, entropies = self.log_probabilities(episodes)
            advantages = [
                self.advantage(episode.reward + self._entropy_weight * entropy)
                for episode, entropy in zip(episodes, entropies, strict=True)
            ]
            loss = -(torch.tensor(advantages) * chances).mean()
            gradients = torch.autograd.grad(loss, self._weights)
            for weight, gradient in zip(self._weights, gradients, strict=True):
                weight.grad = gradient
            if self._clip is not None:
                nn.utils.clip_grad_norm_(self._weights, self._clip)
            self._optimizer.step()
        return math.fsum(entropies) / len(entropies)

    def log_probabilities(self, episodes: Sequence[Episode]) -> tuple[torch.Tensor, list[float]]:
        """Log-probabilities of the genomes of episodes (episodes,), and the entropy of the policy along each one."""
        longest = max(len(episode.rows) for episode in episodes)
        rows = torch.zeros(len(episodes), longest, dtype=torch.int64)
        # Positions past the end of a genome have one legal token, row 0, and so do not count.
        counts = torch.full((len(episodes), longest, len(self.policy.head)), -torch.inf)
        counts[:, :, 0] = 0.0
        for place, episode in enumerate(episodes):
            rows[place, : len(episode.rows)] = torch.tensor(episode.rows)
            counts[place, : len(episode.rows)] = torch.stack([legal.counts for legal in episode.legal])
        logs = torch.log_softmax(self.policy(rows, self._references(episodes, counts.shape)) + counts, dim=2)
        chances = logs.gather(2, rows[:, :, None]).sum(dim=(1, 2))
        entropies = torch.special.entr(logs.detach().exp()).sum(dim=(1, 2))
        return chances, entropies.tolist()

    def _references(self, episodes: Sequence[Episode], shape: torch.Size) -> torch.Tensor | None:
        """`Legal.references` of all positions, by row; None without attention."""
        if self.policy.attention is None:
            return None
        found = torch.full(shape, -1)
        for place, episode in enumerate(episodes):
            for position, legal in enumerate(episode.legal):
                if legal.references is not None:
                    found[place, position, legal.rows] = legal.references
        return found

    def advantage(self, reward: float) -> float:
        """The reward less the baseline, which then moves towards the reward; the reward itself without a baseline."""
        if self._baseline_decay is None:
            return reward
        if self.baseline is None:
            self.baseline = reward
        advantage = reward - self.baseline
        self.baseline += (1 - self._baseline_decay) * advantage
        return advantage
