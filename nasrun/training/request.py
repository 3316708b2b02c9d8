"""What is asked of a training run, the same for all networks that train together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData, steps_per_epoch
from nasrun.training.settings import TrainSettings


@dataclass(frozen=True)
class Limits:
    """When to stop early: `seconds` of wall time (None: never); of many networks together, of each one's share.
    `spent`: seconds that count as gone at the start, for a training run that begins a second time."""

    seconds: float | None = None
    spent: float = 0.0


@dataclass(frozen=True)
class TrainingRequest:
    """How networks are trained, on what, and where.

    `part`: the part of the data that is learned from. `validation`: the one that is measured after each epoch; None:
    nothing is measured. Epochs count from `first_epoch`, so that a warm-started network continues in its schedule.
    `resumable`: the state of the training is given at its end; `state`: the one to continue from, None for a new one. A
    network with either is trained by autograd, alone. With the same seed and schedule, a continued training run equals
    an uninterrupted one. `on_step`: is told after each step of a network that trains alone how many epochs are
    done, and which share of the next.
    """

    data: DeviceData
    settings: TrainSettings
    runtime: Runtime
    part: str = "train"
    validation: str | None = "validation"
    first_epoch: int = 0
    limits: Limits = Limits()
    resumable: bool = False
    state: Mapping[str, torch.Tensor] | None = None
    on_step: Callable[[int, float], None] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return steps_per_epoch(self.data.split(self.part), self.settings)

    @property
    def schedule_steps(self) -> int:
        """Steps over which the schedule of the learning rate is laid."""
        return (self.settings.schedule_epochs or self.settings.epochs) * self.steps_per_epoch

    @property
    def alone(self) -> bool:
        """Whether each network needs autograd, which trains one at a time."""
        stateful = self.resumable or self.state is not None
        return stateful or self.settings.needs_autograd or self.data.teacher is not None or self.data.regression
