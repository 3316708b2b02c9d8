"""Encoder, predictor and decoder of architectures, and gradient steps in their latent space.

Source: Luo, Tian, Qin, Chen and Liu, "Neural Architecture Optimization", NeurIPS 2018 (arXiv 1808.07233), section 3.
This module imports torch, so import it only when there is something to learn from.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nasrun.hardware.devices import single_thread
from nasrun.strategies.nao.settings import NetworkSettings

INITIAL_BOUND = 0.1
"""All weights are drawn uniformly between plus and minus this, as in the authors' code."""

Legal = Callable[[Sequence[int]], Sequence[int]]
"""Gives the slots of the legal next tokens after the slots of a prefix; empty if the genome is complete."""


class Code(NamedTuple):
    """The latent code of an architecture, between encoder and decoder.

    `states` (positions, hidden): the encoder's output at each token, of length 1; `whole` (hidden): their mean, of
    length 1.
    """

    states: torch.Tensor
    whole: torch.Tensor


class ArchitectureNetworks(nn.Module):
    """Reads genomes as sequences of `slots` different slots (`TokenVocabulary`); all weights follow from `seed`. The
    decoder attends to the encoder's states (Luo et al. 2018, section 3.3)."""

    def __init__(self, slots: int, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        hidden = settings.hidden
        self.embedding = nn.Parameter(torch.empty(slots + 1, settings.embedding))  # the last row is the start token
        self.encoder = nn.LSTM(settings.embedding, hidden, batch_first=True)
        self.predictor = nn.Sequential(
            nn.Linear(hidden, settings.predictor_hidden), nn.ReLU(), nn.Linear(settings.predictor_hidden, 1)
        )
        self.decoder = nn.LSTM(settings.embedding, hidden, batch_first=True)
        self.joined = nn.Linear(2 * hidden, hidden, bias=False)
        self.head = nn.Linear(hidden, slots)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -INITIAL_BOUND, INITIAL_BOUND, generator=generator)

    def encode(self, rows: torch.Tensor, present: torch.Tensor) -> Code:
        """The codes of slots (batch, positions); `present` marks the positions that are not padding."""
        states = F.normalize(self.encoder(F.embedding(rows, self.embedding))[0], dim=-1) * present[..., None]
        return Code(states, self.whole(states))

    @staticmethod
    def whole(states: torch.Tensor) -> torch.Tensor:
        """The code of a whole architecture (..., hidden), from its states; padded positions are 0."""
        return F.normalize(states.sum(-2), dim=-1)

    def predict(self, whole: torch.Tensor) -> torch.Tensor:
        """The predicted target (batch) of whole codes (batch, hidden): a share in (0, 1)."""
        return self.predictor(whole)[..., 0].sigmoid()  # type: ignore[no-any-return]

    def decode(self, code: Code, rows: torch.Tensor) -> torch.Tensor:
        """Logits (batch, positions, slots) of the slot at each position, given codes and the slots before it."""
        before = F.pad(rows[:, :-1], (1, 0), value=self._start)
        outputs, _ = self.decoder(F.embedding(before, self.embedding), self._begin(code))
        return self._attend(code, outputs)

    def write(self, code: Code, legal: Legal) -> list[list[int]]:
        """The most probable legal genome under each code of a batch, token by token."""
        written: list[list[int]] = [[] for _ in code.whole]
        state, last = self._begin(code), torch.full((len(written),), self._start)
        while any(choices := [list(legal(one)) for one in written]):
            outputs, state = self.decoder(self.embedding[last][:, None], state)
            logits = self._attend(code, outputs)[:, 0]
            for row, slots in enumerate(choices):
                if slots:  # the others are complete; their outputs are not read
                    last[row] = slots[int(logits[row, slots].argmax())]
                    written[row].append(int(last[row]))
        return written

    @property
    def _start(self) -> int:
        return len(self.embedding) - 1

    @staticmethod
    def _begin(code: Code) -> tuple[torch.Tensor, torch.Tensor]:
        return code.whole[None].contiguous(), torch.zeros_like(code.whole)[None]

    def _attend(self, code: Code, outputs: torch.Tensor) -> torch.Tensor:
        """Logits of the decoder's outputs, which attend to the encoder's states."""
        missing = (code.states == 0).all(-1)[:, None]
        scores = (outputs @ code.states.transpose(1, 2)).masked_fill(missing, -torch.inf)
        context = scores.softmax(-1) @ code.states
        return self.head(self.joined(torch.cat([context, outputs], -1)).tanh())  # type: ignore[no-any-return]


class ArchitectureModel:
    """Networks trained on some architectures; everything random follows from `seed`.

    `genomes`: the slots of each token; `targets`: a share in [0, 1] for each, higher is better. Computed in one thread
    and in float64, so that the same architectures are written on any number of cores and, except for ties, on
    processors that add up in another order.
    """

    def __init__(
        self, genomes: Sequence[Sequence[int]], targets: np.ndarray, slots: int, settings: NetworkSettings, seed: int
    ) -> None:
        self._networks = ArchitectureNetworks(slots, settings, seed).double()
        rows, present = _padded(genomes)
        values = torch.from_numpy(targets).double()
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self._networks.parameters(), lr=settings.lr, fused=True)
        with single_thread(), torch.enable_grad():
            for _ in range(settings.steps):
                drawn = torch.randint(len(rows), (settings.batch_size,), generator=generator)
                picks, times = drawn.unique(return_counts=True)  # few genomes, so many are drawn several times
                loss = self._loss(rows[picks], present[picks], values[picks], times, settings.trade_off)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self._networks.parameters(), 5.0)
                optimizer.step()
        self.loss = float(loss.detach())
        """The loss of the last batch."""

    def _loss(
        self, rows: torch.Tensor, present: torch.Tensor, values: torch.Tensor, times: torch.Tensor, trade_off: float
    ) -> torch.Tensor:
        """The loss of a batch that holds each architecture `times` times."""
        code = self._networks.encode(rows, present)
        errors = (self._networks.predict(code.whole) - values).square() @ times.double() / times.sum()
        logits = self._networks.decode(code, rows)
        per_token = (present * times[:, None])[present].double()
        written = F.cross_entropy(logits[present], rows[present], reduction="none") @ per_token / per_token.sum()
        return trade_off * errors + (1 - trade_off) * written

    def predictions(self, genomes: Sequence[Sequence[int]]) -> np.ndarray:
        """The predicted targets of genomes."""
        rows, present = _padded(genomes)
        with single_thread(), torch.inference_mode():
            return np.asarray(self._networks.predict(self._networks.encode(rows, present).whole).numpy())

    def uphill(self, genomes: Sequence[Sequence[int]], step: float, legal: Legal) -> list[list[int]]:
        """The slots of the genomes decoded after one step of length `step` along the predictor's gradient, from each
        given genome.

        The step moves the states of the encoder (section 3.4); at each position the most probable legal slot is
        written.
        """
        rows, present = _padded(genomes)
        with single_thread():
            with torch.enable_grad():
                states = self._networks.encode(rows, present).states.detach().requires_grad_()
                predicted = self._networks.predict(self._networks.whole(states)).sum()
                (gradient,) = torch.autograd.grad(predicted, states)
            gradient = gradient * present[..., None]  # padded positions stay 0
            moved = states.detach() + step * F.normalize(gradient.flatten(1), dim=1).view_as(gradient)
            with torch.inference_mode():
                return self._networks.write(Code(moved, self._networks.whole(moved)), legal)


def _padded(genomes: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The slots (genomes, most positions), and a mask of the positions that are not padding."""
    longest = max(map(len, genomes))
    rows = torch.tensor([[*genome, *[0] * (longest - len(genome))] for genome in genomes])
    lengths = torch.tensor(list(map(len, genomes)))
    return rows, torch.arange(longest) < lengths[:, None]
