"""What differentiable methods have in common: shared weights of mixed operations, and weights of architectures.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055). torch is imported when
something is trained, not before.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from nasrun.core import Derivation, Genome, SearchSpace, seeding
from nasrun.core.options import Above, AtLeast, ConfigError, Positive
from nasrun.datasets import Dataset
from nasrun.datasets.splitting import cut
from nasrun.evaluators.weight_sharing import SharingSettings, WeightSharing
from nasrun.hardware.devices import Hardware
from nasrun.spaces.sections import spaces_with_relaxation
from nasrun.training.supernet.settings import ArchitectureSettings

if TYPE_CHECKING:
    import torch

    from nasrun.spaces.mixture import Mixture
    from nasrun.training.supernet.architecture import ArchitectureWeights
    from nasrun.training.supernet.mixed import MixedTrainer
    from nasrun.training.supernet.trainer import SharedTrainer

JUDGED, TRAINED = "judged", "trained"
"""The parts of the data that architecture weights and shared weights are learned on."""


@dataclass(kw_only=True, frozen=True)
class DifferentiableSettings(SharingSettings, ArchitectureSettings):
    """The options that all differentiable methods have; defaults are those of DARTS on CIFAR-10 (arXiv 1806.09055,
    appendix A.1.1), where there is one trial for each epoch."""

    rounds: Positive = 1
    batch_size: Positive = 64
    lr: Annotated[float, Above(0)] = 0.025
    lr_min: Annotated[float, AtLeast(0)] = 0.001
    weight_decay: Annotated[float, AtLeast(0)] = 0.0003


class Differentiable(WeightSharing):
    """Trains a network of mixed operations, and weights of architectures by gradient, a step of the one after one of
    the other; after each epoch an architecture is derived from them (`derived`), which `strategy=derived` proposes.

    A subclass says by `_mixture` what the network computes under the architecture weights. Policies of strategies make
    no difference to what is trained. An architecture is scored with its part of the shared weights, as in `Supernet`.
    `partial`: operations see one in `partial` channels.
    """

    Settings = DifferentiableSettings
    settings: DifferentiableSettings

    derives = True

    second_order = False
    """Whether architecture weights learn by what one step of the shared weights would come to."""
    weighs_edges = False
    """Whether what is added up in one node is weighed against each other (PC-DARTS)."""

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        settings: DifferentiableSettings,
        *,
        partial: int = 1,
    ) -> None:
        if not space.mixed_channels:
            raise ConfigError(
                f"search_space={type(space).__name__}: has no mixed operations, which evaluator={self.OPTION} trains; "
                f"choose search_space={' or '.join(spaces_with_relaxation())}"
            )
        super().__init__(space, dataset, hardware, settings)
        self._partial = partial
        self._progress = 0.0
        """The share of the search that is behind it."""
        self._noise: torch.Generator | None = None

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        facts = super().prepare(recorded)
        train = self.parts["train"]
        if self.settings.architecture_data == "validation":
            self.parts |= {TRAINED: train, JUDGED: self.parts["scored"]}
            return facts
        import torch

        rng = seeding.generator(self._dataset.split_seed, seeding.Purpose.SHARED, 1)
        halves = cut(self._dataset.load().train.labels, self.task.outputs, 0.5, rng)
        for name, places in zip((TRAINED, JUDGED), halves, strict=True):
            self.parts[name] = train.some(torch.from_numpy(places).to(train.labels.device))
        return facts

    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """One epoch; also tells the mean over the positions of their largest weight (`certainty`), how many skip
        connections are derived, and the accuracy of the derived architecture on what is held out."""
        import torch

        if epoch == 1:
            self._trainer = self.new_trainer(int(rng.integers(2**62)))
        trainer = self.trainer
        self._noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._progress = min((epoch - 1) / max(epochs - 1, 1), 1.0)
        learn = self._learns(trainer.architecture, epoch, epochs)
        before = {name: value.clone() for name, value in trainer.architecture.state().items()}
        metrics = trainer.search(rng, epoch, epochs, learn=learn, second_order=self.second_order)
        metrics |= self._after_epoch(trainer.architecture, before, epoch, epochs)
        return metrics | self._told(trainer)

    def _told(self, trainer: "MixedTrainer") -> dict[str, float]:
        found = trainer.architecture.derived()
        score = trainer.score(found.genome, self.parts["held_out"], self.settings.score_batch)
        told = {"certainty": float(np.mean([max(row) for row in found.weights]))}
        if self._space.skip is not None:
            told["skips"] = float(found.genome.count(self._space.skip))
        return told | {"held_out_accuracy": score["accuracy"]}

    def derived(self) -> Derivation | None:
        return self.trainer.architecture.derived()

    @abstractmethod
    def _mixture(self, weights: "ArchitectureWeights") -> "Mixture":
        """What the network computes under architecture weights; whatever is random comes from `_noise`."""

    def _learns(self, weights: "ArchitectureWeights", epoch: int, epochs: int) -> bool:
        """Whether architecture weights are learned in an epoch."""
        return epoch > self.settings.warm_up_epochs(epochs)

    def _after_epoch(
        self, weights: "ArchitectureWeights", before: "Mapping[str, torch.Tensor]", epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """What a method does with its weights after an epoch, and tells. `before`: their state before it."""
        return {}

    def _timed_step(self, trainer: "SharedTrainer", genome: Genome) -> None:
        mixed: Any = trainer
        batch = mixed.first_batch(self.parts[JUDGED])
        mixed.learn(mixed.first_batch(self.parts[TRAINED]), batch, self.settings.lr, second_order=self.second_order)
        mixed.time_step([mixed.mixture()])

    def new_trainer(self, seed: int) -> "MixedTrainer":
        import torch

        from nasrun.training.supernet.architecture import ArchitectureWeights
        from nasrun.training.supernet.mixed import MixedParts, MixedTrainer

        data, runtime = self._device
        model = self._network(lambda task: self._space.relaxed(task, self._partial), seed)
        self._noise = generator = torch.Generator().manual_seed(seed)
        summed = self._space.summed_positions if self.weighs_edges else ()
        settings = self.settings
        weights = ArchitectureWeights(self._space.positions(), settings, generator, summed)
        parts = MixedParts(self.parts[TRAINED], self.parts[JUDGED])
        return MixedTrainer(
            model, weights, lambda: self._mixture(weights), data, parts, settings, runtime, affine=settings.affine
        )

    @property
    def trainer(self) -> "MixedTrainer":
        trainer: Any = super().trainer
        mixed: MixedTrainer = trainer
        return mixed
