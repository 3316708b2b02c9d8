"""The training loop, top to bottom, of one network or of several together.

A network learns from the batches of its trainee (`Single`, `Replicas`), is measured after each epoch, and stops early
where the settings or the limits say so. Nothing in the step loop waits for the device; metrics come once per epoch.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Protocol

import torch

from nasrun.core.words import counted
from nasrun.training.dense.replicas import Replicas
from nasrun.training.dense.steps import dense_shape
from nasrun.training.dense.threads import StoppedError, fit_one_thread, in_parallel, shares, tiny_is_zero
from nasrun.training.outcomes import Best, Metrics, Training, TrainingError
from nasrun.training.request import Limits, TrainingRequest
from nasrun.training.single import Single

OnEpoch = Callable[[int, int, Metrics], None]
"""Is told the place of a network among those that train together, its epoch from 1, and the metrics of that."""


def train(
    model: torch.nn.Module,
    seed: int,
    request: TrainingRequest,
    on_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None,
) -> Training:
    """Train a network on one part of the data and measure it on another after each epoch.

    The data order, the augmentation and dropout follow from `seed` alone. Raises TrainingError where a loss is not
    finite, the time is up, or no epoch is left to train.
    """
    [outcome] = train_together([model], [seed], request, lambda network, epoch, metrics: on_epoch(epoch, metrics))
    if isinstance(outcome, TrainingError):
        raise outcome
    return outcome


def train_together(
    models: Sequence[torch.nn.Module],
    seeds: Sequence[int],
    request: TrainingRequest,
    on_epoch: OnEpoch = lambda network, epoch, metrics: None,
) -> list[Training | TrainingError]:
    """`train` for several networks in one computation, each with its own seed; one outcome for each, in their order.

    Several must be plain dense networks (`dense_shape`) of the same depth, inputs, outputs, ReLUs and dropout. A
    network that fails, or stops early, is carried along without effect on the others, which continue as if it were not
    there. Seconds are shares: those of the group divided by its networks. `on_epoch` is called by one thread at a time;
    on the CPU each network is trained by one thread (`fit_one_thread`), several by several, and large ones, which take
    all threads, one after the other.
    """
    if request.first_epoch >= request.settings.epochs:
        done = f"{counted(request.first_epoch, 'epoch')} of {request.settings.epochs}"
        reason = f"nothing left to train: {done} {'is' if request.first_epoch == 1 else 'are'} done already"
        return [TrainingError(reason) for _ in models]
    for part in filter(None, (request.part, request.validation)):
        request.data.split(part)  # read by one thread, before there are several
    on_cpu, threads = request.runtime.device == "cpu", request.runtime.threads
    threaded = on_cpu and not request.data.regression and fit_one_thread(models)
    in_turn = on_cpu and not threaded and all(dense_shape(model) is not None for model in models)
    together = 1 if in_turn else len(models)
    stop, telling = threading.Event(), threading.Lock()

    def train_some(places: range) -> list[Training | TrainingError]:
        def tell(network: int, epoch: int, metrics: Metrics) -> None:
            with telling:
                on_epoch(places[network], epoch, metrics)

        some, own = [models[place] for place in places], [seeds[place] for place in places]
        return train_here(some, own, request, tell, together, stop)

    if threaded:
        works = [partial(train_some, places) for places in shares(len(models), threads)]
        return list(chain(*in_parallel(works, stop)))
    with tiny_is_zero(on_cpu and threads == 1):
        turns = [range(first, first + together) for first in range(0, len(models), together)]
        return list(chain(*map(train_some, turns)))


def train_here(
    models: Sequence[torch.nn.Module],
    seeds: Sequence[int],
    request: TrainingRequest,
    on_epoch: OnEpoch,
    together: int,
    stop: threading.Event,
) -> list[Training | TrainingError]:
    """Train networks in this thread. `together`: all those, in other threads too, that share the time; `stop`: set
    where the training is to end at once, by StoppedError."""
    settings, clock = request.settings, _Clock(request.limits, together)
    for model in models:
        request.runtime.place(model)
    trainee = make_trainee(models, seeds, request)
    courses = [_Course(model, settings.patience) for model in models]

    for epoch in range(request.first_epoch + 1, settings.epochs + 1):
        epoch_started = time.monotonic()
        told = partial(request.on_step, epoch - 1) if request.on_step is not None and len(models) == 1 else None
        losses_so_far = torch.zeros(len(models), device=request.runtime.device)
        loss_sums = _train_epoch(trainee, losses_so_far, clock, stop, told, request.steps_per_epoch)
        if loss_sums is None:
            for course in courses:
                course.fail(f"time limit of {request.limits.seconds:g} s reached in epoch {epoch}")
            break
        losses = [loss / request.steps_per_epoch for loss in loss_sums.tolist()]
        for course, loss in zip(courses, losses, strict=True):
            course.check("the loss", loss, epoch)
        measured: Sequence[Mapping[str, float]] = [{} for _ in courses]
        if request.validation is not None and any(course.ongoing for course in courses):
            measured = trainee.measure(request.validation)
        seconds = (time.monotonic() - epoch_started) / together
        if settings.patience is not None:
            trainee.write_back()
        for network, course in enumerate(courses):
            metrics = {"epoch": epoch, "train_loss": losses[network]}
            metrics |= {f"val_{name}": value for name, value in measured[network].items()}
            # The weights of the last step, or running statistics, may overflow where the losses before did not.
            if course.ongoing and course.check("the validation loss", metrics.get("val_loss", 0.0), epoch):
                course.add(metrics | {"seconds": seconds})
                on_epoch(network, epoch, course.training.history[-1])
                course.stop_early()
        if not any(course.ongoing for course in courses):
            break
    trainee.write_back()
    # With early stopping the weights may be older than the state.
    wanted = request.resumable and settings.patience is None
    state = trainee.state() if wanted and isinstance(trainee, Single) else None
    return [course.outcome(state) for course in courses]


def _train_epoch(
    trainee: "Trainee",
    losses: torch.Tensor,
    clock: "_Clock",
    stop: threading.Event,
    on_step: Callable[[float], None] | None,
    steps: int,
) -> torch.Tensor | None:
    """Train for one epoch; returns the sums of the losses of its steps (networks,), still on the device, or None where
    the time is up. `losses`: zeros (networks,). `on_step`: is told which share of the `steps` is done."""
    for step, (inputs, labels) in enumerate(trainee.batches(), 1):
        losses += trainee.step(inputs, labels)
        if on_step is not None:
            on_step(step / steps)
        if stop.is_set():
            raise StoppedError
        if clock.is_up:
            return None
    return losses


class _Clock:
    """The time that networks which train together have, from now on."""

    def __init__(self, limits: Limits, together: int) -> None:
        self._limits, self._together, self._started = limits, together, time.monotonic()

    @property
    def is_up(self) -> bool:
        """Whether each one's share of the time is spent."""
        seconds, spent = self._limits.seconds, self._limits.spent
        return seconds is not None and time.monotonic() - self._started > seconds * self._together - spent


class _Course:
    """What became of one of the networks so far: its epochs, the best of them, and why it ended."""

    def __init__(self, model: torch.nn.Module, patience: int | None) -> None:
        self._model, self._best = model, Best(patience)
        self._failure: TrainingError | None = None
        self.training = Training({})
        self.ongoing = True

    def fail(self, reason: str) -> None:
        """End the training without a result, unless it has ended."""
        if self.ongoing:
            self._failure, self.ongoing = TrainingError(reason, self.training.history), False

    def check(self, name: str, value: float, epoch: int) -> bool:
        """Whether a value is a finite number; the training fails where it is not."""
        if not math.isfinite(value):
            self.fail(f"{name} became {value} in epoch {epoch}")
        return math.isfinite(value)

    def add(self, metrics: Metrics) -> None:
        """Take note of an epoch."""
        self.training.history.append(metrics)

    def stop_early(self) -> None:
        """End the training where the patience says so; the model has the weights of the last epoch."""
        self.ongoing = not self._best.stop(self._model, self.training.history[-1])

    def outcome(self, state: dict[str, torch.Tensor] | None) -> Training | TrainingError:
        """What the training came to; the weights that its metrics belong to are put into the model. `state`: what it
        remembers."""
        if self._failure is not None:
            return self._failure
        self.training.metrics = self._best.take(self._model, self.training.history[-1])
        self.training.state = state
        return self.training


class Trainee(Protocol):
    """Networks in training: batches for them, steps on these, and what they have learned."""

    step_number: int

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and labels of one epoch, in random order."""

    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the networks on one batch of each; returns the mean losses, one per network."""

    def measure(self, part: str) -> Sequence[Mapping[str, float]]:
        """What `measure` tells of each network on a part of the data."""

    def write_back(self) -> None:
        """Put the weights into the models, where they are kept elsewhere."""


def make_trainee(models: Sequence[torch.nn.Module], seeds: Sequence[int], request: TrainingRequest) -> Trainee:
    """The quickest way to train networks, at the step where the request begins: by hand for plain dense ones, one or
    many, else one by autograd; one by autograd in any case where the request needs it (`TrainingRequest.alone`)."""
    trainee: Trainee
    if not request.alone and all(dense_shape(model) is not None for model in models):
        trainee = Replicas(models, seeds, request)
    else:
        [model], [seed] = models, seeds
        trainee = Single(model, seed, request)
    trainee.step_number = request.first_epoch * request.steps_per_epoch
    return trainee
