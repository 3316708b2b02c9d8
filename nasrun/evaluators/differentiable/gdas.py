"""Evaluator `gdas`: one architecture at a time, drawn by weights that learn through the draw (Gumbel softmax).

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019 (arXiv 1910.04465),
section 3.2.
"""

from typing import TYPE_CHECKING, Annotated, Any

from nasrun.core import SearchSpace
from nasrun.core.options import Above
from nasrun.datasets import Dataset
from nasrun.evaluators.differentiable.base import Differentiable, DifferentiableSettings
from nasrun.hardware.devices import Hardware

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from nasrun.spaces.mixture import Mixture
    from nasrun.training.supernet.architecture import ArchitectureWeights


class Gdas(Differentiable):
    """GDAS: for each batch one choice a position is drawn by the architecture weights, and it alone is computed; the
    weights learn as if it had been weighted by a softmax of the same draw, at a temperature that falls.

    A batch costs one architecture, not all of them. `temperature`, `temperature_min`: of the softmax, at the first and
    at the last epoch, on a straight line between.
    The remaining options are those of `DifferentiableSettings`.
    """

    OPTION = "gdas"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        temperature: Annotated[float, Above(0)] = 10.0,
        temperature_min: Annotated[float, Above(0)] = 0.1,
        **settings: Any,
    ) -> None:
        if temperature_min > temperature:
            raise ValueError(f"temperature_min={temperature_min}: must be at most temperature, {temperature}")
        super().__init__(space, dataset, hardware, DifferentiableSettings(**settings))
        self._temperatures = temperature, temperature_min

    def _mixture(self, weights: "ArchitectureWeights") -> "Mixture":
        from nasrun.spaces.mixture import Mixture

        first, last = self._temperatures
        temperature = first + (last - first) * self._progress
        assert self._noise is not None
        draws = [drawn(logits, temperature, self._noise) for logits in weights.logits]
        return Mixture.weighted(weights.positions, [row for row, _ in draws], [[place] for _, place in draws])


def drawn(logits: "Tensor", temperature: float, noise: "Generator") -> "tuple[Tensor, int]":
    """A draw by logits, float (choices,), with Gumbel noise from a generator on the CPU: 1 for its choice and 0 for
    others, float (choices,), with the gradient of the softmax at a temperature (straight through); its place."""
    import torch

    gumbel = -torch.empty(len(logits)).exponential_(generator=noise).log()
    soft = torch.softmax((torch.log_softmax(logits, 0) + gumbel.to(logits)) / temperature, 0)
    place = int(soft.argmax())
    hard = torch.zeros_like(soft)
    hard[place] = 1.0
    return hard + (soft - soft.detach()), place
