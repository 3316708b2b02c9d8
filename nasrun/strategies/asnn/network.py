"""The network of the ASNN: predicts widths from the accuracies of an architecture's repeats. Imports torch when
used."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from nasrun.core.options import Above, Positive
from nasrun.hardware.devices import single_thread

if TYPE_CHECKING:
    import torch

WIDEST = 2.0**20
"""Predictions are clipped to this, so that none overflows before the space limits it."""

SMALLEST_DEVIATION = 1e-12


@dataclass(kw_only=True, frozen=True)
class NetworkSettings:
    """Settings that the paper leaves open: of its network, and of its training with Adam.

    `inputs`: `standardised` by the mean and standard deviation of all training inputs, or only scaled as the paper says
    (`times_100`). `outputs`: the form in which a width is predicted; it is standardised too, except with `times_100`.
    `loss`: the squared error predicts the mean, the absolute error the median, of the widths that fit the accuracies.
    """

    rows: Positive = 10_000
    inputs: Literal["standardised", "times_100"] = "standardised"
    outputs: Literal["log2", "linear"] = "log2"
    loss: Literal["squared", "absolute"] = "squared"
    hidden: list[Positive] | None = None
    epochs: Positive = 20
    batch_size: Positive = 200
    lr: Annotated[float, Above(0)] = 0.003
    members: Positive = 1

    @property
    def layers(self) -> list[int]:
        """Units of the hidden layers."""
        return self.hidden if self.hidden is not None else [64, 64]


class Ensemble:
    """Dense ReLU networks of one shape, trained side by side on the same rows, each in its own order.

    Uses double precision and one thread, so that the rounded suggestions are the same on every machine. Initial weights
    (Glorot uniform, biases 0) and orders follow from `seed`; torch's global generator is not used.
    """

    def __init__(self, inputs: np.ndarray, widths: np.ndarray, settings: NetworkSettings, seed: int) -> None:
        """`inputs`: scores (rows, repeats). `widths`: (rows, layers)."""
        import torch

        self._settings = settings
        goals = np.log2(widths) if settings.outputs == "log2" else widths
        if settings.inputs == "standardised":
            self._shift, self._scale = float(inputs.mean()), max(float(inputs.std()), SMALLEST_DEVIATION)
            self._goal_shift, self._goal_scale = goals.mean(0), np.maximum(goals.std(0), SMALLEST_DEVIATION)
        else:
            self._shift, self._scale = 0.0, 0.01
            self._goal_shift, self._goal_scale = np.zeros(goals.shape[1]), np.ones(goals.shape[1])
        generator = torch.Generator().manual_seed(seed)
        with single_thread():
            self._parameters = self._initial([inputs.shape[1], *settings.layers, widths.shape[1]], generator)
            # Mean loss of each epoch over all members, in units of the (standardised) outputs.
            self.losses = self._train(self._scaled(inputs), (goals - self._goal_shift) / self._goal_scale, generator)

    def _initial(self, sizes: list[int], generator: "torch.Generator") -> "list[torch.Tensor]":
        import torch

        parameters = []
        for before, after in pairwise(sizes):
            weights = torch.rand(self._settings.members, before, after, generator=generator, dtype=torch.float64)
            weights.mul_(2).sub_(1).mul_((6 / (before + after)) ** 0.5)
            biases = torch.zeros(self._settings.members, 1, after, dtype=torch.float64)
            parameters += [weights.requires_grad_(), biases.requires_grad_()]
        return parameters

    def _train(self, inputs: np.ndarray, goals: np.ndarray, generator: "torch.Generator") -> list[float]:
        import torch

        settings, rows = self._settings, len(inputs)
        features, wanted = torch.from_numpy(inputs), torch.from_numpy(goals)
        optimizer = torch.optim.Adam(self._parameters, lr=settings.lr, fused=True)
        losses = []
        for _ in range(settings.epochs):
            orders = [torch.randperm(rows, generator=generator) for _ in range(settings.members)]
            total = torch.zeros((), dtype=torch.float64)
            for batch in torch.stack(orders).split(settings.batch_size, dim=1):
                error = self._forward(features[batch]) - wanted[batch]
                errors = error.square() if settings.loss == "squared" else error.abs()
                # The sum over members gives each member the gradient that it would have alone.
                loss = errors.mean((1, 2)).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * batch.shape[1]
            losses.append(total.item() / (rows * settings.members))
        return losses

    def _forward(self, features: "torch.Tensor") -> "torch.Tensor":
        """(members, batch, repeats) to (members, batch, layers)."""
        import torch

        for weights, biases in zip(self._parameters[:-2:2], self._parameters[1:-2:2], strict=True):
            features = torch.baddbmm(biases, features, weights).relu()
        return torch.baddbmm(self._parameters[-1], features, self._parameters[-2])

    def _scaled(self, scores: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (scores - self._shift) / self._scale
        return scaled

    def widths(self, scores: np.ndarray, member: int) -> np.ndarray:
        """The widths (layers,), as real numbers, that a member predicts for some scores (repeats,); NaN if its training
        diverged."""
        import torch

        features = torch.from_numpy(self._scaled(scores)).expand(self._settings.members, 1, -1)
        with torch.no_grad(), single_thread():
            output = self._forward(features)[member, 0].numpy()
        goal = output * self._goal_scale + self._goal_shift
        with np.errstate(over="ignore"):
            widths = np.exp2(goal) if self._settings.outputs == "log2" else goal
        bounded: np.ndarray = np.clip(widths, 1.0, WIDEST)
        return bounded
