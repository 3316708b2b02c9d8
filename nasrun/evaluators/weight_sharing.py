"""What evaluators have in common whose architectures share their weights: data, scores, the winner, files.

torch is imported when something is trained, not before.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from nasrun.checkpoints.winner import Winner, save_winner
from nasrun.core import Genome, Job, Measurement, SearchSpace, SharedEvaluator, Task, Trial, seeding
from nasrun.core.options import Between, ConfigError, Positive
from nasrun.datasets import Dataset, Splits
from nasrun.datasets.splitting import cut
from nasrun.evaluators.train.final import predictions_of
from nasrun.evaluators.train.memory import reason
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.training.supernet.settings import SharedSettings

if TYPE_CHECKING:
    import torch

    from nasrun.training.data import DeviceData, DeviceSplit
    from nasrun.training.supernet.trainer import SharedTrainer

Module = TypeVar("Module", bound="torch.nn.Module")

STATISTICS_BATCHES = 20
"""Batches from which the winner's running statistics are made."""
UNTRAINED = 0
"""Seed of the weights with which architectures are measured where no epoch was trained."""
TIMED_STEPS = 5


@dataclass(kw_only=True, frozen=True)
class SharingSettings(SharedSettings):
    """How shared weights are trained and used.

    `rounds`: trials after each epoch. A trial is scored on one random batch of `score_batch` validation images
    (`score=batch`; another batch for each trial), or on all (`score=whole`). `held_out`: the share of the validation
    images that neither training nor scores see. `pad_to`: smaller images are enlarged to that height and width by
    repeating their border. `image_size`: then they are brought down to that height and width for the whole search, by
    means over areas, which is faster; None: as they are. `standardise`: pixels are brought to a mean of 0 and a
    deviation of 1 per channel; otherwise to [0, 1] alone.
    """

    rounds: Positive = 30
    score: Literal["batch", "whole"] = "batch"
    score_batch: Annotated[int, Between(2, 1_000_000)] = 128
    held_out: Annotated[float, Between(0.01, 0.9)] = 0.3
    pad_to: Positive | None = 32
    image_size: Positive | None = None
    standardise: bool = True


class WeightSharing(SharedEvaluator):
    """Measures an architecture with its part of weights that all of them share; how these are trained is a subclass's.

    Scores are normalised by the statistics of the batch that is scored, as in ENAS: running statistics of shared
    weights would be those of other architectures. At the end the best architecture's weights are copied into a network
    of its own, with running statistics made anew for it, and tested on what was held out and on the test set; with
    smaller images (`image_size`) there is no such network, since it would not be one for the images of the data.
    """

    OPTION: str
    """Its name in `evaluator=`."""

    metrics = ("val_accuracy", "val_loss", "parameters", "flops")
    final_step = "test with the shared weights"

    def __init__(self, space: SearchSpace, dataset: Dataset, hardware: Hardware, settings: SharingSettings) -> None:
        if dataset.task.kind != "classification":
            raise ConfigError(f"dataset={dataset.name}: is for {dataset.task.kind}; evaluator={self.OPTION} classifies")
        if hardware.is_remote:
            named, alone = hardware.named
            raise ConfigError(f"{named}: evaluator={self.OPTION} trains in one process; use {alone}")
        self._space, self._dataset, self._hardware = space, dataset, hardware
        self.settings = settings
        """The options."""
        self.rounds, self.pad_to = settings.rounds, settings.pad_to
        self.task = dataset.task.enlarged(settings.pad_to)
        """Of the networks that are searched for, of whose size parameters and FLOPs are told."""
        size, height, width = settings.image_size, self.task.height, self.task.width
        if size is not None and size > max(height, width):
            raise ConfigError(
                f"evaluator.image_size={size}: images have {height} x {width} already; give less, or null, which takes "
                "them as they are"
            )
        self._small_task = self.task.shrunk(size)
        """Of the networks that are trained here."""
        if self._small_task != self.task:
            self.final_step = "no test, since the search is on smaller images (evaluator.image_size)"
        self._runtime: Runtime | None = None
        self._data: DeviceData | None = None
        self.parts: dict[str, DeviceSplit] = {}
        """The parts of the data, as they are trained and scored on, from `prepare` on: `train`; `scored` and
        `held_out`, into which the validation images are cut; `test`."""
        self._trainer: SharedTrainer | None = None

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data and decide the device, or take it from the record of an interrupted run."""
        import torch

        from nasrun.training.data import DeviceData

        self._runtime = Runtime.from_record(recorded["runtime"]) if recorded else self._hardware.resolve()
        self._runtime.apply()
        data = self._data = DeviceData(self._splits(), self._runtime.device)
        validation = self._resized(data.split("validation"))
        rng = seeding.generator(self._dataset.split_seed, seeding.Purpose.SHARED)
        labels = self._dataset.load().validation.labels
        self.parts = {name: self._resized(data.split(name)) for name in ("train", "test")}
        for name, places in zip(
            ("scored", "held_out"), cut(labels, self.task.outputs, self.settings.held_out, rng), strict=True
        ):
            if not len(places):
                raise ConfigError(
                    f"evaluator.held_out={self.settings.held_out}: leaves nothing of {len(labels)} validation images"
                )
            index = torch.from_numpy(places).to(self._runtime.device)
            self.parts[name] = validation.some(index)
        self._trainer = None
        return dict(recorded) if recorded else {"runtime": self._runtime._asdict()}

    def _splits(self) -> Splits:
        """The data, with what their pixels are brought to."""
        splits = self._dataset.load()
        if self.settings.standardise:
            return splits
        return replace(splits, mean=(0.0,) * len(splits.mean), std=(1.0,) * len(splits.std))

    def _resized(self, split: "DeviceSplit") -> "DeviceSplit":
        from nasrun.training.supernet.image_sizes import padded, shrunk

        return shrunk(padded(split, self.pad_to), self.settings.image_size)

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            started = time.monotonic()
            number, genome = job.trial.number, job.trial.proposal.genome
            try:
                found = self._score(self.trainer, genome, self._scored(job))
                metrics: dict[str, float] = {f"val_{name}": value for name, value in found.items()}
                cost = self._space.cost(genome, self.task)
                metrics |= {"parameters": cost.parameters, "flops": cost.flops}
                yield Measurement(number, job.repeat, "ok", metrics, None, time.monotonic() - started)
            except Exception as error:
                yield Measurement(number, job.repeat, "failed", {}, reason(error), time.monotonic() - started)

    def _score(self, trainer: "SharedTrainer", genome: Genome, part: "DeviceSplit") -> Mapping[str, float]:
        """Accuracy and loss of an architecture with its part of the shared weights."""
        return trainer.score(genome, part, self.settings.score_batch)

    def _scored(self, job: Job) -> "DeviceSplit":
        """What a job is scored on: all of the scored validation data, or a random batch that follows from its seed."""
        import torch

        part = self.parts["scored"]
        if self.settings.score == "whole" or len(part) <= self.settings.score_batch:
            return part
        rng = seeding.generator(job.seed, seeding.Purpose.ORDER)
        index = torch.from_numpy(rng.choice(len(part), self.settings.score_batch, replace=False)).to(part.labels.device)
        return part.some(index)

    def final(self, job: Job) -> Mapping[str, Any]:
        """The winner with its shared weights, in a network of its own, on what was held out and on the test set."""
        import torch

        if self._small_task != self.task:
            return {}
        started = time.monotonic()
        genome = job.trial.proposal.genome
        model = self.stand_alone(genome)
        metrics: dict[str, float] = {}
        for part, prefix in (("held_out", "test_held_out"), ("test", "test")):
            outputs: list[torch.Tensor] = []
            found = self.trainer.measure(model, self.parts[part], on_outputs=outputs.append)
            metrics |= {f"{prefix}_{name}": value for name, value in found.items()}
        if job.save_to is not None:
            splits = self._splits()
            name, section, task = self._space.format(genome), self._space.section, self._dataset.task
            about = Winner(name, section, task, splits.mean, splits.std, splits.classes, self.pad_to)
            save_winner(Path(job.save_to), about, model)
            predictions_of(torch.cat(outputs), splits).save(Path(job.save_to).parent)
        seconds = time.monotonic() - started
        return {"metrics": metrics, "history": [], "seconds": seconds, "trained_on": "the shared weights"}

    def stand_alone(self, genome: Genome) -> "torch.nn.Module":
        """An architecture with its shared weights in a network of its own, whose running statistics are made anew; in
        evaluation mode, for images as they are in `parts`."""
        return self._alone(self.trainer, genome)

    def _alone(self, trainer: "SharedTrainer", genome: Genome) -> "torch.nn.Module":
        import torch

        with torch.random.fork_rng([]):
            model = self._space.build(genome, self._small_task)
        return trainer.alone(model, self._shared_name(trainer, genome), STATISTICS_BATCHES)

    def _shared_name(self, trainer: "SharedTrainer", genome: Genome) -> Callable[[str], str]:
        """From the name of a parameter of an architecture's own network to that of its shared weight."""
        return self._space.supernet_name(genome, self._small_task)

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Seconds of one trial: its score, and its share of an epoch, from five steps of its architecture."""
        trainer, genome = self.new_trainer(UNTRAINED), trial.proposal.genome
        timer = timer or time.monotonic
        epoch = self._epoch_seconds(trainer, genome, timer)
        started = timer()
        self._score(trainer, genome, self._scored(Job(trial, 0, 0)))
        return epoch / self.rounds + timer() - started

    def estimate_start(self, genome: Genome) -> float:
        """Seconds of the epochs before the first trial."""
        if not self.warm_up_epochs:
            return 0.0
        return self.warm_up_epochs * self._epoch_seconds(self.new_trainer(UNTRAINED), genome, time.monotonic)

    def _epoch_seconds(self, trainer: "SharedTrainer", genome: Genome, timer: Callable[[], float]) -> float:
        seconds = []
        for _ in range(TIMED_STEPS):
            started = timer()
            self._timed_step(trainer, genome)
            seconds.append(timer() - started)
        return sorted(seconds)[TIMED_STEPS // 2] * trainer.steps

    def save(self, path: Path) -> None:
        self.trainer.save(path)

    def load(self, path: Path) -> None:
        self.trainer.load(path)

    def _timed_step(self, trainer: "SharedTrainer", genome: Genome) -> None:
        """What an epoch does once for each batch."""
        trainer.time_step([genome])

    @abstractmethod
    def new_trainer(self, seed: int) -> "SharedTrainer":
        """New shared weights by a seed, and what trains them; torch's global generators stay as they were. RuntimeError
        before `prepare`."""

    def _network(self, make: "Callable[[Task], Module]", seed: int) -> "Module":
        """A network with new weights by a seed."""
        import torch

        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return make(self._small_task)

    @property
    def _device(self) -> "tuple[DeviceData, Runtime]":
        """The data and where they lie."""
        if self._runtime is None or self._data is None:
            raise RuntimeError("prepare() comes before anything is evaluated")
        return self._data, self._runtime

    @property
    def trainer(self) -> "SharedTrainer":
        """The shared weights as they are by now, with what trains and scores them; before the first epoch new ones by a
        fixed seed. RuntimeError before `prepare`."""
        if self._trainer is None:
            self._trainer = self.new_trainer(UNTRAINED)
        return self._trainer
