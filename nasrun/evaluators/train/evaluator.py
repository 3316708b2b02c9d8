"""Evaluator `train`: every architecture trained from scratch, with PyTorch, on the training part of the data.

torch is imported when something is trained, not before.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nasrun.checkpoints.archive import read_info
from nasrun.checkpoints.store import load_weights
from nasrun.core import Evaluator, Job, Measurement, SearchSpace, Trial
from nasrun.core.options import Above, AtLeast, FilePath, Positive, check_section
from nasrun.datasets import Dataset
from nasrun.evaluators.train.archives import normalisation_of, save_archive
from nasrun.evaluators.train.checks import check_scaled, check_task
from nasrun.evaluators.train.final import measure_winner, trained_in_words
from nasrun.evaluators.train.groups import Groups, Replicas
from nasrun.evaluators.train.initial import InitialWeights, load_initial
from nasrun.evaluators.train.memory import reason, within_memory
from nasrun.evaluators.train.recipe import KEYS, check_sizes, settled, without_auto
from nasrun.evaluators.train.teacher import load_teacher
from nasrun.evaluators.train.timing import training_seconds
from nasrun.evaluators.train.trainer import Trainer
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.storage.journal import OutputError
from nasrun.training.growing import Growth
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData
    from nasrun.training.outcomes import Training

FINAL_TRIAL = -1
RECIPE, TEACHER, INIT = "recipe", "teacher", "init"
"""Facts of a run: what settings that are `auto` came to, whose weights are the teacher's, or the first ones."""
REGRESSION_METRICS = ("val_loss", "val_loss_whole", "train_loss", "parameters", "flops")


class Train(Evaluator):
    """Trains each architecture and reports its validation accuracy (regression: the validation loss); the winner is
    retrained and tested at the end.

    `repeats` trainings per trial differ in seed. `time_limit` is in seconds per repeat; a trial beyond it fails.
    `final_epochs` retrains the winner for that many epochs (None: the search's own weights are tested), on all the
    training data, validation part included, or on the training part alone (`final_data`). `replicas` says which
    networks train in one computation, `group_size` how many at most (`Groups`): a job's result does not depend on it,
    and its seconds are its share of the group's. `retry_parts`: a training run that runs out of memory is tried once
    more, with its batches in that number of parts (None: it fails). `teacher`: the directory of a finished run
    whose network is learned from. `init`: that of one with whose weights networks begin
    (`nasrun.evaluators.train.initial`). The
    remaining options are those of `TrainSettings`; those of a recipe may be `auto`, which `prepare` settles by the
    data (`nasrun.evaluators.train.recipe`).
    """

    Settings = TrainSettings
    automatic = KEYS
    follows_recipe = True
    metrics: tuple[str, ...] = ("val_accuracy", "val_loss", "train_loss", "parameters", "flops")
    optional_metrics: tuple[str, ...] = ("val_balanced_accuracy", "val_macro_f1", "val_auc")
    saves = True
    trains_on = True
    # The last is what the first optimizer imports, which takes as long as all of torch.
    preload = ("nasrun.training.loop", "nasrun.training.dense.replicas", "safetensors.torch", "torch._dynamo")

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
        replicas: Replicas = "auto",
        group_size: Positive | None = None,
        retry_parts: Annotated[int, AtLeast(2)] | None = 8,
        teacher: FilePath | None = None,
        init: FilePath | None = None,
        **settings: Any,
    ) -> None:
        self.repeats = repeats
        self._space, self._dataset, self._hardware = space, dataset, hardware
        self.time_limit, self.final_epochs = time_limit, final_epochs
        self._final_part = "whole_training" if final_data == "all" else "train"
        self.final_data = "all the training data" if final_data == "all" else "the training part"
        self._given, self.settings = settings, TrainSettings(**without_auto(settings))
        self._retry_parts, self._teacher, self._init = retry_parts, teacher, init
        self._initial: InitialWeights | None = None
        if dataset.task.kind == "regression":
            self.metrics, self.optional_metrics = REGRESSION_METRICS, ()
        check_task(space, dataset, self.settings, teacher)
        self.measure_also([f"val_{name}" for name in self.settings.extra_metrics])
        replicas = replicas if teacher is None else "off"
        self._groups = Groups(space, dataset.task, self.settings_of, replicas, group_size)
        self._runtime: Runtime | None = None
        self._most_threads = 1
        self._data: DeviceData | None = None
        self._normalisation: Mapping[str, Any] = {}

    def measure_also(self, names: Sequence[str]) -> None:
        """Report some of the `optional_metrics` as well."""
        self.metrics = (*self.metrics, *(name for name in names if name not in self.metrics))
        extra = tuple(name.removeprefix("val_") for name in self.optional_metrics if name in self.metrics)
        self._given = {**self._given, "extra_metrics": extra}
        self.settings = TrainSettings(**without_auto(self._given))

    def deployed(self, network: "torch.nn.Module") -> "torch.nn.Module":
        """With `test_flip` the network twice: for an image and for its mirror image."""
        from nasrun.training.mirrored import MirrorAverage

        return MirrorAverage(network, self._dataset.task.kind == "regression") if self.settings.test_flip else network

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data and decide device, precision, groups and settings that are `auto`, or take them from the record
        of an interrupted run."""
        from nasrun.training.data import DeviceData

        self._runtime = Runtime.from_record(recorded["runtime"]) if recorded else self._hardware.resolve()
        self._runtime.apply()
        self._most_threads = self._runtime.threads
        splits = self._dataset.load()
        self._data, self._normalisation = DeviceData(splits, self._runtime.device), normalisation_of(splits)
        groups = self._groups.decide(self._runtime, (recorded or {}).get("replicas"))
        facts = {"runtime": self._runtime._asdict(), "replicas": groups, **self._settle(recorded or {})}
        return dict(recorded) if recorded else facts

    @property
    def threads(self) -> tuple[int, int] | None:
        if self._runtime is None or self._runtime.device != "cpu" or self._hardware.threads is not None:
            return None
        by_workers = self._hardware.is_remote and self._most_threads != self._runtime.alone
        return None if by_workers else (self._runtime.threads, self._most_threads)

    def use_threads(self, threads: int | None) -> bool:
        if threads is None and self._runtime is not None:
            threads = self._runtime.alone
            self._most_threads = threads or self._most_threads
        if self._runtime is not None and threads:
            self._runtime = self._runtime._replace(threads=threads)
            self._runtime.apply()
        return bool(threads)

    def _settle(self, then: Mapping[str, Any]) -> dict[str, Any]:
        """Decide settings that are `auto` and load the teacher, or what a record tells of them; returns the facts."""
        self.settings, recipe = settled(self._given, self._dataset, self._space, then.get(RECIPE))
        check_task(self._space, self._dataset, self.settings, self._teacher)
        check_sizes(self._space, self._dataset, self.settings)
        check_scaled(self._space, self.settings)
        facts = {RECIPE: recipe} if recipe else {}
        if self._teacher is not None:
            runtime, data = self.prepared
            splits, task = self._dataset.load(), self._dataset.task
            data.teacher, record = load_teacher(self._teacher, splits, task, self._space, runtime, then.get(TEACHER))
            facts[TEACHER] = record
        if self._init is not None:
            self._initial, facts[INIT] = load_initial(self._init, self._space, self._dataset.load(), then.get(INIT))
        return facts

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The first job of a queue with those that train together with it: repeats, and other networks like it."""
        return self._groups.of(jobs)

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        queue = list(jobs)
        while queue:
            group = self.group(queue)
            queue = [job for job in queue if job not in group]
            yield from self._measure_together(group) if len(group) > 1 else [self._measure(group[0])]

    def _measure(self, job: Job) -> Measurement:
        """Train one network and say what came of it."""
        started = time.monotonic()
        try:
            (training, model), settings = self._train_within_memory(job, self.settings_of(job))
            return self._measurement(job, training, model, settings, lambda: time.monotonic() - started)
        except OutputError:
            raise
        except Exception as error:
            return self._failure(job, error, time.monotonic() - started)

    def _measure_together(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        """Train networks in one computation; where that cannot be done, one after the other."""
        from nasrun.training.request import Limits

        started = time.monotonic()
        try:
            request = self.trainer.request(self.settings_of(jobs[0]), Limits(self.time_limit))
            outcomes = self.trainer.train_together(jobs, request)
        except OutputError:
            raise
        except Exception:
            outcomes = []  # no memory for all of them, or no network for one: each is told of its own reason below
        if not outcomes:
            yield from map(self._measure, jobs)
            return
        seconds = (time.monotonic() - started) / len(jobs)
        for job, (outcome, model) in zip(jobs, outcomes, strict=True):
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                yield self._measurement(job, outcome, model, self.settings_of(job), lambda: seconds)
            except OutputError:
                raise
            except Exception as error:
                yield self._failure(job, error, seconds)

    def _measurement(
        self,
        job: Job,
        training: "Training",
        model: "torch.nn.Module",
        settings: TrainSettings,
        seconds: Callable[[], float],
    ) -> Measurement:
        """What a training run came to, with its weights saved where the job says so."""
        genome = job.trial.proposal.genome
        if job.save_to is not None:
            save_archive(job, training, model, settings, self._space, self._dataset.task, self._normalisation)
        cost = self._space.cost(genome, self._dataset.task)
        metrics = {name: value for name, value in training.metrics.items() if name not in ("epoch", "seconds")}
        metrics |= {"parameters": cost.parameters, "flops": cost.flops, "epochs": training.metrics["epoch"]}
        metrics |= {"micro_batch": settings.micro_batch} if settings.micro_batch is not None else {}
        return Measurement(job.trial.number, job.repeat, "ok", metrics, None, seconds(), training.history)

    def _failure(self, job: Job, error: Exception, seconds: float) -> Measurement:
        history = getattr(error, "history", ())
        return Measurement(job.trial.number, job.repeat, "failed", {}, reason(error), seconds, history)

    def settings_of(self, job: Job) -> TrainSettings:
        """The evaluator's settings, multiplied as the genome has it, under those of the genome, and these under the
        proposal's own hparams and budget."""
        proposal = job.trial.proposal
        settings = self.settings.scaled(self._space.setting_factors(proposal.genome))
        own = {**self._space.hparams(proposal.genome), **proposal.hparams}
        own |= {"epochs": proposal.budget} if proposal.budget is not None else {}
        own |= {"schedule_epochs": proposal.horizon} if proposal.horizon is not None else {}
        return TrainSettings(**{**vars(settings), **check_section(TrainSettings, own, "hparams")})

    def _train_within_memory(
        self, job: Job, settings: TrainSettings, part: str = "train", validation: str | None = "validation"
    ) -> "tuple[tuple[Training, torch.nn.Module], TrainSettings]":
        """`Trainer.train`, in smaller micro-batches where memory runs out; and the settings under which it ended."""
        from nasrun.training.request import Limits

        limit = self.time_limit if job.trial.number != FINAL_TRIAL else None

        def attempt(tried: TrainSettings, spent: float) -> "tuple[Training, torch.nn.Module]":
            request = self.trainer.request(tried, Limits(limit, spent))
            request = replace(request, part=part, validation=validation, resumable=job.resumable)
            return self.trainer.train(job, request)

        return within_memory(attempt, settings, self._retry_parts)

    def final(self, job: Job) -> Mapping[str, Any]:
        if self.final_epochs is None and job.load_from is not None:
            return self.test(job)
        return self._final(job._replace(load_from=None), self.final_epochs or self.settings_of(job).epochs)

    def train_longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        assert self.final_epochs is not None
        inherits = job.trial.proposal._replace(warm_start="inherit")
        found = dict(self._final(job._replace(trial=Trial(FINAL_TRIAL, inherits)), self.final_epochs - behind))
        history = [{**row, "epoch": row["epoch"] + behind} for row in found["history"]]
        return found | {"history": history, "trained_on": f"{found['trained_on']}, after {behind} before these"}

    def _final(self, job: Job, epochs: int) -> Mapping[str, Any]:
        """Train the winner for some epochs, from new weights or those at `job.load_from`, and test it.

        With `patience` it may end early, by a validation part that neither this training nor the test sees.
        """
        started = time.monotonic()
        kept = self._final_part == "train" and self._dataset.validation != "test"
        own = {"epochs": epochs, "schedule_epochs": None} | ({} if kept else {"patience": None})
        settings = TrainSettings(**{**vars(self.settings_of(job)), **own})
        job = job._replace(trial=Trial(FINAL_TRIAL, job.trial.proposal))
        validation = "validation" if settings.patience is not None else None
        (training, model), settings = self._train_within_memory(job, settings, self._final_part, validation)
        trained_on = trained_in_words(settings, training.metrics["epoch"], self.final_data)
        found = {"metrics": self._tested(job, model, settings), "history": training.history, "trained_on": trained_on}
        return found | {"seconds": time.monotonic() - started}

    def test(self, job: Job) -> Mapping[str, Any]:
        import torch

        started = time.monotonic()
        runtime, _ = self.prepared
        assert job.load_from is not None
        with torch.random.fork_rng([]):
            model = self._space.build(job.trial.proposal.genome, self._dataset.task)
        model.load_state_dict(load_weights(Path(job.load_from)))
        runtime.place(model)
        settings = replace(self.settings_of(job), micro_batch=read_info(job.load_from).hparams.get("micro_batch"))
        found = {"metrics": self._tested(job, model, settings), "history": [], "trained_on": "the search's weights"}
        return found | {"seconds": time.monotonic() - started}

    def train_on(self, job: Job, *, search_data: bool = False) -> Mapping[str, Any]:
        started = time.monotonic()
        job = job._replace(trial=Trial(FINAL_TRIAL, job.trial.proposal))
        settings = replace(self.settings_of(job), patience=None)
        part = "train" if search_data else self._final_part
        (training, model), settings = self._train_within_memory(job, settings, part, None)
        save_archive(job, training, model, settings, self._space, self._dataset.task, self._normalisation)
        return {"history": training.history, "seconds": time.monotonic() - started}

    def _tested(self, job: Job, model: "torch.nn.Module", settings: TrainSettings) -> dict[str, float]:
        """What a trained network comes to on the test set, its weights saved where the job says so."""
        runtime, data = self.prepared
        return measure_winner(job, model, data, runtime, settings, self._space, self._dataset)

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Seconds of one repeat, from ten steps after a warm-up of three; of repeats that train together, its share."""
        from nasrun.training.request import Limits

        trainer = self.trainer
        group = self.group([Job(trial, repeat, repeat) for repeat in range(self.repeats)])
        settings = self.settings_of(group[0])
        share = self.work(settings.epochs, settings.schedule_epochs or settings.epochs) / settings.epochs
        request = trainer.request(replace(settings, first_size=1.0), Limits())
        with trainer.own_generators():
            networks = [self._space.build(trial.proposal.genome, self._dataset.task) for _ in group]
            models = [trainer.runtime.place(network) for network in networks]
            return share * training_seconds(models, request, timer or time.monotonic) / len(group)

    def work(self, epochs: int, horizon: int) -> float:
        return Growth(self.settings.first_size, horizon).work(epochs)

    @property
    def trainer(self) -> Trainer:
        """What trains the networks of jobs; after `prepare`."""
        runtime, data = self.prepared
        return Trainer(
            space=self._space,
            task=self._dataset.task,
            runtime=runtime,
            data=data,
            initial=self._initial,
            tell=self.on_progress,
        )

    @property
    def prepared(self) -> "tuple[Runtime, DeviceData]":
        """What it trains with, and the data where they are trained on; RuntimeError before `prepare`."""
        if self._runtime is None or self._data is None:
            raise RuntimeError("prepare() comes before anything is evaluated")
        return self._runtime, self._data
