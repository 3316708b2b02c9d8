"""Evaluator `supernet`: architectures are measured with weights that all of them share (ENAS).

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", 2018 (arXiv 1802.03268), section 2.2.
torch is imported when something is trained, not before.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.options import ConfigError
from nasrun.datasets import Dataset
from nasrun.evaluators.weight_sharing import SharingSettings, WeightSharing
from nasrun.hardware.devices import Hardware
from nasrun.spaces.sections import spaces_with_supernet
from nasrun.training.supernet.sampling import WeightedDraws, Weights

if TYPE_CHECKING:
    from nasrun.training.supernet.trainer import SharedTrainer


class Supernet(WeightSharing):
    """Trains the weights of all architectures together, and measures an architecture with its part of them.

    Before each `rounds` trials the shared weights are trained for one epoch, as many batches as hold all training
    images; each batch trains the weights of one architecture that the strategy's policy draws.

    `operation_weights`: how often each operation is drawn where the weights are trained, by its name in genomes, in
    place of the strategy's policy. `auto`: as the space says (`SearchSpace.operation_weights`), under strategies that
    have no policy; None: these draw samples of the space.
    The remaining options are those of `SharingSettings`.
    """

    OPTION = "supernet"
    Settings = SharingSettings

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        operation_weights: Weights | Literal["auto"] | None = None,  # as in runs of versions without it
        **settings: Any,
    ) -> None:
        if not space.has_supernet:
            raise ConfigError(
                f"search_space={type(space).__name__}: has no supernet, which evaluator=supernet trains; choose "
                f"search_space={' or '.join(spaces_with_supernet())}"
            )
        super().__init__(space, dataset, hardware, SharingSettings(**settings))
        self._in_place_of_policy = isinstance(operation_weights, dict)
        weights = space.operation_weights if operation_weights == "auto" else operation_weights
        self._weighted = WeightedDraws(space, weights) if weights is not None and len(weights) else None

    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """One epoch of the shared weights; also tells the accuracy of one more draw on what is held out."""
        if self._in_place_of_policy and self._weighted is not None:
            draw = self._weighted.draw
        if epoch == 1:
            self._trainer = self._new(int(rng.integers(2**62)))
        metrics = self._ready.epoch(draw, rng, epoch, epochs)
        found = self._ready.score(draw(rng), self._parts["held_out"], self._settings.score_batch)
        return metrics | {"held_out_accuracy": found["accuracy"]}

    def sample(self, rng: np.random.Generator) -> Genome | None:
        return None if self._weighted is None else self._weighted.draw(rng)

    def _new(self, seed: int) -> "SharedTrainer":
        from nasrun.training.supernet.trainer import SharedTrainer

        data, runtime = self._device
        model = self._network(self._space.supernet, seed)
        return SharedTrainer(model, data, self._parts["train"], self._settings, runtime)
