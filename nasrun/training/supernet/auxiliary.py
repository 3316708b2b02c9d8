"""A second classifier within a network of all architectures, which helps to train it. Imports torch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasrun.spaces.layers import normalise_by_batch

HIDDEN, WIDE = 128, 768
"""Channels of its two convolutions, as in ENAS's code."""


class AuxiliaryHead(nn.Module):
    """Classifies by the output of one part of a network, while that is trained.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5; its layers are those of the public
    code of ENAS, but that areas are averaged to 2 by 2 for images of any size. `place`: the name of the part, whose
    output has `channels` channels. `weight`: of its loss, beside that of the network itself.
    """

    def __init__(self, model: nn.Module, place: str, channels: int, outputs: int, weight: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, HIDDEN, 1, bias=False),
            nn.BatchNorm2d(HIDDEN),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, WIDE, 2, bias=False),
            nn.BatchNorm2d(WIDE),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(WIDE, outputs),
        )
        normalise_by_batch(self)
        self._weight = weight
        self._seen: Tensor | None = None
        model.get_submodule(place).register_forward_hook(self._look)

    def _look(self, part: nn.Module, inputs: Any, output: Tensor) -> None:
        self._seen = output if part.training and torch.is_grad_enabled() else None

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, outputs) by features (batch, channels, height, width)."""
        logits: Tensor = self.layers(features)
        return logits

    def loss(self, answers: Tensor) -> Tensor:
        """Its weighted loss for what the network saw last; `answers` as for `cross_entropy`."""
        assert self._seen is not None, "the network is trained first"
        features, self._seen = self._seen, None
        return self._weight * F.cross_entropy(self(features).float(), answers)
