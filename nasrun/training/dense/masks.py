"""Dropout masks of many networks, drawn for many steps at once: each network from a generator of its own."""

from collections.abc import Sequence

import torch

from nasrun.training.dense.layers import aligned, matrices

STEPS = 64
"""Steps whose masks are drawn together, where memory allows: a call of the generator costs more than a mask."""

BYTES = 2**25
"""Of masks held at a time on the CPU."""

CUDA_STEPS = 16
"""Fixed there: the numbers that a CUDA generator gives depend on how many are drawn at a time."""

LEVELS = 2**16
"""Rates are rounded to multiples of 1 / LEVELS: a random 64-bit number gives four masks."""


class Masks:
    """Factors of hidden outputs: 0 for those that are dropped, else 1 / (1 - rate).

    `widths`: per hidden layer, of each network. `rates`: of the dropout after each hidden layer, below 1 - 1 / LEVELS.
    `padded`: how the factors lie in memory, as those of `Units` do. What a network is given depends on its own
    generator, widths and batch alone, not on the networks beside it.
    """

    def __init__(
        self,
        widths: Sequence[Sequence[int]],
        rates: Sequence[float],
        batch: int,
        generators: Sequence[torch.Generator],
        padded: bool = False,
    ) -> None:
        self._widths, self.batch, self._generators, self.padded = widths, batch, generators, padded
        self._drops = [round(rate * LEVELS) for rate in rates]
        self._factors = [1 / (1 - rate) for rate in rates]
        self._place = 0
        self._device = generators[0].device
        sizes = [aligned(batch * max(layer)) for layer in widths]
        held = 4 * len(generators) * sum(sizes)
        self.steps = CUDA_STEPS if self._device.type == "cuda" else max(1, min(STEPS, BYTES // max(held, 1)))
        # Written anew for every few steps: fresh memory would cost as much as the drawing.
        self._blocks = [
            torch.zeros(self.steps, len(generators), size, device=self._device) if drops else None
            for size, drops in zip(sizes, self._drops, strict=True)
        ]
        self._views = [
            None if block is None else matrices(block, [batch] * len(layer), layer, padded)
            for block, layer in zip(self._blocks, widths, strict=True)
        ]

    def following(self) -> list[torch.Tensor | None]:
        """Per hidden layer the factors of the next step, as `Units.flat`; None without dropout.

        They are good until the next call.
        """
        if self._place == 0 and any(self._drops):
            for network, generator in enumerate(self._generators):
                self._draw(network, generator)
        place, self._place = self._place, (self._place + 1) % self.steps
        return [None if block is None else block[place] for block in self._blocks]

    def _draw(self, network: int, generator: torch.Generator) -> None:
        """Fill in the factors of one network for some steps."""
        widths = [layer[network] for layer in self._widths]
        sizes = [self.batch * width if drops else 0 for width, drops in zip(widths, self._drops, strict=True)]
        # Whole 64-bit numbers per step: so the masks do not depend on how many steps are drawn together.
        numbers = torch.empty(self.steps, -(-sum(sizes) // 4), dtype=torch.int64, device=self._device)
        bits = numbers.random_(-(2**63), None, generator=generator).view(torch.int16)
        for layer, part in enumerate(bits[:, : sum(sizes)].split(sizes, 1)):
            views = self._views[layer]
            if views is not None:
                # Kept from this number on. Clamping to it and the one before leaves 1 or 0 above the latter;
                # comparing, and turning the answers into floats, takes several times as long.
                first = self._drops[layer] - LEVELS // 2
                target = views[network]
                target.copy_(part.clamp_(first - 1, first).view(target.shape))
                target.sub_(first - 1).mul_(self._factors[layer])
