"""Evaluator `darts`: all operations at once, weighted by a softmax whose logits are learned by gradient.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055). Remedies for its collapse
to skip connections: Liang et al., "DARTS+", 2019 (arXiv 1909.06035), section 3.2 (early stopping by skip connections);
Chen et al., "Progressive DARTS", IJCV 2021 (arXiv 1912.10952), section 3.3 (dropout of skip connections).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from nasrun.core import SearchSpace, Token
from nasrun.core.options import AtLeast, Between, ConfigError
from nasrun.datasets import Dataset
from nasrun.evaluators.differentiable.base import Differentiable, DifferentiableSettings
from nasrun.hardware.devices import Hardware

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nasrun.spaces.mixture import Mixture
    from nasrun.training.supernet.architecture import ArchitectureWeights

STOPPED = "stopped"
"""What is remembered of architecture weights that are learned no more."""


class Darts(Differentiable):
    """DARTS: every operation is computed, and weighted by the softmax of its position's architecture weights.

    `second_order`: architecture weights learn by the loss after one step of the shared weights, which takes about four
    times as long; False: by the loss with the shared weights as they are.

    `max_skips`: as soon as more skip connections than that are derived, the architecture weights are set back to those
    before the epoch and learned no more; None: they are learned to the end. `skip_dropout`: the share of images whose
    skip connections are dropped, which falls in equal steps to 0 at the end of the search.
    The remaining options are those of `DifferentiableSettings`.
    """

    OPTION = "darts"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        second_order: bool = False,
        max_skips: Annotated[int, AtLeast(0)] | None = None,
        skip_dropout: Annotated[float, Between(0, 1, open_high=True)] = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(space, dataset, hardware, DifferentiableSettings(**settings))
        if second_order and skip_dropout:
            raise ConfigError(
                f"evaluator.skip_dropout={skip_dropout}: the second order compares losses, which dropout makes "
                "differ by chance; use evaluator.second_order=false"
            )
        self.second_order, self._max_skips, self._skip_dropout = second_order, max_skips, skip_dropout

    def _mixture(self, weights: "ArchitectureWeights") -> "Mixture":
        from nasrun.spaces.mixture import Mixture

        rate = self._skip_dropout * (1 - self._progress)
        mixture = Mixture.weighted(weights.positions, weights.probabilities())
        return replace(mixture, drop=lambda token, value: self._dropped(token, value, rate)) if rate else mixture

    def _dropped(self, token: Token, value: "Tensor", rate: float) -> "Tensor":
        """The result of an operation; of a skip connection, 0 for a share of the images and the more for the others."""
        from nasrun.training.supernet.dropping import dropped

        if token != self._space.skip:
            return value
        assert self._noise is not None
        return dropped(value, rate, self._noise)

    def _learns(self, weights: "ArchitectureWeights", epoch: int, epochs: int) -> bool:
        return STOPPED not in weights.memory and super()._learns(weights, epoch, epochs)

    def _after_epoch(
        self, weights: "ArchitectureWeights", before: "Mapping[str, torch.Tensor]", epoch: int, epochs: int
    ) -> Mapping[str, float]:
        import torch

        if self._max_skips is None:
            return {}
        if STOPPED not in weights.memory and weights.derived().genome.count(self._space.skip) > self._max_skips:
            weights.restore(before)
            weights.memory[STOPPED] = torch.tensor(epoch)
        return {"stopped": float(STOPPED in weights.memory)}
