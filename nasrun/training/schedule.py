"""Optimizers and learning rates."""

import math
from typing import Any

import torch

from nasrun.training.settings import TrainSettings

WARM_UP = {"one_cycle": 0.3, "linear": 0.2}
"""The share of the steps over which the rate rises where the settings do not say; under other schedules it does not."""
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def make_optimizer(model: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer with its fused kernels (one call for all parameters, CPU and CUDA), where it has any: Adadelta has
    none. SGD uses Nesterov momentum, or with `nesterov` off the plain one.

    Biases and normalisation parameters are not decayed, as is usual, unless `decay_all` is on.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1 or settings.decay_all]
    return optimizer_for(decayed, [p for p in trained if p.ndim <= 1 and not settings.decay_all], settings)


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


def learning_rate(settings: TrainSettings, step: float, steps: int) -> float:
    """The rate at `step` of `steps`, without state, so that training can stop and continue anywhere.

    `one_cycle` rises to the peak over the first 30 % along a cosine, then falls to a ten-thousandth of the start
    (Smith and Topin, "Super-Convergence", 2018, as in `torch.optim.lr_scheduler.OneCycleLR`). `linear` rises from 0
    over the first 20 % and falls to 0, both in straight lines. `cosine` falls along half a cosine, `constant` stays;
    with `warm_up` both rise in a straight line first. No step has the rate 0. A step need not be a whole number.
    """
    peak, share = settings.peak_lr, WARM_UP.get(settings.schedule, 0.0)
    rise = (share if settings.warm_up is None else settings.warm_up) * steps
    if settings.schedule == "one_cycle":
        return _one_cycle(peak, step, steps, rise - 1)
    if step + 1 <= rise:
        return peak * (step + 1) / rise
    if settings.schedule == "linear":
        return peak * (steps - step) / (steps - rise) if step >= rise else peak
    return peak if settings.schedule == "constant" else _cosine(peak, 0.0, max(0.0, step - rise) / (steps - rise))


def _one_cycle(peak: float, step: float, steps: int, top: float) -> float:
    """With the peak at the step `top`, which need not be a whole one."""
    start = peak / START_DIVISOR
    if step <= top:
        return _cosine(start, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, start / END_DIVISOR, (step - top) / (steps - 1 - top) if steps - 1 > top else 1.0)


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
