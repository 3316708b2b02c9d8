"""The options of training shared weights, and the weights of architectures: what YAMLs of evaluators may set."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from nasrun.core.options import Above, AtLeast, Between, Positive


@dataclass(kw_only=True, frozen=True)
class SharedSettings:
    """How shared weights are trained: Nesterov SGD, one architecture a batch.

    The learning rate falls along half a cosine from `lr` to `lr_min`: over all epochs, or over `cycle` epochs and then
    anew, each cycle `cycle_growth` times as long as the one before (Loshchilov and Hutter, "SGDR", 2017, as in ENAS).
    `weight_decay` is on weights, not on biases and normalisation. `shift` and `flip` as in `TrainSettings`.
    """

    batch_size: Positive = 128
    lr: Annotated[float, Above(0)] = 0.05
    lr_min: Annotated[float, AtLeast(0)] = 0.0005
    cycle: Positive | None = None
    cycle_growth: Positive = 2
    momentum: Annotated[float, Between(0, 1, open_high=True)] = 0.9
    weight_decay: Annotated[float, AtLeast(0)] = 0.0001
    clip_norm: Annotated[float, Above(0)] | None = 5.0
    shift: Annotated[int, AtLeast(0)] = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min={self.lr_min}: must be at most lr, {self.lr}")

    def rate(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The learning rate at a step, counted from 0 over all epochs; behind the last epoch it stays at `lr_min`."""
        start, length = 0, epochs if self.cycle is None else self.cycle
        epoch = step / steps_per_epoch
        while self.cycle is not None and epoch >= start + length:
            start, length = start + length, length * self.cycle_growth
        share = min((epoch - start) / length, 1.0)
        return self.lr_min + (self.lr - self.lr_min) * (1 + math.cos(math.pi * share)) / 2


Beta = Annotated[float, Between(0, 1, open_high=True)]


@dataclass(kw_only=True, frozen=True)
class ArchitectureSettings:
    """How weights of architectures are learned: by Adam, each step before one of the shared weights.

    Defaults are those of DARTS (Liu et al. 2019, arXiv 1806.09055, appendix A.1.1). `architecture_data`: what they are
    learned on, the half of the training images that shared weights are not trained on, or the validation images that
    architectures are scored on. `architecture_warm_up`: epochs in which the shared weights alone are trained; `auto`:
    three tenths of all, as PC-DARTS has 15 of 50. `affine`: whether normalisations of operations have a scale and an
    offset, by which one of them may gain weight without being better.
    """

    architecture_lr: Annotated[float, Above(0)] = 0.0003
    architecture_betas: tuple[Beta, Beta] = (0.5, 0.999)
    architecture_weight_decay: Annotated[float, AtLeast(0)] = 0.001
    architecture_data: Literal["half", "validation"] = "half"
    architecture_warm_up: Annotated[int, AtLeast(0)] | Literal["auto"] = 0
    affine: bool = False

    def warm_up_epochs(self, epochs: int) -> int:
        """`architecture_warm_up` of a number of epochs."""
        return 3 * epochs // 10 if self.architecture_warm_up == "auto" else self.architecture_warm_up
