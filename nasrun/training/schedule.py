"""Optimizers and learning rates."""

import math
from typing import Any

import torch

from nasrun.training.settings import TrainSettings

WARM_UP = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def make_optimizer(model: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer with its fused kernels (one call for all parameters, CPU and CUDA), where it has any: Adadelta has
    none. SGD uses Nesterov momentum, or with `nesterov` off the plain one.

    Biases and normalisation parameters are not decayed, as is usual.
    """
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return optimizer_for(matrices, vectors, settings)


def optimizer_for(
    decayed: list[torch.nn.Parameter], others: list[torch.nn.Parameter], settings: TrainSettings
) -> torch.optim.Optimizer:
    """The optimizer over tensors that weight decay applies to, and over others."""
    groups: list[dict[str, Any]] = [{"params": decayed + others}]
    if settings.weight_decay:
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others}]
    lr = settings.peak_lr
    if settings.optimizer == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum, nesterov=nesterov, fused=True)
    if settings.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=lr, foreach=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, weight_decay=0.0, fused=True)


def learning_rate(settings: TrainSettings, step: int, steps: int) -> float:
    """The rate at `step` of `steps`, without state, so that training can stop and go on anywhere.

    `one_cycle` warms up to the peak over the first 30 % along a cosine, then anneals to a ten-thousandth of the start
    (Smith and Topin, "Super-Convergence", 2018, as in `torch.optim.lr_scheduler.OneCycleLR`).
    """
    peak = settings.peak_lr
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "cosine":
        return _cosine(peak, 0.0, step / steps)
    top = WARM_UP * steps - 1
    start = peak / START_DIVISOR
    if step <= top:
        return _cosine(start, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, start / END_DIVISOR, (step - top) / (steps - 1 - top) if steps - 1 > top else 1.0)


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
