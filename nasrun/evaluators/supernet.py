"""Evaluator `supernet`: architectures are measured with weights that all of them share (ENAS).

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", 2018 (arXiv 1802.03268), section 2.2.
torch is imported when something is trained, not before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import Genome, SearchSpace, Task
from nasrun.core.options import AtLeast, Between, ConfigError, Positive, show
from nasrun.datasets import Dataset
from nasrun.evaluators.weight_sharing import UNTRAINED, SharingSettings, WeightSharing
from nasrun.hardware.devices import Hardware
from nasrun.spaces.sections import spaces_with_relaxation, spaces_with_supernet
from nasrun.strategies.steering import ATTEMPTS
from nasrun.training.supernet.sampling import Draw, FairDraws, SandwichDraws, WeightedDraws, Weights, weights_by_cost

if TYPE_CHECKING:
    import torch

    from nasrun.spaces.mixture import Mixture
    from nasrun.training.data import DeviceSplit
    from nasrun.training.supernet.auxiliary import AuxiliaryHead
    from nasrun.training.supernet.trainer import SharedTrainer

Sampling = Literal["auto", "policy", "uniform", "weighted", "fair", "sandwich"]


@dataclass(kw_only=True, frozen=True)
class SupernetSettings(SharingSettings):
    """What is drawn where the shared weights are trained, and how architectures are scored with them.

    `sampling`: `policy` (what the strategy's policy draws; under strategies without one as the operation weights say),
    `uniform` (samples of the space), `weighted` (by the operation weights), `fair` and `sandwich` (groups, see
    `FairDraws` and `SandwichDraws`), whatever the policy; `auto`: `weighted` where operation weights are given by name,
    else `policy`. `distil=inplace`: the others of a sandwich learn what its largest architecture answers.
    `statistics=recalibrated`: architectures are scored with running statistics that are made anew for each, in place of
    those of the batch at hand. `drop_path`: the share of images for which an operation gives nothing while training, in
    the last epoch; in the first next to none. `auxiliary`: the weight of the loss of a second classifier within the
    network (`AuxiliaryHead`); 0: there is none. `warm_up_epochs`: epochs before the first trial, in which no policy is
    used. `split`: the position in genomes, from 1, by whose choices the weights are split after `split_epochs` epochs
    (`auto`: half of all): from then on the architectures of each choice have weights of their own, which begin with
    those that all had until then (few-shot, see `nasrun.training.supernet.splitting`); None: they never are.
    """

    sampling: Sampling = "auto"
    distil: Literal["none", "inplace"] = "none"
    statistics: Literal["batch", "recalibrated"] = "batch"
    drop_path: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    auxiliary: Annotated[float, AtLeast(0)] = 0.0
    warm_up_epochs: Annotated[int, AtLeast(0)] = 0
    split: Positive | None = None
    split_epochs: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distil == "inplace" and self.sampling != "sandwich":
            raise ValueError(
                "distil=inplace: is for sampling=sandwich, whose largest architecture teaches the others, and "
                f"sampling={self.sampling}"
            )
        if self.split is not None and self.auxiliary:
            raise ValueError(f"split={self.split}: goes without a second classifier; use auxiliary=0, or split=null")


class Supernet(WeightSharing):
    """Trains the weights of all architectures together, and measures an architecture with its part of them.

    Before each `rounds` trials the shared weights are trained for one epoch, as many batches as hold all training
    images; each batch trains the weights of one architecture, or of a group, by `sampling`.

    `operation_weights`: how often each operation is drawn where the weights are trained, by its name in genomes.
    `auto`: as the space says (`SearchSpace.operation_weights`), under strategies that have no policy; `cost`: see
    `weights_by_cost`; None: samples of the space.
    The remaining options are those of `SupernetSettings`.
    """

    OPTION = "supernet"
    Settings = SupernetSettings

    settings: SupernetSettings

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        operation_weights: Weights | Literal["auto", "cost"] | None = None,  # as in runs of versions without it
        **settings: Any,
    ) -> None:
        if not space.has_supernet:
            raise ConfigError(
                f"search_space={type(space).__name__}: has no supernet, which evaluator=supernet trains; choose "
                f"search_space={' or '.join(spaces_with_supernet())}"
            )
        own = SupernetSettings(**settings)
        super().__init__(space, dataset, hardware, own)
        self.warm_up_epochs = own.warm_up_epochs
        self._sampling = own.sampling
        if own.sampling == "auto":
            self._sampling = "weighted" if isinstance(operation_weights, dict) else "policy"
        self._weighted = self._draws_of(operation_weights)
        self._check_space()
        self.draw_from(space)

    def draw_from(self, space: SearchSpace) -> None:
        self._drawn_from = space
        self._groups: FairDraws | SandwichDraws | None = None
        if self._sampling == "fair":
            self._groups = FairDraws(space)
        elif self._sampling == "sandwich":
            self._groups = SandwichDraws(space, self.task, self._one)

    def _one(self, rng: np.random.Generator) -> Genome:
        """A draw by no policy."""
        genome = self.sample(rng)
        return self._drawn_from.sample(rng) if genome is None else genome

    def _draws_of(self, weights: Weights | str | None) -> WeightedDraws | None:
        """What draws by operation weights; ConfigError where these have no part in what is drawn, or there are none
        that are to have."""
        if self._sampling in ("uniform", "fair") and isinstance(weights, dict):
            raise ConfigError(
                f"evaluator.operation_weights={show(weights)}: nothing is drawn by them with evaluator.sampling="
                f"{self._sampling}; use evaluator.sampling=weighted"
            )
        if weights == "cost":
            weights = weights_by_cost(self._space, self.task)
        elif weights == "auto":
            weights = dict(self._space.operation_weights)
        if isinstance(weights, dict) and weights:
            return None if self._sampling == "uniform" else WeightedDraws(self._space, weights)
        if self._sampling == "weighted":
            raise ConfigError(
                "evaluator.sampling=weighted: the search space names no weights of operations; give "
                "evaluator.operation_weights={NAME:NUMBER,...}, or choose evaluator.sampling=uniform"
            )
        return None

    def _check_space(self) -> None:
        """ConfigError where the network of all architectures of the space cannot do what the options want."""
        own, space = self.settings, self._space
        try:
            space.check_supernet(self._small_task)
        except ValueError as error:
            raise ConfigError(f"{error} (evaluator=supernet)") from None
        if own.drop_path and not space.mixed_channels:
            raise ConfigError(
                f"evaluator.drop_path={own.drop_path}: the network of all architectures of this search space drops "
                f"none; use 0, or search_space={' or '.join(spaces_with_relaxation())}"
            )
        if own.auxiliary and space.auxiliary_place(self._small_task) is None:
            raise ConfigError(
                f"evaluator.auxiliary={own.auxiliary}: the network of all architectures of this search space has no "
                "place for a second classifier; use 0, or search_space=micro_cell"
            )

        if own.split is not None and not space.mixed_channels:
            raise ConfigError(
                f"evaluator.split={own.split}: this search space cannot be split, as the choices at a position depend "
                f"on those before; use null, or search_space={' or '.join(spaces_with_relaxation())}"
            )
        if own.split is not None and own.split > len(space.positions()):
            raise ConfigError(f"evaluator.split={own.split}: genomes have positions from 1 to {len(space.positions())}")

    def train_shared(self, draw: Draw, rng: np.random.Generator, epoch: int, epochs: int) -> Mapping[str, float]:
        """One epoch of the shared weights; also tells the accuracy of one more draw on what is held out."""
        if epoch == 1:
            self._trainer = self.new_trainer(int(rng.integers(2**62)))
        own = self.settings
        if own.split is not None and epoch > (epochs // 2 if own.split_epochs == "auto" else own.split_epochs):
            self.split_weights()
        one = draw if self._sampling == "policy" and epoch > self.warm_up_epochs else self._one
        draws: Callable[[np.random.Generator], Sequence[Any]] = self._group(one)
        if own.drop_path:
            draws = self._dropping(draws, rng, own.drop_path * min(epoch / epochs, 1.0))
        metrics = self.trainer.epoch(draws, rng, epoch, epochs)
        found = self._score(self.trainer, one(rng), self.parts["held_out"])
        told = {} if own.split is None else {"branches": float(self._branches(self.trainer))}
        return metrics | {"held_out_accuracy": found["accuracy"]} | told

    def split_weights(self) -> None:
        """Split the shared weights by the choices at the position `split`, unless they are already: each choice
        continues from the weights and the momentum of all, so that no score changes. `split` must be given."""
        from nasrun.training.supernet.splitting import whole_name

        whole = self.trainer
        if self._branches(whole) == 1:
            self._trainer = self.new_trainer(UNTRAINED, split=True)
            self._trainer.take_over(whole, whole_name)

    def _branches(self, trainer: "SharedTrainer") -> int:
        """Networks of all architectures that there are."""
        from nasrun.training.supernet.splitting import SplitNetwork

        return len(trainer.model.branches) if isinstance(trainer.model, SplitNetwork) else 1

    def _shared_name(self, trainer: "SharedTrainer", genome: Genome) -> Callable[[str], str]:
        from nasrun.training.supernet.splitting import SplitNetwork

        names = super()._shared_name(trainer, genome)
        if not isinstance(trainer.model, SplitNetwork):
            return names
        within = trainer.model.names(genome)
        return lambda name: within(names(name))

    def load(self, path: Path) -> None:
        from nasrun.training.supernet.splitting import is_split

        if self.settings.split is not None:
            self._trainer = self.new_trainer(UNTRAINED, split=is_split(path))
        super().load(path)

    def _group(self, one: Draw) -> Callable[[np.random.Generator], Sequence[Genome]]:
        return (lambda rng: [one(rng)]) if self._groups is None else self._groups.draw

    def _dropping(
        self, draws: Callable[[np.random.Generator], Sequence[Genome]], rng: np.random.Generator, rate: float
    ) -> "Callable[[np.random.Generator], Sequence[Mixture]]":
        import torch

        from nasrun.training.supernet.dropping import with_dropped_paths

        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return with_dropped_paths(draws, self._space.skip, rate, noise)

    def sample(self, rng: np.random.Generator) -> Genome | None:
        if self._weighted is None:
            return None
        for _ in range(ATTEMPTS):  # as samples of a space that limits steer
            genome = self._drawn_from.fit(self._weighted.draw(rng))
            if self._drawn_from.usage(genome) <= 1:
                break
        return genome

    def _score(self, trainer: "SharedTrainer", genome: Genome, part: "DeviceSplit") -> Mapping[str, float]:
        if self.settings.statistics == "batch":
            return super()._score(trainer, genome, part)
        return trainer.measure(self._alone(trainer, genome), part)

    def _timed_step(self, trainer: "SharedTrainer", genome: Genome) -> None:
        trainer.time_step(self._group(lambda rng: genome)(np.random.default_rng(0)))

    def new_trainer(self, seed: int, *, split: bool = False) -> "SharedTrainer":
        from nasrun.training.supernet.trainer import SharedTrainer

        data, runtime = self._device
        model = self._network(self._split_network if split else self._space.supernet, seed)
        head = self._auxiliary_head(model, seed) if self.settings.auxiliary else None
        distils = self.settings.distil == "inplace"
        train = self.parts["train"]
        return SharedTrainer(model, data, train, self.settings, runtime, distils=distils, auxiliary=head)

    def _split_network(self, task: Task) -> "torch.nn.Module":
        from nasrun.training.supernet.splitting import SplitNetwork

        assert self.settings.split is not None
        position = self.settings.split - 1
        return SplitNetwork(position, self._space.positions()[position], lambda: self._space.supernet(task))

    def _auxiliary_head(self, model: "torch.nn.Module", seed: int) -> "AuxiliaryHead":
        from nasrun.training.supernet.auxiliary import AuxiliaryHead

        place = self._space.auxiliary_place(self._small_task)
        assert place is not None
        name, channels = place

        def make(task: Task) -> AuxiliaryHead:
            return AuxiliaryHead(model, name, channels, task.outputs, self.settings.auxiliary)

        return self._network(make, seed)
