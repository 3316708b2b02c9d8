"""Images that begin small and grow in the course of a training run.

Small ones cost a network less and teach it the coarse things first, so that in the same time it learns more (Howard,
"Training Imagenet in 3 hours for $25", 2018; Tan and Le, "EfficientNetV2", 2021, section 4). What a step costs is taken
to be its share of the pixels beside a part that is the same for all; sizes, and the learning rate with them, go by the
share of that work that is done, so that each size has as much of the time as any other.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

STAGES = 3
"""Sizes of a training run, the last of which is the images' own."""
SAME_FOR_ALL = 0.15
"""Of what a step of whole images costs a small network on a CPU, the part that does not shrink with them: of a ResNet-8
on 32 x 32, images of 16 and 24 take 0.36 and 0.62 of the time."""


class Growth(NamedTuple):
    """How images grow over some `steps`, or epochs, from `first`, a share of their own sides, to 1."""

    first: float
    steps: int

    @property
    def sizes(self) -> tuple[float, ...]:
        """The share of the images' sides at each stage."""
        return tuple(self.first + (1 - self.first) * stage / (STAGES - 1) for stage in range(STAGES))

    def size(self, step: int) -> float:
        """The share of the images' sides at a step."""
        if self.first == 1:
            return 1.0
        return self.sizes[min(STAGES - 1, int(self.work(step) * STAGES / self.work(self.steps) + 1e-9))]

    def position(self, step: int) -> float:
        """The step of a training run on whole images at which as large a share of the work is done."""
        return step if self.first == 1 else self.work(step) / self.work(self.steps) * self.steps

    def work(self, step: int) -> float:
        """What the steps before one cost, in steps of whole images."""
        if self.first == 1:
            return float(step)
        costs = [SAME_FOR_ALL + (1 - SAME_FOR_ALL) * size**2 for size in self.sizes]
        of_each = self.steps / sum(1 / cost for cost in costs)
        done, left = 0.0, float(step)
        for cost in costs:
            here = min(left, of_each / cost)
            done, left = done + here * cost, left - here
        return done + left


def shrunk(images: "torch.Tensor", size: float) -> "torch.Tensor":
    """Images, float (N, C, H, W), at a share of their sides; the larger ones themselves at 1."""
    from torch.nn import functional as F

    if size == 1:
        return images
    sides = [max(1, round(side * size)) for side in images.shape[2:]]
    return F.interpolate(images, sides, mode="bilinear", align_corners=False, antialias=True)
