"""Shared weights and weights of architectures, trained in turn. Imports torch.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), section 2.3, algorithm 1.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nasrun.hardware.devices import Runtime
from nasrun.spaces.mixture import Mixture
from nasrun.training.data import DeviceData, DeviceSplit
from nasrun.training.outcomes import TrainingError
from nasrun.training.supernet.architecture import ArchitectureWeights
from nasrun.training.supernet.settings import SharedSettings
from nasrun.training.supernet.trainer import Batch, SharedTrainer

ARCHITECTURE = "architecture."
"""What the names of tensors of the architecture weights begin with, in a checkpoint."""
PERTURBATION = 0.01
"""Norm of the change of the weights by which a second derivative is taken (DARTS, section 2.3, footnote 2)."""


class MixedParts(NamedTuple):
    """What is learned on: the images of the shared weights, and those of the architecture weights."""

    weights: DeviceSplit
    architecture: DeviceSplit


class MixedTrainer(SharedTrainer):
    """Shared weights with architecture weights, on a device: a step of these before each step of the others.

    `model`: of `SearchSpace.relaxed`; `mixture`: makes what it computes of the architecture weights, anew for each
    forward pass, so that methods that draw draw each time. `affine`: see `ArchitectureSettings`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        architecture: ArchitectureWeights,
        mixture: Callable[[], Mixture],
        data: DeviceData,
        parts: MixedParts,
        settings: SharedSettings,
        runtime: Runtime,
        *,
        affine: bool,
    ) -> None:
        if not affine:
            freeze_scales(model)
        super().__init__(model, data, parts.weights, settings, runtime)
        self.architecture = architecture.to(runtime.device)
        self.mixture = mixture
        """What the network computes under the architecture weights as they are; methods that draw draw at each call."""
        self._judged = parts.architecture
        # In fp16 gradients would have to be scaled; these are few enough to be taken in fp32.
        self._search_autocast = contextlib.nullcontext() if self._scaler.is_enabled() else self._autocast

    def search(
        self, rng: np.random.Generator, epoch: int, epochs: int, *, learn: bool, second_order: bool = False
    ) -> dict[str, float]:
        """One epoch (from 1) of a schedule of `epochs`. `learn`: whether architecture weights are trained, too;
        `second_order`: by the gradient of what one step of the shared weights would come to.

        Returns what `epoch` does, and with `learn` the mean loss of the architecture steps before them.
        """
        batches, losses = self._batches(rng), torch.zeros((), device=self._runtime.device)

        def before_step(batch: Batch, rate: float) -> None:
            if learn:
                losses.add_(self.learn(batch, next(batches), rate, second_order=second_order))

        def draw(rng: np.random.Generator) -> Sequence[Mixture]:
            with torch.no_grad():
                return [self.mixture()]

        metrics = self.epoch(draw, rng, epoch, epochs, before_step)
        if not learn:
            return metrics
        loss = losses.item() / self.steps
        if not math.isfinite(loss):
            raise TrainingError(f"architecture weights: the loss became {loss} in epoch {epoch}")
        return {**metrics, "architecture_loss": loss}

    def _batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Images of the architecture weights without end, in another order each time that all were there."""
        order = torch.Generator().manual_seed(int(rng.integers(2**62)))
        augment = torch.Generator().manual_seed(int(rng.integers(2**62)))
        size = min(self.settings.batch_size, len(self._judged))
        while True:
            chosen = torch.randperm(len(self._judged), generator=order).to(self._judged.labels.device)
            for index in chosen.split(size):
                if len(index) == size:
                    yield self.inputs(self._judged, index, augment)

    def learn(self, train: Batch, judge: Batch, rate: float, *, second_order: bool) -> Tensor:
        """One step of the architecture weights by a batch that judges them; `train`: that of the next step of the
        shared weights, whose learning rate is `rate`. Returns the loss, a tensor without dimensions on the device."""
        if second_order:
            loss, gradients = self.unrolled_gradient(train, judge, rate)
        else:
            loss, gradients = self.gradient(judge)
        self.architecture.learn(gradients)
        return loss

    def gradient(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The loss of a batch, and its gradient by the architecture weights with the shared weights as they are (DARTS,
        first order)."""
        with self._search_autocast:
            loss = self.loss(batch)
        return loss.detach(), torch.autograd.grad(loss, list(self.architecture.parameters()), allow_unused=True)

    def unrolled_gradient(self, train: Batch, judge: Batch, rate: float) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The loss of a batch after one step of the shared weights on another, and its gradient by the architecture
        weights through that step (DARTS, second order, equations 6 to 8); the shared weights stay as they are.

        The step is one of SGD with the momentum so far, as in the authors' code. In fp32: the second derivative is a
        difference of two gradients at weights that lie close together.
        """
        weights = [weight for weight in self._weights.values() if weight.requires_grad]
        kept = [weight.detach().clone() for weight in weights]
        own = list(self.architecture.parameters())
        try:
            self._move(weights, self._direction(weights, train), -rate)
            loss = self.loss(judge)
            gradients = torch.autograd.grad(loss, [*own, *weights], allow_unused=True)
            direct, towards = gradients[: len(own)], gradients[len(own) :]
            norm = torch.sqrt(sum((one.square().sum() for one in towards if one is not None), loss.new_zeros(())))
            distance = PERTURBATION / norm.item() if norm > 0 else 0.0
            ends = []
            for sign in (1.0, -1.0):
                self._put(weights, kept)
                self._move(weights, towards, sign * distance)
                ends.append(torch.autograd.grad(self.loss(train), own, allow_unused=True))
        finally:
            self._put(weights, kept)
        through = [_difference(above, below, 2 * distance) for above, below in zip(*ends, strict=True)]
        return loss.detach(), [_less(one, other, rate) for one, other in zip(direct, through, strict=True)]

    def _direction(self, weights: Sequence[Tensor], batch: Batch) -> list[Tensor | None]:
        """Against what the next step of SGD goes."""
        gradients = torch.autograd.grad(self.loss(batch), weights, allow_unused=True)
        found: list[Tensor | None] = []
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is None:
                found.append(None)
                continue
            decay = self.settings.weight_decay if weight.ndim > 1 else 0.0
            state = self._optimizer.state.get(weight, {})
            before = state["momentum_buffer"] * self.settings.momentum if state else 0.0
            found.append(gradient + decay * weight.detach() + before)
        return found

    @staticmethod
    @torch.no_grad()
    def _move(weights: Sequence[Tensor], direction: Sequence[Tensor | None], distance: float) -> None:
        for weight, towards in zip(weights, direction, strict=True):
            if towards is not None:
                weight.add_(towards, alpha=distance)

    @staticmethod
    @torch.no_grad()
    def _put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)

    def loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of a batch in training mode under `mixture`, a tensor without dimensions with its graph."""
        images, labels = batch
        self.model.train()
        outputs = self.model(images, self.mixture())
        return F.cross_entropy(outputs.to(torch.promote_types(outputs.dtype, torch.float32)), labels)

    def _state(self) -> dict[str, Tensor]:
        own = {ARCHITECTURE + name: value for name, value in self.architecture.state().items()}
        return {**super()._state(), **own}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        super()._restore(tensors)
        own = {
            name.removeprefix(ARCHITECTURE): value for name, value in tensors.items() if name.startswith(ARCHITECTURE)
        }
        self.architecture.restore(own)


def freeze_scales(model: torch.nn.Module) -> None:
    """Leave the scales and offsets of the normalisations of operations at 1 and 0."""
    for candidate in model.candidates():  # type: ignore[operator, union-attr]
        for module in candidate.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.requires_grad_(False)


def _difference(above: Tensor | None, below: Tensor | None, width: float) -> Tensor | None:
    return None if above is None or below is None or not width else (above - below) / width


def _less(gradient: Tensor | None, through: Tensor | None, rate: float) -> Tensor | None:
    return gradient if gradient is None or through is None else gradient - rate * through
