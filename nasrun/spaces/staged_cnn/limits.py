"""The legal values of a stage of `staged_cnn`."""

from dataclasses import dataclass

from nasrun.spaces.staged_cnn.genome import DEPTHWISE, EXPANDING, Stage

STEP = 4
"""Widths are multiples of this."""


@dataclass(frozen=True)
class Limits:
    """The legal values of all tokens, in the order of `choices`."""

    activations: tuple[str, ...]
    blocks: tuple[str, ...]
    max_stages: int
    max_repeats: int
    kernels: tuple[int, ...]
    depthwise_kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    squeeze: bool
    widths: tuple[int, ...]

    def kernels_of(self, block: str) -> tuple[int, ...]:
        """The legal kernels of a kind of block. Only `cn` may have 1: other blocks, and the stem, would see no
        neighbouring pixel."""
        if block in DEPTHWISE:
            return self.depthwise_kernels
        return self.kernels if block == "cn" else tuple(kernel for kernel in self.kernels if kernel > 1)

    def expansions_of(self, block: str) -> tuple[int, ...]:
        """The expansions of a kind of block; 1 for those without expansion."""
        return self.expansions if block in EXPANDING else (1,)

    def squeeze_of(self, block: str) -> tuple[int, ...]:
        """0, and 1 if a kind of block may have squeeze-and-excite."""
        return (0, 1) if block == "ir" and self.squeeze else (0,)

    def width_near(self, width: float) -> int:
        """The legal width nearest to a number."""
        return int(min(max(STEP * round(width / STEP), self.widths[0]), self.widths[-1]))

    def stepped(self, width: int, factor: float) -> int:
        """A width times a factor, at least the next legal width if there is one."""
        near = self.width_near(width * factor)
        return near if near != width else self.width_near(width + (STEP if factor > 1 else -STEP))

    def made_of(self, block: str, stage: Stage) -> Stage:
        """A stage changed to another kind of block; values that the kind does not allow become its first legal
        value."""
        kernels, expansions, squeeze = self.kernels_of(block), self.expansions_of(block), self.squeeze_of(block)
        return stage._replace(
            block=block,
            kernel=stage.kernel if stage.kernel in kernels else kernels[0],
            expansion=stage.expansion if stage.expansion in expansions else expansions[len(expansions) // 2],
            squeeze=stage.squeeze if stage.squeeze in squeeze else squeeze[0],
        )
