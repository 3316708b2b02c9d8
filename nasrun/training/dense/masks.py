"""Dropout masks of many networks, drawn for many steps at once: each network from a generator of its own."""

from collections.abc import Sequence

import torch

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

    `widths`: of the hidden layers, per network. `rates`: of the dropout after each hidden layer, below 1 - 1 / LEVELS.
    What a network is given depends on its own generator, widths and batch alone, not on the networks beside it.
    """

    def __init__(
        self, widths: Sequence[Sequence[int]], rates: Sequence[float], batch: int, generators: Sequence[torch.Generator]
    ) -> None:
        self._widths, self._batch, self._generators = widths, batch, generators
        self._drops = [round(rate * LEVELS) for rate in rates]
        self._factors = [1 / (1 - rate) for rate in rates]
        self._place = 0
        self._device = generators[0].device
        largest = [max(layer) for layer in zip(*widths, strict=True)]
        held = 4 * len(widths) * batch * sum(largest)
        self._steps = CUDA_STEPS if self._device.type == "cuda" else max(1, min(STEPS, BYTES // max(held, 1)))
        # Written anew for every few steps: fresh memory would cost as much as the drawing.
        self._blocks = [
            torch.zeros(self._steps, len(widths), batch, width, device=self._device) if drops else None
            for width, drops in zip(largest, self._drops, strict=True)
        ]

    def following(self) -> list[torch.Tensor | None]:
        """Per hidden layer the factors of the next step, (networks, batch, largest width); None without dropout.

        They are good until the next call.
        """
        if self._place == 0 and any(self._drops):
            for network, generator in enumerate(self._generators):
                self._draw(network, generator)
        place, self._place = self._place, (self._place + 1) % self._steps
        return [None if block is None else block[place] for block in self._blocks]

    def _draw(self, network: int, generator: torch.Generator) -> None:
        """Fill in the factors of one network for some steps."""
        sizes = [
            self._batch * width if drops else 0 for width, drops in zip(self._widths[network], self._drops, strict=True)
        ]
        # Whole 64-bit numbers per step: so the masks do not depend on how many steps are drawn together.
        numbers = torch.empty(self._steps, -(-sum(sizes) // 4), dtype=torch.int64, device=self._device)
        bits = numbers.random_(-(2**63), None, generator=generator).view(torch.int16)
        for layer, part in enumerate(bits[:, : sum(sizes)].split(sizes, 1)):
            block, width = self._blocks[layer], self._widths[network][layer]
            if block is not None:
                # Kept from this number on. Clamping to it and the one before leaves 1 or 0 above the latter;
                # comparing, and turning the answers into floats, takes several times as long.
                first = self._drops[layer] - LEVELS // 2
                target = block[:, network, :, :width]
                target.copy_(part.clamp_(first - 1, first).view(self._steps, self._batch, width))
                target.sub_(first - 1).mul_(self._factors[layer])
