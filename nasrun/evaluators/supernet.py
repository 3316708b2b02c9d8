"""Evaluator `supernet`: architectures are measured with weights that all of them share (ENAS).

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", 2018 (arXiv 1802.03268), section 2.2.
torch is imported when something is trained, not before.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.checkpoints.winner import Winner, save_winner
from nasrun.core import Genome, Job, Measurement, SearchSpace, SharedEvaluator, Trial, seeding
from nasrun.core.options import Between, ConfigError, Positive
from nasrun.datasets import Dataset
from nasrun.datasets.splitting import cut
from nasrun.evaluators.train.final import predictions_of
from nasrun.evaluators.train.memory import reason
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.spaces.sections import spaces_with_supernet
from nasrun.training.supernet.sampling import WeightedDraws, Weights
from nasrun.training.supernet.settings import SharedSettings

if TYPE_CHECKING:
    from nasrun.training.data import DeviceData, DeviceSplit
    from nasrun.training.supernet.trainer import SharedTrainer

STATISTICS_BATCHES = 20
"""Batches from which the winner's running statistics are made."""
UNTRAINED = 0
"""Seed of the weights with which architectures are measured where no epoch was trained."""
TIMED_STEPS = 5


class Supernet(SharedEvaluator):
    """Trains the weights of all architectures together, and measures an architecture with its part of them.

    Before each `rounds` trials the shared weights are trained for one epoch, as many batches as hold all training
    images; each batch trains the weights of one architecture that the strategy's policy draws. A trial is then scored
    on one random batch of `score_batch` validation images (`score=batch`; another batch for each trial), or on all
    (`score=whole`). `held_out` is the share of the validation data that neither training nor scores see.

    Scores are normalised by the statistics of the batch that is scored, as in ENAS: running statistics of shared
    weights would be those of other architectures. At the end the best architecture's weights are copied into a network
    of its own, with running statistics made anew for it, and tested on what was held out and on the test set.
    `pad_to`: smaller images are enlarged to that height and width by repeating their border.

    `operation_weights`: how often each operation is drawn where the weights are trained, by its name in genomes, in
    place of the strategy's policy. `auto`: as the space says (`SearchSpace.operation_weights`), under strategies that
    have no policy; None: these draw samples of the space.
    The remaining options are those of `SharedSettings`.
    """

    Settings = SharedSettings
    metrics = ("val_accuracy", "val_loss", "parameters", "flops")

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        rounds: Positive = 30,
        score: Literal["batch", "whole"] = "batch",
        score_batch: Annotated[int, Between(2, 1_000_000)] = 128,
        held_out: Annotated[float, Between(0.01, 0.9)] = 0.3,
        pad_to: Positive | None = 32,
        operation_weights: Weights | Literal["auto"] | None = None,  # as in runs of versions without it
        **settings: Any,
    ) -> None:
        if not space.has_supernet:
            raise ConfigError(
                f"search_space={type(space).__name__}: has no supernet, which evaluator=supernet trains; choose "
                f"search_space={' or '.join(spaces_with_supernet())}"
            )
        if dataset.task.kind != "classification":
            raise ConfigError(f"dataset={dataset.name}: is for {dataset.task.kind}; evaluator=supernet classifies")
        if hardware.is_remote:
            named, alone = hardware.named
            raise ConfigError(f"{named}: evaluator=supernet trains in one process; use {alone}")
        self.rounds = rounds
        self._space, self._dataset, self._hardware = space, dataset, hardware
        self._score, self._score_batch, self._held_out, self.pad_to = score, score_batch, held_out, pad_to
        self._settings = SharedSettings(**settings)
        self._task = dataset.task.enlarged(pad_to)
        self._in_place_of_policy = isinstance(operation_weights, dict)
        weights = space.operation_weights if operation_weights == "auto" else operation_weights
        self._weighted = WeightedDraws(space, weights) if weights is not None and len(weights) else None
        self._runtime: Runtime | None = None
        self._data: DeviceData | None = None
        self._parts: dict[str, DeviceSplit] = {}
        self._trainer: SharedTrainer | None = None

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data and decide the device, or take it from the record of an interrupted run."""
        import torch

        from nasrun.training.data import DeviceData
        from nasrun.training.supernet.trainer import padded

        self._runtime = Runtime.from_record(recorded["runtime"]) if recorded else self._hardware.resolve()
        self._runtime.apply()
        data = self._data = DeviceData(self._dataset.load(), self._runtime.device)
        validation = padded(data.split("validation"), self.pad_to)
        rng = seeding.generator(self._dataset.split_seed, seeding.Purpose.SHARED)
        labels = self._dataset.load().validation.labels
        self._parts = {name: padded(data.split(name), self.pad_to) for name in ("train", "test")}
        for name, places in zip(
            ("scored", "held_out"), cut(labels, self._task.outputs, self._held_out, rng), strict=True
        ):
            if not len(places):
                raise ConfigError(
                    f"evaluator.held_out={self._held_out}: leaves nothing of {len(labels)} validation images"
                )
            index = torch.from_numpy(places).to(self._runtime.device)
            self._parts[name] = validation.some(index)
        self._trainer = None
        return dict(recorded) if recorded else {"runtime": self._runtime._asdict()}

    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """One epoch of the shared weights; also tells the accuracy of one more draw on what is held out."""
        if self._in_place_of_policy and self._weighted is not None:
            draw = self._weighted.draw
        if epoch == 1:
            self._trainer = self._new(int(rng.integers(2**62)))
        metrics = self._ready.epoch(draw, rng, epoch, epochs)
        found = self._ready.score(draw(rng), self._parts["held_out"], self._score_batch)
        return metrics | {"held_out_accuracy": found["accuracy"]}

    def sample(self, rng: np.random.Generator) -> Genome | None:
        return None if self._weighted is None else self._weighted.draw(rng)

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            started = time.monotonic()
            number, genome = job.trial.number, job.trial.proposal.genome
            try:
                found = self._ready.score(genome, self._scored(job), self._score_batch)
                metrics: dict[str, float] = {f"val_{name}": value for name, value in found.items()}
                cost = self._space.cost(genome, self._task)
                metrics |= {"parameters": cost.parameters, "flops": cost.flops}
                yield Measurement(number, job.repeat, "ok", metrics, None, time.monotonic() - started)
            except Exception as error:
                yield Measurement(number, job.repeat, "failed", {}, reason(error), time.monotonic() - started)

    def _scored(self, job: Job) -> "DeviceSplit":
        """What a job is scored on: all of the scored validation data, or a random batch that follows from its seed."""
        import torch

        part = self._parts["scored"]
        if self._score == "whole" or len(part) <= self._score_batch:
            return part
        rng = seeding.generator(job.seed, seeding.Purpose.ORDER)
        index = torch.from_numpy(rng.choice(len(part), self._score_batch, replace=False)).to(part.labels.device)
        return part.some(index)

    def final(self, job: Job) -> Mapping[str, Any]:
        """The winner with its shared weights, in a network of its own, on what was held out and on the test set."""
        import torch

        started = time.monotonic()
        genome = job.trial.proposal.genome
        with torch.random.fork_rng([]):
            model = self._space.build(genome, self._task)
        model = self._ready.alone(model, self._space.supernet_name(genome, self._task), STATISTICS_BATCHES)
        metrics: dict[str, float] = {}
        for part, prefix in (("held_out", "test_held_out"), ("test", "test")):
            outputs: list[torch.Tensor] = []
            found = self._ready.measure(model, self._parts[part], on_outputs=outputs.append)
            metrics |= {f"{prefix}_{name}": value for name, value in found.items()}
        if job.save_to is not None:
            splits = self._dataset.load()
            name, section, task = self._space.format(genome), self._space.section, self._dataset.task
            about = Winner(name, section, task, splits.mean, splits.std, splits.classes, self.pad_to)
            save_winner(Path(job.save_to), about, model)
            predictions_of(torch.cat(outputs), splits).save(Path(job.save_to).parent)
        seconds = time.monotonic() - started
        return {"metrics": metrics, "history": [], "seconds": seconds, "trained_on": "the shared weights"}

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Seconds of one trial: its score, and its share of an epoch, from five steps of its architecture."""
        trainer = self._new(UNTRAINED)
        genome, seconds = trial.proposal.genome, []
        timer = timer or time.monotonic
        for _ in range(TIMED_STEPS):
            started = timer()
            trainer.time_step(genome)
            seconds.append(timer() - started)
        started = timer()
        trainer.score(genome, self._scored(Job(trial, 0, 0)), self._score_batch)
        return sorted(seconds)[TIMED_STEPS // 2] * trainer.steps / self.rounds + timer() - started

    def save(self, path: Path) -> None:
        self._ready.save(path)

    def load(self, path: Path) -> None:
        self._ready.load(path)

    def _new(self, seed: int) -> "SharedTrainer":
        """New shared weights by a seed; torch's global generators stay as they were."""
        import torch

        from nasrun.training.supernet.trainer import SharedTrainer

        if self._runtime is None or self._data is None:
            raise RuntimeError("prepare() comes before anything is evaluated")
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = self._space.supernet(self._task)
        return SharedTrainer(model, self._data, self._parts["train"], self._settings, self._runtime)

    @property
    def _ready(self) -> "SharedTrainer":
        if self._trainer is None:
            self._trainer = self._new(UNTRAINED)
        return self._trainer
