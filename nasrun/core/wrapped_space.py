"""A search space that wraps another; strategies see what the wrapper makes of it."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core import Cost, Genome, Morphing, SearchSpace, Task, Token
from nasrun.core.types import CellGraph

if TYPE_CHECKING:
    import torch


class WrappedSpace(SearchSpace):
    """Passes every call to the inner space (`inner`), unless a subclass overrides it."""

    def __init__(self, inner: SearchSpace) -> None:
        self.inner = inner
        self.size, self.kinds, self.flops_limit = inner.size, inner.kinds, inner.flops_limit
        self.start, self.section, self.mutations = inner.start, inner.section, inner.mutations
        self.null_mutations = inner.null_mutations
        self.has_supernet, self.has_parts = inner.has_supernet, inner.has_parts
        self.operation_weights = inner.operation_weights
        self.mixed_channels, self.summed_positions = inner.mixed_channels, inner.summed_positions
        self.skip, self.nothing, self.convolutions = inner.skip, inner.nothing, inner.convolutions
        self.scaled_settings = inner.scaled_settings
        self.has_morphisms = inner.has_morphisms
        self.free_widths, self.draws = inner.free_widths, inner.draws

    def sample(self, rng: np.random.Generator) -> Genome:
        return self.inner.sample(rng)

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        return self.inner.crossover(first, second, rng)

    def neighbours(self, genome: Genome) -> list[Genome]:
        return self.inner.neighbours(genome)

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        return self.inner.choices(prefix)

    def referred(self, prefix: Genome, token: Token) -> int | None:
        return self.inner.referred(prefix, token)

    def encode(self, genome: Genome) -> np.ndarray:
        return self.inner.encode(genome)

    def decode(self, vector: np.ndarray) -> Genome:
        return self.inner.decode(vector)

    def width_positions(self, genome: Genome) -> tuple[int, ...]:
        return self.inner.width_positions(genome)

    def widths_of(self, genome: Genome) -> tuple[int, ...]:
        return self.inner.widths_of(genome)

    def with_widths(self, widths: Sequence[float]) -> Genome:
        return self.inner.with_widths(widths)

    def layers(self, genome: Genome) -> int:
        return self.inner.layers(genome)

    def parts(self, genome: Genome) -> int | None:
        return self.inner.parts(genome)

    def simplest(self, rng: np.random.Generator) -> Genome:
        return self.inner.simplest(rng)

    def grown(self, genome: Genome) -> list[Genome]:
        return self.inner.grown(genome)

    def known(self) -> Mapping[str, Genome]:
        return self.inner.known()

    def fit(self, genome: Genome) -> Genome:
        return self.inner.fit(genome)

    def sizes(self, genome: Genome) -> Sequence[Genome]:
        return self.inner.sizes(genome)

    def usage(self, genome: Genome) -> float:
        return self.inner.usage(genome)

    def narrow(self, share: float) -> None:
        self.inner.narrow(share)

    def flops_limit_for(self, task: Task) -> int | None:
        return self.inner.flops_limit_for(task)

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        return self.inner.hparams(genome)

    def scores(self, genome: Genome) -> tuple[float, ...]:
        return self.inner.scores(genome)

    def setting_factors(self, genome: Genome) -> Mapping[str, float]:
        return self.inner.setting_factors(genome)

    def key(self, genome: Genome) -> Hashable:
        return self.inner.key(genome)

    def validate(self, genome: Genome) -> None:
        self.inner.validate(genome)

    def format(self, genome: Genome) -> str:
        return self.inner.format(genome)

    def parse(self, text: str) -> Genome:
        return self.inner.parse(text)

    def cost(self, genome: Genome, task: Task) -> Cost:
        return self.inner.cost(genome, task)

    def peak_values(self, genome: Genome, task: Task) -> int | None:
        return self.inner.peak_values(genome, task)

    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        return self.inner.build(genome, task)

    def outline(self, genome: Genome, task: Task) -> "torch.nn.Module":
        return self.inner.outline(genome, task)

    def can_morph(self, parent: Genome, child: Genome) -> bool:
        return self.inner.can_morph(parent, child)

    def morph(
        self, parent: Genome, child: Genome, weights: "Mapping[str, torch.Tensor]", network: "torch.nn.Module"
    ) -> Morphing:
        return self.inner.morph(parent, child, weights, network)

    def supernet(self, task: Task) -> "torch.nn.Module":
        return self.inner.supernet(task)

    def check_supernet(self, task: Task) -> None:
        self.inner.check_supernet(task)

    def smaller(self, genome: Genome, rng: np.random.Generator | None = None) -> Genome:
        return self.inner.smaller(genome, rng)

    def auxiliary_place(self, task: Task) -> tuple[str, int] | None:
        return self.inner.auxiliary_place(task)

    def supernet_name(self, genome: Genome, task: Task) -> Callable[[str], str]:
        return self.inner.supernet_name(genome, task)

    def positions(self) -> tuple[tuple[Token, ...], ...]:
        return self.inner.positions()

    def relaxed(self, task: Task, partial: int = 1) -> "torch.nn.Module":
        return self.inner.relaxed(task, partial)

    def cell_graphs(self, genome: Genome) -> Mapping[str, CellGraph]:
        return self.inner.cell_graphs(genome)
