"""Weights of architectures that are learned by gradient: one vector per position of a genome. Imports torch.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), section 2.2.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nasrun.core import Derivation, Token
from nasrun.training.optimizer_state import read_state, restore_state
from nasrun.training.supernet.settings import ArchitectureSettings

FIRST = 1e-3
"""Standard deviation of the first weights."""
FIXED, MEMORY, STATE = "fixed", "memory.", "/"


class ArchitectureWeights(nn.Module):
    """A vector of logits per position of a genome, over the choices there, with the Adam that learns them.

    `positions`: the choices. `summed`: positions that are added up in one node, which then have a logit each, node by
    node (`edges`; PC-DARTS); empty: they have none. New logits are normal with a standard deviation of 0.001, from
    `generator`, as in the authors' code. `fixed`: positions that are decided, with the place of their choice (SGAS).
    `memory`: what a method remembers from epoch to epoch, by name.
    """

    def __init__(
        self,
        positions: Sequence[Sequence[Token]],
        settings: ArchitectureSettings,
        generator: torch.Generator,
        summed: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        self.positions, self.summed = positions, summed

        def new(size: int) -> nn.Parameter:
            return nn.Parameter(FIRST * torch.randn(size, generator=generator))

        self.logits = nn.ParameterList([new(len(choices)) for choices in positions])
        self.edges = nn.ParameterList([new(len(group)) for group in summed])
        self.fixed: dict[int, int] = {}
        self.memory: dict[str, Tensor] = {}
        self._settings = settings
        self._optimizer: torch.optim.Optimizer | None = None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over all logits, made when the module lies on its device."""
        if self._optimizer is None:
            one = self._settings
            self._optimizer = torch.optim.Adam(
                self.parameters(),
                lr=one.architecture_lr,
                betas=one.architecture_betas,
                weight_decay=one.architecture_weight_decay,
            )
        return self._optimizer

    def learn(self, gradients: Sequence[Tensor | None]) -> None:
        """One step of Adam by the gradients of all logits, in the order of `parameters`."""
        for parameter, gradient in zip(self.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def probabilities(self) -> list[Tensor]:
        """Per position the softmax of its logits, float (choices,); of a decided one 1 for its choice, and 0."""
        found = [torch.softmax(logits, 0) for logits in self.logits]
        for position, choice in self.fixed.items():
            found[position] = torch.zeros_like(found[position])
            found[position][choice] = 1.0
        return found

    def edge_shares(self) -> list[Tensor | None]:
        """Per position its share of the node that it is added to, a tensor without dimensions; None where there are no
        others. Empty without `summed`."""
        if not self.summed:
            return []
        shares: list[Tensor | None] = [None] * len(self.positions)
        for group, logits in zip(self.summed, self.edges, strict=True):
            for place, share in zip(group, torch.softmax(logits, 0).unbind(), strict=True):
                shares[place] = share
        return shares

    @torch.no_grad()
    def derived(self) -> Derivation:
        """The choice of most weight at each position (of equals the first), and all weights."""
        rows = [row.tolist() for row in self.probabilities()]
        chosen = zip(self.positions, rows, strict=True)
        genome = tuple(choices[row.index(max(row))] for choices, row in chosen)
        return Derivation(genome, tuple(tuple(row) for row in rows))

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch takes up, as tensors by name."""
        found = {name: parameter.detach() for name, parameter in self.named_parameters()}
        found |= read_state(self, self.optimizer)
        fixed = [self.fixed.get(position, -1) for position in range(len(self.positions))]
        found |= {MEMORY + name: value for name, value in self.memory.items()}
        return {**found, FIXED: torch.tensor(fixed, dtype=torch.int64)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave; KeyError where it is of others."""
        for name, parameter in self.named_parameters():
            parameter.copy_(state[name])
        restore_state(self, self.optimizer, {name: value for name, value in state.items() if STATE in name})
        self.memory = {name.removeprefix(MEMORY): value for name, value in state.items() if name.startswith(MEMORY)}
        self.fixed = {place: choice for place, choice in enumerate(state[FIXED].tolist()) if choice >= 0}
