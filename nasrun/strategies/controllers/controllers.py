"""The networks of Q-learning: they read the tokens chosen so far and value each possible next token.

A token at a position of a genome is a slot, numbered from 0. A prefix is a row of slots, padded with the number of
slots. This module imports torch, so import it only when a network is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

HEAD_SCALE = 0.1
"""Keeps initial values small compared with learned ones, so that no token is preferred before it was tried."""


class Controller(nn.Module, ABC):
    """Q-values of all slots after a prefix. Weights are drawn from `generator`; biases begin at zero."""

    def __init__(self, slots: int, hidden: int) -> None:
        super().__init__()
        self.head = nn.Linear(hidden, slots, device="meta").to_empty(device="cpu")

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights of the head; subclasses draw their own."""
        bound = HEAD_SCALE / self.head.in_features**0.5
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.bias)

    @abstractmethod
    def forward(self, prefixes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Q-values (batch, slots) after prefixes, int64 (batch, positions), of `lengths`, int64 (batch)."""

    @abstractmethod
    def start(self) -> Any:
        """The state of the empty prefix."""

    @abstractmethod
    def read(self, state: Any, slots: Sequence[int]) -> Any:
        """The state after reading further slots."""

    @abstractmethod
    def values(self, state: Any) -> torch.Tensor:
        """Q-values (slots) in a state."""


class DenseController(Controller):
    """A multi-layer perceptron over the set of slots of a prefix, with one input per slot."""

    def __init__(self, slots: int, positions: int, hidden: int, layers: int) -> None:
        super().__init__(slots, hidden)
        self._positions = positions
        self.table = nn.Parameter(torch.empty(slots, hidden))
        self.bias = nn.Parameter(torch.empty(hidden))
        self.body = nn.ModuleList(
            nn.Linear(hidden, hidden, device="meta").to_empty(device="cpu") for _ in range(layers - 1)
        )

    def initialize(self, generator: torch.Generator) -> None:
        # A prefix sets at most one slot per position, so this many inputs add up.
        nn.init.normal_(self.table, std=(2 / self._positions) ** 0.5, generator=generator)
        nn.init.zeros_(self.bias)
        for layer in self.body:
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        super().initialize(generator)

    def forward(self, prefixes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        slots = len(self.table)
        inputs = torch.zeros(len(prefixes), slots + 1).scatter_(1, prefixes, 1.0)[:, :slots]
        return self.values(torch.addmm(self.bias, inputs, self.table))

    def start(self) -> torch.Tensor:
        return self.bias

    def read(self, state: torch.Tensor, slots: Sequence[int]) -> torch.Tensor:
        for slot in slots:
            state = state + self.table[slot]
        return state

    def values(self, state: torch.Tensor) -> torch.Tensor:
        activations = F.relu(state)
        for layer in self.body:
            activations = F.relu(layer(activations))
        return F.linear(activations, self.head.weight, self.head.bias)


class LSTMController(Controller):
    """An LSTM that reads the slots of a prefix in order; the head reads its last output."""

    def __init__(self, slots: int, hidden: int, layers: int) -> None:
        super().__init__(slots, hidden)
        self.embedding = nn.Parameter(torch.empty(slots + 1, hidden))
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True, device="meta").to_empty(device="cpu")

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.embedding, generator=generator)
        bound = 1 / self.lstm.hidden_size**0.5
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        super().initialize(generator)

    def forward(self, prefixes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        # An LSTM cannot read an empty sequence: for empty prefixes it reads one padding, whose output is not used.
        longest = max(1, int(lengths.max()))
        outputs, _ = self.lstm(F.embedding(prefixes[:, :longest], self.embedding))
        # A first output of zeros represents the empty prefix.
        outputs = F.pad(outputs, (0, 0, 1, 0))
        last = outputs[torch.arange(len(prefixes)), lengths]
        return F.linear(last, self.head.weight, self.head.bias)

    def start(self) -> tuple[torch.Tensor, Any]:
        zeros = torch.zeros(self.lstm.num_layers, self.lstm.hidden_size)
        return zeros[-1], (zeros, zeros)

    def read(self, state: tuple[torch.Tensor, Any], slots: Sequence[int]) -> tuple[torch.Tensor, Any]:
        outputs, memory = self.lstm(self.embedding[list(slots)], state[1])
        return outputs[-1], memory

    def values(self, state: tuple[torch.Tensor, Any]) -> torch.Tensor:
        return F.linear(state[0], self.head.weight, self.head.bias)


def make_controller(
    kind: Literal["dense", "lstm"], slots: int, positions: int, hidden: int, layers: int, seed: int
) -> Controller:
    """A controller with weights drawn from `seed`; torch's global generator is not used."""
    controller: Controller
    if kind == "dense":
        controller = DenseController(slots, positions, hidden, layers)
    else:
        controller = LSTMController(slots, hidden, layers)
    controller.initialize(torch.Generator().manual_seed(seed))
    return controller
