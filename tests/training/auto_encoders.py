"""A small search space of convolutional auto-encoders and a small picture, for tests of regression on pictures."""

from typing import TYPE_CHECKING

import numpy as np

from nasrun.core import Cost, Genome, SearchSpace, Task, Token

if TYPE_CHECKING:
    from torch import nn

WIDTHS = (4, 8, 16)
KERNELS = (3, 5)


def smooth(bands: int = 2, height: int = 200, width: int = 260, seed: int = 0) -> np.ndarray:
    """A made-up picture (bands, height, width) of bytes that varies everywhere, in waves and with some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(height)[:, None] / 17, np.arange(width)[None, :] / 23
    waves = [np.sin(rows + band) + np.cos(columns * (band + 1)) for band in range(bands)]
    return ((np.array(waves) + rng.normal(0, 0.3, (bands, height, width))) * 40 + 120).clip(0, 255).astype(np.uint8)


class AutoEncoders(SearchSpace):
    """Genome `(width, kernel)`: two convolutions of stride 2, the second of twice the width, and two back."""

    kinds = ("classification", "regression")
    size = len(WIDTHS) * len(KERNELS)

    def __init__(self) -> None:
        self.mutations = {"width": self._mutate_width}

    def sample(self, rng: np.random.Generator) -> Genome:
        return int(rng.choice(WIDTHS)), int(rng.choice(KERNELS))

    def _mutate_width(self, genome: Genome, rng: np.random.Generator) -> Genome:
        return int(rng.choice([width for width in WIDTHS if width != genome[0]])), genome[1]

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        return first[0], second[1]

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        return (WIDTHS, KERNELS, ())[len(prefix)]

    def encode(self, genome: Genome) -> np.ndarray:
        return np.array([WIDTHS.index(genome[0]) / 2, KERNELS.index(genome[1])])  # type: ignore[arg-type]

    def decode(self, vector: np.ndarray) -> Genome:
        return WIDTHS[round(float(vector[0]) * 2)], KERNELS[round(float(vector[1]))]

    def validate(self, genome: Genome) -> None:
        if len(genome) != 2 or genome[0] not in WIDTHS or genome[1] not in KERNELS:
            raise ValueError(f"{genome}: expected a width of {WIDTHS} and a kernel of {KERNELS}")

    def format(self, genome: Genome) -> str:
        return f"{genome[0]}k{genome[1]}"

    def parse(self, text: str) -> Genome:
        genome = tuple(int(part) for part in text.split("k"))
        self.validate(genome)
        return genome

    def _layers(self, genome: Genome, task: Task) -> list[tuple[int, int, int]]:
        """Input and output channels of each convolution, and what its output is smaller than the image by."""
        width = int(genome[0])
        return [(task.channels, width, 2), (width, 2 * width, 4), (2 * width, width, 2), (width, task.outputs, 1)]

    def cost(self, genome: Genome, task: Task) -> Cost:
        parameters = flops = 0
        for inputs, outputs, smaller in self._layers(genome, task):
            weights = inputs * outputs * int(genome[1]) ** 2
            parameters += weights + outputs
            flops += 2 * weights * (task.height // smaller) * (task.width // smaller)
        return Cost(parameters, flops)

    def build(self, genome: Genome, task: Task) -> "nn.Module":
        from torch import nn

        kernel = int(genome[1])
        parts: list[nn.Module] = []
        for number, (inputs, outputs, _) in enumerate(self._layers(genome, task)):
            parts += [nn.Upsample(scale_factor=2)] if number >= 2 else []
            parts += [nn.Conv2d(inputs, outputs, kernel, stride=2 if number < 2 else 1, padding=kernel // 2), nn.ReLU()]
        return nn.Sequential(*parts[:-1])
