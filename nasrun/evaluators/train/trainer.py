"""How the networks of jobs are built and trained: on the data and the hardware of a run, and on nothing else."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from nasrun.core import Job, Progress, SearchSpace, Task, seeding
from nasrun.evaluators.train.archives import LINEAGE, warm_start
from nasrun.evaluators.train.initial import InitialWeights
from nasrun.hardware.devices import Runtime
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData
    from nasrun.training.outcomes import Training, TrainingError
    from nasrun.training.request import Limits, TrainingRequest

WITHIN_SECONDS = 2.0
"""Between two signs of life within an epoch."""
CALIBRATION = 256
"""Images by whose statistics inherited layers are set up."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains networks of a search space, each from the seed of its job, in a scope of its own for torch's global
    generators. `initial`: weights that networks begin with. `tell`: is told of the progress."""

    space: SearchSpace
    task: Task
    runtime: Runtime
    data: "DeviceData"
    initial: InitialWeights | None
    tell: Callable[[Progress], None]

    def request(self, settings: TrainSettings, limits: "Limits") -> "TrainingRequest":
        """The request to train on the run's data and hardware; of networks that start from new weights."""
        from nasrun.training.request import TrainingRequest

        return TrainingRequest(self.data, settings, self.runtime, limits=limits)

    def train(self, job: Job, request: "TrainingRequest") -> "tuple[Training, torch.nn.Module]":
        """Build, warm-start and train the network of a job."""
        from nasrun.training.loop import train

        epochs = request.settings.epochs
        with self.own_generators():
            model = self.new_network(job)
            images = partial(self._some_images, request.part)
            start = warm_start(model, job, request.settings, self.space, images)
            request = replace(request, first_epoch=start.epochs, state=start.state, on_step=self._within(job, epochs))
            training = train(model, job.seed, request, partial(self._tell_epoch, job, epochs))
        found = {**training.metrics, **start.metrics}
        if LINEAGE in found:
            found[LINEAGE] += training.metrics["epoch"]
        return replace(training, metrics=found), model

    def _some_images(self, part: str) -> "torch.Tensor":
        """Standardised images from all over a part of the data, float (n, channels, height, width) on the CPU."""
        import torch

        split = self.data.split(part)
        places = torch.linspace(0, len(split) - 1, min(len(split), CALIBRATION)).long()
        images = split.images_at(places.to(split.labels.device))
        return self.data.normalise(images, torch.contiguous_format).cpu()

    def train_together(
        self, jobs: Sequence[Job], request: "TrainingRequest"
    ) -> "list[tuple[Training | TrainingError, torch.nn.Module]]":
        """Build and train the networks of some jobs, which have the same settings and start from new weights."""
        from nasrun.training.loop import train_together

        def tell(network: int, epoch: int, metrics: Mapping[str, float]) -> None:
            self._tell_epoch(jobs[network], request.settings.epochs, epoch, metrics)

        with self.own_generators():
            models = [self.new_network(job) for job in jobs]
            outcomes = train_together(models, [job.seed for job in jobs], request, tell)
        return list(zip(outcomes, models, strict=True))

    def new_network(self, job: Job) -> "torch.nn.Module":
        """The network of a job, with initial weights that follow from its seed, and those to begin with, if any."""
        import torch

        torch.manual_seed(seeding.integer(job.seed, seeding.Purpose.INIT))
        model = self.space.build(job.trial.proposal.genome, self.task)
        if self.initial is not None:
            self.initial.give(model)
        return model

    def own_generators(self) -> AbstractContextManager[None]:
        """A scope at whose end torch's global generators are as they were."""
        import torch

        return torch.random.fork_rng([torch.cuda.current_device()] if self.runtime.device == "cuda" else [])

    def _tell_epoch(self, job: Job, epochs: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self.tell(Progress(job.trial.number, job.repeat, epoch, epochs, metrics))

    def _within(self, job: Job, epochs: int) -> Callable[[int, float], None]:
        """Tells the progress within an epoch now and then."""
        due = time.monotonic() + WITHIN_SECONDS

        def tell(done: int, share: float) -> None:
            nonlocal due
            if share < 1 and time.monotonic() >= due:
                due = time.monotonic() + WITHIN_SECONDS
                self.tell(Progress(job.trial.number, job.repeat, done, epochs, {}, share))

        return tell
