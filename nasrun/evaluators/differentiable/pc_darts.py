"""Evaluator `pc_darts`: DARTS on a share of the channels, with the edges of a node weighed against each other.

Source: Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020 (arXiv
1907.05737), sections 3.2 and 3.3; settings of section 4.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nasrun.core import Job, SearchSpace
from nasrun.core.options import Above, AtLeast, ConfigError, Positive
from nasrun.datasets import Dataset
from nasrun.evaluators.differentiable.base import Differentiable, DifferentiableSettings
from nasrun.hardware.devices import Hardware

if TYPE_CHECKING:
    from nasrun.spaces.mixture import Mixture
    from nasrun.training.supernet.architecture import ArchitectureWeights


@dataclass(kw_only=True, frozen=True)
class PCDartsSettings(DifferentiableSettings):
    """The options of all differentiable methods, with the defaults of PC-DARTS on CIFAR-10."""

    batch_size: Positive = 256
    lr: Annotated[float, Above(0)] = 0.1
    lr_min: Annotated[float, AtLeast(0)] = 0.0
    architecture_lr: Annotated[float, Above(0)] = 0.0006
    architecture_warm_up: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto"


class PCDarts(Differentiable):
    """PC-DARTS: operations work on one of `partial` channels, and the others pass them by; what is added up in one node
    is weighed against each other by a softmax of its own (edge normalisation).

    It takes less time and memory than DARTS, and larger batches. The operations are narrower than those of the
    architecture by itself, so there is no test of the winner with the shared weights.
    The remaining options are those of `DifferentiableSettings`.
    """

    OPTION = "pc_darts"
    Settings = PCDartsSettings
    weighs_edges = True

    def __init__(
        self, space: SearchSpace, dataset: Dataset, hardware: Hardware, *, partial: Positive = 4, **settings: Any
    ) -> None:
        super().__init__(space, dataset, hardware, PCDartsSettings(**settings), partial=partial)
        if space.mixed_channels % partial:
            raise ConfigError(
                f"evaluator.partial={partial}: the first operations of the search space have {space.mixed_channels} "
                f"channels; give a number by which these can be divided, or search_space.channels"
            )
        if partial > 1:
            self.final_step = "no test, since the search is on a share of the channels (evaluator.partial)"

    def _mixture(self, weights: "ArchitectureWeights") -> "Mixture":
        from nasrun.spaces.mixture import Mixture

        return Mixture.weighted(weights.positions, weights.probabilities(), edges=weights.edge_shares())

    def final(self, job: Job) -> Mapping[str, Any]:
        """Nothing, unless all channels are worked on: the shared weights are of other operations."""
        return super().final(job) if self._partial == 1 else {}
