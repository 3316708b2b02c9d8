"""Training top to bottom, of one network or of several together. Nothing in the step loop waits for the device;
metrics come once per epoch."""

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, Protocol, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nasrun.core import seeding
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData, steps_per_epoch
from nasrun.training.dense.replicas import Replicas
from nasrun.training.dense.steps import dense_shape
from nasrun.training.dense.threads import StoppedError, fit_one_thread, in_parallel, shares, tiny_is_zero
from nasrun.training.mirrored import MirrorAverage
from nasrun.training.outcomes import NO_LIMITS, Best, Limits, Metrics, Training, TrainingError
from nasrun.training.settings import TrainSettings
from nasrun.training.state import read_training, restore_training
from nasrun.training.stepper import Stepper

EVALUATION_BATCH = 1000


def train(
    model: torch.nn.Module,
    data: DeviceData,
    settings: TrainSettings,
    runtime: Runtime,
    seed: int,
    *,
    part: str = "train",
    validation: str | None = "validation",
    first_epoch: int = 0,
    limits: Limits = NO_LIMITS,
    on_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None,
    resumable: bool = False,
    state: Mapping[str, torch.Tensor] | None = None,
) -> Training:
    """Train a network on one part of the data and measure it on another after each epoch.

    The data order, the augmentation and dropout follow from `seed` alone. Epochs count from `first_epoch`, so that a
    warm-started network goes on in its schedule. `resumable`: the state of the training is given at the end, for which
    every network is trained by autograd; `state`: the one to go on from, None for a new one. With the same seed and
    schedule the training is then the one that was not interrupted. Raises TrainingError where a loss is not finite, the
    time is up, or no epoch is left to train.
    """
    [outcome] = train_together(
        [model],
        data,
        settings,
        runtime,
        [seed],
        part=part,
        validation=validation,
        first_epoch=first_epoch,
        limits=limits,
        on_epoch=lambda network, epoch, metrics: on_epoch(epoch, metrics),
        resumable=resumable,
        state=state,
    )
    if isinstance(outcome, TrainingError):
        raise outcome
    return outcome


def train_together(
    models: Sequence[torch.nn.Module],
    data: DeviceData,
    settings: TrainSettings,
    runtime: Runtime,
    seeds: Sequence[int],
    *,
    part: str = "train",
    validation: str | None = "validation",
    first_epoch: int = 0,
    limits: Limits = NO_LIMITS,
    on_epoch: Callable[[int, int, Metrics], None] = lambda network, epoch, metrics: None,
    resumable: bool = False,
    state: Mapping[str, torch.Tensor] | None = None,
) -> list[Training | TrainingError]:
    """`train` for several networks in one computation, each with its own seed; one outcome for each, in their order.

    Several must be plain dense networks (`dense_shape`) of the same depth, inputs, outputs, ReLUs and dropout. A
    network that fails, or stops early, is carried along without effect on the others, which go on as if it were not
    there. Seconds are shares: those of the group divided by its networks. `on_epoch` is told the network's place, epoch
    and metrics, by one thread at a time; on the CPU each network is trained by one thread (`fit_one_thread`), several
    by several, and large ones, which take all threads, one after the other.
    """
    if first_epoch >= settings.epochs:
        reason = f"nothing left to train: {first_epoch} epochs of {settings.epochs} are done already"
        return [TrainingError(reason) for _ in models]
    for name in (part, validation):
        if name is not None:
            data.split(name)  # read by one thread, before there are several
    on_cpu, stop = runtime.device == "cpu", threading.Event()
    threaded = on_cpu and not data.regression and fit_one_thread(models)
    in_turn = on_cpu and not threaded and all(dense_shape(model) is not None for model in models)
    together = 1 if in_turn else len(models)
    plan = _Plan(data, settings, runtime, part, validation, first_epoch, limits, together, stop, resumable, state)
    telling = threading.Lock()

    def train_some(places: range) -> list[Training | TrainingError]:
        def tell(network: int, epoch: int, metrics: Metrics) -> None:
            with telling:
                on_epoch(places[network], epoch, metrics)

        return _train([models[place] for place in places], [seeds[place] for place in places], plan, tell)

    if threaded:
        works = [partial(train_some, places) for places in shares(len(models), runtime.threads)]
        return list(chain(*in_parallel(works, plan.stop)))
    with tiny_is_zero(on_cpu and runtime.threads == 1):
        turns = [range(first, first + together) for first in range(0, len(models), together)]
        return list(chain(*map(train_some, turns)))


class _Plan(NamedTuple):
    """What `train_together` was told, for all networks alike, and what stops the threads that train them."""

    data: DeviceData
    settings: TrainSettings
    runtime: Runtime
    part: str
    validation: str | None
    first_epoch: int
    limits: Limits
    networks: int
    stop: threading.Event
    resumable: bool
    state: Mapping[str, torch.Tensor] | None


def _train(
    models: Sequence[torch.nn.Module],
    seeds: Sequence[int],
    plan: _Plan,
    on_epoch: Callable[[int, int, Metrics], None],
) -> list[Training | TrainingError]:
    """Train some networks of a plan in this thread."""
    data, settings, runtime, part, validation, first_epoch, limits, group, stop, resumable, state = plan
    started = time.monotonic()
    for model in models:
        runtime.place(model)
    steps = steps_per_epoch(data.split(part), settings)
    trainee = make_trainee(models, data, settings, runtime, seeds, part, alone=resumable)
    if isinstance(trainee, Single) and state is not None:
        trainee.restore(state)
    trainee.step_number = first_epoch * steps
    trainings, bests = [Training({}) for _ in models], [Best(settings.patience) for _ in models]
    failures: dict[int, TrainingError] = {}
    ongoing = list(range(len(models)))
    for epoch in range(first_epoch, settings.epochs):
        epoch_started = time.monotonic()
        loss_sums = torch.zeros(len(models), device=runtime.device)
        for inputs, labels in trainee.batches():
            loss_sums += trainee.step(inputs, labels)
            if stop.is_set():
                raise StoppedError
            if limits.seconds is not None and time.monotonic() - started > limits.seconds * group - limits.spent:
                reason = f"time limit of {limits.seconds:g} s reached in epoch {epoch + 1}"
                failures |= {network: TrainingError(reason, trainings[network].history) for network in ongoing}
                return _outcomes(trainings, failures)
        losses = [loss / steps for loss in loss_sums.tolist()]
        ongoing = [n for n in ongoing if _finite("the loss", losses[n], epoch, trainings[n], n, failures)]
        measured = trainee.measure(validation) if validation is not None and ongoing else None
        seconds = (time.monotonic() - epoch_started) / group
        if settings.patience is not None:
            trainee.write_back()
        for network in list(ongoing):
            training = trainings[network]
            metrics = {"epoch": epoch + 1, "train_loss": losses[network]}
            if measured is not None:
                metrics |= {f"val_{name}": value for name, value in measured[network].items()}
                # The weights of the last step, or running statistics, may overflow where the losses before did not.
                if not _finite("the validation loss", metrics["val_loss"], epoch, training, network, failures):
                    ongoing.remove(network)
                    continue
            metrics["seconds"] = seconds
            training.history.append(metrics)
            on_epoch(network, epoch + 1, metrics)
            if bests[network].stop(models[network], metrics):
                ongoing.remove(network)
        if not ongoing:
            break
    trainee.write_back()
    for network, training in enumerate(trainings):
        if network not in failures:
            training.metrics = bests[network].take(models[network], training.history[-1])
            # With early stopping the weights may be older than the state.
            if resumable and isinstance(trainee, Single) and settings.patience is None:
                training.state = trainee.state()
    return _outcomes(trainings, failures)


def _finite(
    name: str, value: float, epoch: int, training: Training, network: int, failures: dict[int, TrainingError]
) -> bool:
    """Whether a value is a finite number; a failure of the network where it is not."""
    if not math.isfinite(value):
        failures[network] = TrainingError(f"{name} became {value} in epoch {epoch + 1}", training.history)
    return network not in failures


def _outcomes(trainings: Sequence[Training], failures: Mapping[int, TrainingError]) -> list[Training | TrainingError]:
    return [failures.get(network, training) for network, training in enumerate(trainings)]


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


def make_trainee(
    models: Sequence[torch.nn.Module],
    data: DeviceData,
    settings: TrainSettings,
    runtime: Runtime,
    seeds: Sequence[int],
    part: str = "train",
    alone: bool = False,
) -> Trainee:
    """The quickest way to train networks: by hand for plain dense ones, one or many, else one by autograd; one by
    autograd in any case where it is to be trained `alone`, by a teacher, or as the settings need it."""
    alone = alone or settings.needs_autograd or data.teacher is not None
    steps = (settings.schedule_epochs or settings.epochs) * steps_per_epoch(data.split(part), settings)
    if not alone and not data.regression and all(dense_shape(model) is not None for model in models):
        return Replicas(models, data, settings, seeds, part, steps, graphs=runtime.graphs)
    [model], [seed] = models, seeds
    return Single(model, data, settings, runtime, seed, part, steps)


class Single:
    """One network in training, by autograd.

    With `ema` the model that is given holds the mean weights, which are measured; a copy of it is what is trained.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: DeviceData,
        settings: TrainSettings,
        runtime: Runtime,
        seed: int,
        part: str,
        steps: int,
    ) -> None:
        self._model, self._data, self._settings, self._runtime = model, data, settings, runtime
        self._split, self._seed = data.split(part), seed
        self._trained, self._average = model, cast(AveragedModel | None, None)
        if settings.ema:
            self._trained = copy.deepcopy(model)
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
            self._average.module = model
        loss = data.training_loss(settings, self._split)
        self._stepper = Stepper(self._trained, settings, runtime, steps, loss, data.teacher)
        self._order, self._augment = _generator(seed, seeding.Purpose.ORDER), _generator(seed, seeding.Purpose.AUGMENT)
        # The network's own dropout draws from the global generator.
        torch.manual_seed(seeding.integer(seed, seeding.Purpose.DROPOUT))

    @property
    def step_number(self) -> int:
        """Steps done, those before a warm start included."""
        return self._stepper.step_number

    @step_number.setter
    def step_number(self, number: int) -> None:
        self._stepper.step_number = number

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (batch, C, H, W) and labels of one epoch; the network is set to training."""
        self._trained.train()
        return self._data.training_batches(
            self._split, self._settings, self._stepper.memory_format, self._order, self._augment
        )

    def step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the network on one batch."""
        loss = self._stepper.step(inputs, labels)
        if self._average is not None:
            self._average.update_parameters(self._trained)
        return loss

    def measure(self, part: str) -> Sequence[Mapping[str, float]]:
        """What `measure` tells of the network, as a list of one."""
        return [measure(self._model, self._data, part, self._runtime, self._settings)]

    def write_back(self) -> None:
        """Nothing to do: the model holds the weights."""

    def state(self) -> dict[str, torch.Tensor]:
        """What the training remembers beside the weights; see `read_training`."""
        return read_training(self._trained, self._stepper, self._streams, self._seed, self._average is not None)

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what another training with an optimizer of the same kind remembered."""
        restore_training(state, self._trained, self._stepper, self._streams, self._seed)
        if self._average is not None:
            self._average.n_averaged += 1  # the weights that the model has are a mean already

    @property
    def _streams(self) -> dict[str, torch.Generator]:
        return {"order": self._order, "augment": self._augment}


def measure(
    model: torch.nn.Module,
    data: DeviceData,
    part: str,
    runtime: Runtime,
    settings: TrainSettings | None = None,
    on_outputs: Callable[[torch.Tensor], None] = lambda outputs: None,
) -> Mapping[str, float]:
    """What the loss of the task measures over one part of the data: `accuracy` and `loss`, or for regression `loss` and
    `loss_whole` (`nasrun.training.losses`). Of the settings count `micro_batch`, images at a time where memory is
    scarce, `test_flip` and `extra_metrics`. `on_outputs` is told the outputs of each batch, in the order of the part,
    in float32."""
    settings = settings or TrainSettings()
    split, loss = data.split(part), data.loss()
    memory_format, dtype = runtime.memory_format(model), runtime.autocast_dtype(model)
    meter = loss.meter(runtime.device, settings.extra_metrics)
    network = MirrorAverage(model, data.regression) if settings.test_flip else model
    network.eval()
    with torch.inference_mode():
        for images, labels in data.batches(split, settings.micro_batch or EVALUATION_BATCH, memory_format):
            with torch.autocast(runtime.device, dtype, enabled=dtype is not None):
                outputs = network(images)
            meter.add(outputs.float(), labels)
            on_outputs(outputs.float())
    return meter.metrics(len(split))


def _generator(seed: int, purpose: seeding.Purpose) -> torch.Generator:
    return torch.Generator().manual_seed(seeding.integer(seed, purpose))
