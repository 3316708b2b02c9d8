"""Evaluator `train`: every architecture trained from scratch, with PyTorch, on the training part of the data.

torch is imported when something is trained, not before.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nasrun import seeding
from nasrun.checkpoints import inherit, load_weights, save_weights
from nasrun.datasets import Dataset
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.protocols import Evaluator, Job, Measurement, Progress, SearchSpace, Trial
from nasrun.schema import Above, ConfigError, Positive, check_section
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData
    from nasrun.training.loop import Training

FINAL_TRIAL = -1
WARM_UP_BATCHES = 3
TIMED_BATCHES = 10


class Train(Evaluator):
    """Trains each architecture and reports its validation accuracy; the winner is retrained and tested at the end.

    `repeats` trainings per trial differ in seed. `time_limit` is in seconds per repeat; a trial beyond it fails.
    `final_epochs` retrains the winner for that many epochs (None: the search's own weights are tested), on all the
    training data, validation part included, or on the training part alone (`final_data`). The remaining options
    are those of `TrainSettings`.
    """

    Settings = TrainSettings
    metrics = ("val_accuracy", "val_loss", "train_loss", "parameters", "flops")
    saves = True

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        repeats: Positive = 1,
        time_limit: Annotated[float, Above(0)] | None = None,
        final_epochs: Positive | None = 8,
        final_data: Literal["all", "train"] = "all",
        **settings: Any,
    ) -> None:
        self.repeats = repeats
        self._space, self._dataset, self._hardware = space, dataset, hardware
        self._time_limit, self._final_epochs, self._final_data = time_limit, final_epochs, final_data
        self._settings = TrainSettings(**settings)
        self._runtime: Runtime | None = None
        self._data: DeviceData | None = None

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data and decide device and precision, or take them from the record of an interrupted run."""
        from nasrun.training.data import DeviceData

        self._runtime = Runtime.from_record(recorded["runtime"]) if recorded else self._hardware.resolve()
        if recorded and self._runtime.device == "cuda":
            self._hardware.__class__(device="cuda").resolve()
        self._runtime.apply()
        self._data = DeviceData(self._dataset.load(), self._runtime.device)
        return {"runtime": self._runtime._asdict()}

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            yield self._measure(job)

    def _measure(self, job: Job) -> Measurement:
        started = time.monotonic()
        trial, repeat = job.trial.number, job.repeat
        try:
            settings = self._settings_of(job)
            training, model = self._train(job, settings)
            if job.save_to is not None:
                # With early stopping these are the epochs of the weights, not of the training.
                metadata = {"epochs": f"{training.metrics['epoch']:.0f}"}
                metadata["genome"] = self._space.format(job.trial.proposal.genome)
                save_weights(Path(job.save_to), model.state_dict(), metadata)
            cost = self._space.cost(job.trial.proposal.genome, self._dataset.task)
            metrics = {name: value for name, value in training.metrics.items() if name not in ("epoch", "seconds")}
            metrics |= {"parameters": cost.parameters, "flops": cost.flops, "epochs": training.metrics["epoch"]}
        except Exception as error:
            seconds, history = time.monotonic() - started, getattr(error, "history", ())
            return Measurement(trial, repeat, "failed", {}, reason(error), seconds, history)
        return Measurement(trial, repeat, "ok", metrics, None, time.monotonic() - started, training.history)

    def _settings_of(self, job: Job) -> TrainSettings:
        """The evaluator's settings under the proposal's own hparams and budget."""
        proposal = job.trial.proposal
        own = dict(proposal.hparams) | ({"epochs": proposal.budget} if proposal.budget is not None else {})
        return TrainSettings(**{**vars(self._settings), **check_section(TrainSettings, own, "hparams")})

    def _train(
        self, job: Job, settings: TrainSettings, part: str = "train", validation: str | None = "validation"
    ) -> "tuple[Training, torch.nn.Module]":
        """Build, warm-start and train the network of a job, in a scope of its own for the global generators."""
        import torch

        from nasrun.training.loop import Limits, train

        runtime, data = self._ready
        trial, repeat = job.trial.number, job.repeat
        devices = [torch.cuda.current_device()] if runtime.device == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seeding.integer(job.seed, seeding.Purpose.INIT))
            model = self._space.build(job.trial.proposal.genome, self._dataset.task)
            first_epoch = self._warm_start(model, job)
            training = train(
                model,
                data,
                settings,
                runtime,
                job.seed,
                part=part,
                validation=validation,
                first_epoch=first_epoch,
                limits=Limits(self._time_limit if trial != FINAL_TRIAL else None),
                on_epoch=lambda epoch, metrics: self.on_progress(
                    Progress(trial, repeat, epoch, settings.epochs, metrics)
                ),
            )
        return training, model

    def _warm_start(self, model: "torch.nn.Module", job: Job) -> int:
        """Load the parent's weights where the proposal says so; returns the epochs that are behind them."""
        if job.load_from is None:
            return 0
        from safetensors import safe_open

        weights = load_weights(Path(job.load_from))
        if job.trial.proposal.warm_start == "inherit":
            inherit(model, weights)
            return 0
        model.load_state_dict(weights)
        with safe_open(job.load_from, "pt") as file:
            return int(file.metadata()["epochs"])

    def final(self, job: Job) -> Mapping[str, Any]:
        import torch

        from nasrun.training.loop import Training, measure

        started = time.monotonic()
        runtime, data = self._ready
        trained_on = "the search's weights"
        if self._final_epochs is not None or job.load_from is None:
            epochs = self._final_epochs or self._settings_of(job).epochs
            settings = TrainSettings(**{**vars(self._settings_of(job)), "epochs": epochs, "patience": None})
            part = "whole_training" if self._final_data == "all" else "train"
            job = job._replace(trial=Trial(FINAL_TRIAL, job.trial.proposal), load_from=None)
            training, model = self._train(job, settings, part, None)
            trained_on = f"{epochs} epochs on {'all the training data' if part != 'train' else 'the training part'}"
        else:
            with torch.random.fork_rng([]):
                training, model = Training({}), self._space.build(job.trial.proposal.genome, self._dataset.task)
            model.load_state_dict(load_weights(Path(job.load_from)))
            runtime.place(model)
        metrics = {f"test_{name}": value for name, value in measure(model, data, "test", runtime).items()}
        if job.save_to is not None:
            save_weights(
                Path(job.save_to), model.state_dict(), {"genome": self._space.format(job.trial.proposal.genome)}
            )
        if runtime.device == "cuda":
            torch.cuda.synchronize()
        return {
            "metrics": metrics,
            "history": training.history,
            "seconds": time.monotonic() - started,
            "trained_on": trained_on,
        }

    def estimate(self, trial: Trial) -> float | None:
        """Seconds of one repeat, from ten steps after a warm-up of three."""
        import torch

        from nasrun.training.loop import make_stepper, steps_per_epoch

        runtime, data = self._ready
        split = data.split("train")
        settings = self._settings_of(Job(trial, 0, 0))
        steps = settings.epochs * steps_per_epoch(split, settings)
        with torch.random.fork_rng([]):
            model = self._space.build(trial.proposal.genome, self._dataset.task)
            runtime.place(model)
            stepper = make_stepper(model, settings, runtime, steps)
            order, augment = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
            batches = itertools.chain.from_iterable(
                data.training_batches(split, settings, stepper.memory_format, order, augment) for _ in itertools.count()
            )
            for images, labels in itertools.islice(batches, WARM_UP_BATCHES):
                loss = stepper.step(images, labels)
            loss.item()
            started = time.monotonic()
            for images, labels in itertools.islice(batches, TIMED_BATCHES):
                loss = stepper.step(images, labels)
            loss.item()
        return (time.monotonic() - started) / TIMED_BATCHES * steps * 1.1

    @property
    def _ready(self) -> "tuple[Runtime, DeviceData]":
        if self._runtime is None or self._data is None:
            raise RuntimeError("prepare() comes before anything is evaluated")
        return self._runtime, self._data


def reason(error: Exception) -> str:
    """Why a job failed, in one line for the tables."""
    import torch

    from nasrun.training.loop import TrainingError

    text = " ".join(str(error).split())[:300]
    if isinstance(error, TrainingError | ConfigError):
        return text
    # torch's CPU allocator raises a plain RuntimeError; the words differ between systems.
    scarce = any(words in text for words in ("can't allocate memory", "not enough memory"))
    scarce = scarce or isinstance(error, MemoryError | torch.OutOfMemoryError)
    kind = "out of memory" if scarce else type(error).__name__
    return f"{kind}: {text}" if text else kind
