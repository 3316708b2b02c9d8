"""Outputs as means over an image and its mirror image."""

import torch
from torch import nn


class MirrorAverage(nn.Module):
    """A network whose answer is the mean of those for an image and for its mirror image, left to right.

    Takes float (batch, channels, height, width). Of a classifier the mean is of logits (batch, classes); with
    `pictures`, of regression, of pictures (batch, outputs, height, width), the second one mirrored back.
    """

    def __init__(self, network: nn.Module, pictures: bool = False) -> None:
        super().__init__()
        self.network, self.pictures = network, pictures

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.network(images)
        second: torch.Tensor = self.network(images.flip(3))
        return (first + (second.flip(3) if self.pictures else second)) * 0.5
