"""Training of weights that architectures share: each batch trains those of one architecture, or of a few.

Nothing in the step loop waits for the device. torch is imported here, so this is imported by functions that need it.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from nasrun.checkpoints.store import load_weights, save_weights
from nasrun.core import Genome
from nasrun.hardware.devices import Runtime
from nasrun.spaces.elastic import part_of
from nasrun.spaces.mixture import Mixture
from nasrun.training.augmentation import augmented
from nasrun.training.data import DeviceData, DeviceSplit, measured_at_a_time
from nasrun.training.outcomes import TrainingError
from nasrun.training.settings import TrainSettings
from nasrun.training.supernet.auxiliary import AuxiliaryHead
from nasrun.training.supernet.settings import SharedSettings

WEIGHT, MOMENTUM, SCALE = "weight.", "momentum.", "scaler."
"""What the names of tensors in a checkpoint begin with."""
AUXILIARY = "auxiliary."
"""What the names of weights of an auxiliary head begin with."""

Draw = Callable[[np.random.Generator], Sequence[Genome | Mixture]]
"""The architectures of a batch."""
Batch = tuple[torch.Tensor, torch.Tensor]
"""Images float (batch, C, H, W), and their labels."""


class SharedNetwork(Protocol):
    """A network that holds the weights of all architectures of a space, and computes one of them."""

    def __call__(self, images: torch.Tensor, architecture: Genome | Mixture) -> torch.Tensor:
        """Logits (batch, outputs) of one architecture, normalised by the statistics of the batch. Mixtures: see
        `SearchSpace.relaxed`."""


class SharedTrainer:
    """Shared weights on a device, with their optimizer: trained, used, written and read.

    `model`: an `nn.Module` that is a `SharedNetwork`; `train`: what it is trained on; `data` normalises images. An
    architecture's step changes its own weights alone: what it does not use is neither decayed nor moved by momentum.
    `distils`: of several architectures of a batch the first learns the labels, the others what it answers.
    `auxiliary`: a head on `model` whose loss is added to theirs.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: DeviceData,
        train: DeviceSplit,
        settings: SharedSettings,
        runtime: Runtime,
        *,
        distils: bool = False,
        auxiliary: AuxiliaryHead | None = None,
    ) -> None:
        self.model, self._distils = runtime.place(model), distils
        self._data, self._split, self._runtime = data, train, runtime
        self.settings, self.auxiliary = settings, auxiliary
        self._memory_format = runtime.memory_format(model)
        dtype = runtime.autocast_dtype(model)
        self._autocast = torch.autocast(runtime.device, dtype) if dtype is not None else contextlib.nullcontext()
        self._scaler = torch.amp.GradScaler(runtime.device, enabled=dtype is torch.float16)
        self._weights: dict[str, torch.Tensor] = dict(model.named_parameters())
        if auxiliary is not None:
            runtime.place(auxiliary)
            self._weights |= {AUXILIARY + name: weight for name, weight in auxiliary.named_parameters()}
        # By group, as the optimizer decays the one and not the other; order is that of the model.
        self._groups = [[p for p in self._weights.values() if (p.ndim > 1) == decayed] for decayed in (True, False)]
        groups = [
            {"params": list(group), "weight_decay": decay}
            for group, decay in zip(self._groups, (settings.weight_decay, 0.0), strict=True)
        ]
        nesterov = settings.momentum > 0
        self._optimizer = torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov, fused=True
        )
        if nesterov:  # all at once: the fused step takes either none or all of those that it is given
            for weight in self._weights.values():
                self._optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)

    @property
    def momentum(self) -> Mapping[str, torch.Tensor]:
        """The momentum of each weight, of its shape, by its name; empty where `settings.momentum` is 0."""
        state = self._optimizer.state
        return {name: state[weight]["momentum_buffer"] for name, weight in self._weights.items() if weight in state}

    @property
    def steps(self) -> int:
        """Batches of an epoch: every image is in one; the last is filled up with some of the first again."""
        return -(-len(self._split) // self.settings.batch_size)

    def epoch(
        self,
        draw: Draw,
        rng: np.random.Generator,
        epoch: int,
        epochs: int,
        before_step: Callable[[Batch, float], None] = lambda batch, rate: None,
    ) -> dict[str, float]:
        """Train for one epoch (from 1) of a schedule of `epochs`, each batch with the architectures that `draw` gives.

        `before_step` is told each batch, with the learning rate, before the weights are trained on it. Returns the mean
        loss and accuracy over the batches, and the last learning rate. Raises TrainingError where the loss is not
        finite.
        """
        order = torch.Generator().manual_seed(int(rng.integers(2**62)))
        augment = torch.Generator().manual_seed(int(rng.integers(2**62)))
        split, size, steps = self._split, self.settings.batch_size, self.steps
        chosen = torch.randperm(len(split), generator=order)
        while len(chosen) < steps * size:
            chosen = torch.cat((chosen, chosen[: steps * size - len(chosen)]))
        chosen = chosen.to(self._runtime.device, non_blocking=True)
        sums = torch.zeros(2, device=self._runtime.device)
        self.model.train()
        chunk = split.chunk(size)
        step, rate = (epoch - 1) * steps, 0.0
        for start in range(0, len(chosen), chunk):
            images, labels = self.inputs(split, chosen[start : start + chunk], augment)
            for batch, answers in zip(images.split(size), labels.split(size), strict=True):
                rate = self.settings.rate(step, steps, epochs)
                before_step((batch, answers), rate)
                sums += self.step(batch, answers, draw(rng), rate)
                step += 1
        loss, right = sums.tolist()
        if not math.isfinite(loss):
            raise TrainingError(f"shared weights: the training loss became {loss} in epoch {epoch}")
        return {"train_loss": loss / steps, "train_accuracy": right / (steps * size), "lr": rate}

    def step(
        self, images: torch.Tensor, labels: torch.Tensor, architectures: Sequence[Genome | Mixture], rate: float
    ) -> torch.Tensor:
        """Update the weights that architectures or mixtures use on a batch, by the sum of their gradients. Returns
        float (2,) on the device: the mean loss, and how many answers were right, each a mean over the architectures."""
        told = torch.zeros(2, device=self._runtime.device)
        answers = labels
        for architecture in architectures:
            with self._autocast:
                outputs = self.model(images, architecture)
                aside = self.auxiliary.loss(answers) if self.auxiliary is not None else None
            outputs = outputs.float()
            loss = F.cross_entropy(outputs, answers)
            self._scaler.scale(loss if aside is None else loss + aside).backward()
            told += torch.stack((loss.detach(), (outputs.detach().argmax(1) == labels).sum()))
            if self._distils and answers is labels:
                answers = outputs.detach().softmax(1)
        self._update(rate)
        return told / len(architectures)

    def _update(self, rate: float) -> None:
        """One step of the optimizer, on the weights that have a gradient."""
        active = []
        for group, weights in zip(self._optimizer.param_groups, self._groups, strict=True):
            group["lr"] = rate
            group["params"] = [weight for weight in weights if weight.grad is not None]
            active += group["params"]
        if self.settings.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(active, self.settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        for weight in active:
            weight.grad = None

    def time_step(self, architectures: Sequence[Genome | Mixture]) -> None:
        """A step on the first images that ends when the device has done it, for estimates of time."""
        images, labels = self.first_batch(self._split)
        self.step(images, labels, architectures, self.settings.lr).sum().item()

    def first_batch(self, split: DeviceSplit) -> Batch:
        """The first images of a part of the data."""
        count = min(self.settings.batch_size, len(split))
        return self.inputs(split, torch.arange(count, device=split.labels.device))

    def score(self, genome: Genome, split: DeviceSplit, batch_size: int) -> Mapping[str, float]:
        """Accuracy and loss of an architecture on a part of the data, with the weights as they are.

        In batches of about equal size, of at most `batch_size` images, each normalised by its own statistics, for which
        a batch has images from everywhere: data may lie class by class.
        """
        sums = torch.zeros(2, dtype=torch.float64, device=self._runtime.device)
        self.model.eval()
        count = len(split)
        with torch.inference_mode(), self._autocast:
            for index in _spread(count, -(-count // batch_size)):
                images, labels = self.inputs(split, index.to(split.labels.device))
                outputs = self.model(images, genome).float()
                sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
                sums[1] += (outputs.argmax(1) == labels).sum()
        loss, right = sums.tolist()
        return {"accuracy": right / count, "loss": loss / count}

    def alone(self, model: torch.nn.Module, names: Callable[[str], str], batches: int) -> torch.nn.Module:
        """Copy an architecture's shared weights into its stand-alone network, and give that running statistics.

        `names`: the shared name of each parameter of the network, which may be a part of it (`part_of`). The statistics
        are means over that number of batches, each of training images from everywhere.
        """
        model = self._runtime.place(model)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(part_of(self._weights[names(name)], weight.shape))
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        split, size = self._split, self.settings.batch_size
        model.train()
        with torch.no_grad(), self._autocast:
            for index in _spread(len(split), -(-len(split) // size))[:batches]:
                model(self.inputs(split, index.to(split.labels.device))[0])
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        return model.eval()

    def measure(
        self,
        model: torch.nn.Module,
        split: DeviceSplit,
        on_outputs: Callable[[torch.Tensor], None] = lambda outputs: None,
    ) -> Mapping[str, float]:
        """Accuracy and loss of a stand-alone network on a part of the data; `on_outputs` is told the outputs of each
        batch."""
        sums = torch.zeros(2, dtype=torch.float64, device=self._runtime.device)
        size = measured_at_a_time(split)
        model.eval()
        with torch.inference_mode(), self._autocast:
            for index in torch.arange(len(split), device=split.labels.device).split(size):
                images, labels = self.inputs(split, index)
                outputs = model(images).float()
                sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
                sums[1] += (outputs.argmax(1) == labels).sum()
                on_outputs(outputs)
        loss, right = sums.tolist()
        return {"accuracy": right / len(split), "loss": loss / len(split)}

    def inputs(self, split: DeviceSplit, index: torch.Tensor, augment: torch.Generator | None = None) -> Batch:
        """Images float (batch, C, H, W), augmented where a generator is given, and their labels."""
        images, labels = split.at(index)
        if augment is not None and (self.settings.shift or self.settings.flip):
            moves = TrainSettings(shift=self.settings.shift, flip=self.settings.flip)
            images = augmented(images, moves, augment)
        return self._data.normalise(images, self._memory_format), labels

    def save(self, path: Path) -> None:
        """Write weights, momentum and, in fp16, the state of the loss scale as safetensors, atomically."""
        save_weights(path, self._state())

    def _state(self) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {WEIGHT + name: weight for name, weight in self._weights.items()}
        tensors |= {MOMENTUM + name: buffer for name, buffer in self.momentum.items()}
        for name, value in self._scaler.state_dict().items():
            tensors[SCALE + name] = torch.tensor(value, dtype=torch.float64)
        return tensors

    def take_over(self, other: "SharedTrainer", names: Callable[[str], str]) -> None:
        """Go on from the weights and the momentum of another; `names`: the name there of each weight."""
        given = other._state()
        tensors = {name: tensor for name, tensor in given.items() if name.startswith(SCALE)}
        for name in self._weights:
            tensors |= {
                kind + name: given[kind + names(name)] for kind in (WEIGHT, MOMENTUM) if kind + names(name) in given
            }
        self._restore(tensors)

    def load(self, path: Path) -> None:
        """Read what `save` wrote; KeyError where it is of another network."""
        self._restore(load_weights(path))

    def _restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors[WEIGHT + name])
            for name, buffer in self.momentum.items():
                buffer.copy_(tensors[MOMENTUM + name])
        state = self._scaler.state_dict()
        if state:
            self._scaler.load_state_dict({name: type(old)(tensors[SCALE + name].item()) for name, old in state.items()})


def _spread(count: int, parts: int) -> list[torch.Tensor]:
    """The numbers up to `count` in that number of parts of about equal size, each from all over."""
    return [torch.arange(part, count, parts) for part in range(parts)]
