"""Evaluator `sgas`: DARTS that decides one position after another, and trains what is left.

Source: Li et al., "SGAS: Sequential Greedy Architecture Search", CVPR 2020 (arXiv 1912.00195), section 3.2, algorithm
1; criteria of section 3.3.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from nasrun.core import SearchSpace, Token
from nasrun.core.options import AtLeast, Positive
from nasrun.datasets import Dataset
from nasrun.evaluators.differentiable.base import Differentiable, DifferentiableSettings
from nasrun.hardware.devices import Hardware

if TYPE_CHECKING:
    import torch

    from nasrun.spaces.mixture import Mixture
    from nasrun.training.supernet.architecture import ArchitectureWeights

HISTORY = "history"
"""What is remembered: the weights of all positions after the last epochs, one behind the other, float64 (epochs, n)."""

Row = np.ndarray
"""The weights of one position."""


class Sgas(Differentiable):
    """SGAS: from time to time the position whose weights are the most certain is decided for its best choice, and the
    others of its choices are computed no more; at the end what is left is the architecture.

    `criterion`: 1, how little weight `none` has times how certain the choice is; 2, that times how little the weights
    have changed over the last `history` epochs. `warm_up_epochs`: before the first decision; auto: 9 of 50, as
    published. `decision_epochs`: the number of epochs between decisions; auto: evenly, so that all are made by the
    end of the search. The batch size stays as it is, which the authors enlarge with each decision.
    The remaining options are those of `DifferentiableSettings`.
    """

    OPTION = "sgas"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        criterion: Literal[1, 2] = 1,
        history: Positive = 4,
        warm_up_epochs: Annotated[int, AtLeast(0)] | Literal["auto"] = "auto",
        decision_epochs: Positive | Literal["auto"] = "auto",
        **settings: Any,
    ) -> None:
        super().__init__(space, dataset, hardware, DifferentiableSettings(**settings))
        self._criterion, self._history = criterion, history
        self._warm_up, self._every = warm_up_epochs, decision_epochs
        self._nothing = [places_of(choices, space.nothing) for choices in space.positions()]

    def _mixture(self, weights: "ArchitectureWeights") -> "Mixture":
        from nasrun.spaces.mixture import Mixture

        sizes = enumerate(len(choices) for choices in weights.positions)
        places = [[weights.fixed[at]] if at in weights.fixed else range(size) for at, size in sizes]
        return Mixture.weighted(weights.positions, weights.probabilities(), places)

    def _learns(self, weights: "ArchitectureWeights", epoch: int, epochs: int) -> bool:
        return len(weights.fixed) < len(weights.positions) and super()._learns(weights, epoch, epochs)

    def due(self, epoch: int, epochs: int) -> int:
        """How many positions are to be decided after an epoch (from 1) of a search of `epochs`."""
        count = len(self._space.positions())
        warm_up = 9 * epochs // 50 if self._warm_up == "auto" else self._warm_up
        if epoch <= warm_up:
            return 0
        if self._every == "auto":
            return count * min(epoch - warm_up, epochs - warm_up) // max(epochs - warm_up, 1)
        return min((epoch - warm_up - 1) // self._every + 1, count)

    def _after_epoch(
        self, weights: "ArchitectureWeights", before: "Mapping[str, torch.Tensor]", epoch: int, epochs: int
    ) -> Mapping[str, float]:
        import torch

        rows = [np.array(row) for row in weights.derived().weights]
        known = weights.memory[HISTORY].numpy() if HISTORY in weights.memory else np.empty((0, sum(map(len, rows))))
        while len(weights.fixed) < self.due(epoch, epochs):
            left = [position for position in range(len(rows)) if position not in weights.fixed]
            position = left[int(np.argmax(self.scores(rows, known, left)))]
            weights.fixed[position] = int(np.argmax(rows[position]))
        weights.memory[HISTORY] = torch.from_numpy(np.vstack((known, np.concatenate(rows)))[-self._history :].copy())
        return {"decided": float(len(weights.fixed))}

    def scores(self, rows: Sequence[Row], known: np.ndarray, left: Sequence[int]) -> np.ndarray:
        """How ready each position that is left is to be decided, float (positions,): the product of what the criterion
        looks at, each scaled to [0, 1] over the positions. `known`: as `HISTORY`."""
        starts = np.cumsum([0, *map(len, rows)])
        measures = []
        for position in left:
            nothing, row = self._nothing[position], rows[position]
            earlier = known[:, starts[position] : starts[position + 1]]
            shares = shares_of(row, nothing)
            stable = stability(shares, [shares_of(one, nothing) for one in earlier])
            measures.append((1 - row[nothing].sum(), certainty(shares), stable))
        considered = np.array(measures).T[: 2 if self._criterion == 1 else 3]
        result: np.ndarray = np.prod([scaled(measure) for measure in considered], axis=0)
        return result


def places_of(choices: Sequence[Token], token: Token | None) -> list[int]:
    """Where a token is among choices: one place, or none."""
    return [place for place, choice in enumerate(choices) if choice == token]


def shares_of(row: Row, nothing: Sequence[int]) -> Row:
    """The weights of all choices but `none`, 1 in all."""
    rest = np.delete(row, nothing)
    shares: Row = rest / rest.sum()
    return shares


def certainty(shares: Row) -> float:
    """1 less the entropy of shares, as part of the largest that there may be (selection certainty, equation 5); 1 where
    there is one choice."""
    if len(shares) == 1:
        return 1.0
    positive = shares[shares > 0]
    return 1.0 + float((positive * np.log(positive)).sum()) / float(np.log(len(shares)))


def stability(shares: Row, earlier: Sequence[Row]) -> float:
    """The mean over earlier shares of what they have in common with these (selection stability, equation 7); 1 where
    there are none."""
    return float(np.mean([np.minimum(shares, one).sum() for one in earlier])) if earlier else 1.0


def scaled(values: np.ndarray) -> np.ndarray:
    """Values from 0, of the least, to 1, of the largest; 1 where all are equal, so that they decide nothing."""
    width = values.max() - values.min()
    return (values - values.min()) / width if width > 0 else np.ones_like(values)
