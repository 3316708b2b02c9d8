"""Learning from a trained network (knowledge distillation).

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531), section 2. The
teacher sees the very inputs that the network is trained on, augmentation included, as in Beyer et al., "Knowledge
distillation: A good teacher is patient and consistent", 2022 (arXiv 2106.05237).
"""

import contextlib
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from nasrun.hardware.devices import Runtime
from nasrun.training.settings import TrainSettings

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and deviation of each channel, in pixels scaled to [0, 1]."""


class Teacher:
    """A trained classifier whose answers others learn to give, on a device.

    `own`, `theirs`: the statistics that the teacher's inputs are standardised with, and those of the networks that
    learn from it.
    """

    def __init__(self, model: torch.nn.Module, runtime: Runtime, own: Statistics, theirs: Statistics) -> None:
        self.network = runtime.place(model.eval().requires_grad_(False))
        self._memory_format = runtime.memory_format(model)
        dtype = runtime.autocast_dtype(model)
        self._autocast = torch.autocast(runtime.device, dtype) if dtype is not None else contextlib.nullcontext()
        (mean, std), (other_mean, other_std) = (
            [torch.tensor(values, device=runtime.device).view(1, -1, 1, 1) for values in pair] for pair in (own, theirs)
        )
        self._scale, self._offset = other_std / std, (other_mean - mean) / std
        self._same = all(list(a) == list(b) for a, b in zip(own, theirs, strict=True))

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The logits for standardised images of the networks that learn, float32 (batch, classes)."""
        if not self._same:
            inputs = inputs * self._scale + self._offset
        with self._autocast:
            outputs: torch.Tensor = self.network(inputs.contiguous(memory_format=self._memory_format))
        return outputs.float()

    def loss(
        self, loss: torch.Tensor, outputs: torch.Tensor, inputs: torch.Tensor, settings: TrainSettings
    ) -> torch.Tensor:
        """The loss of a batch with `teacher_weight` of it replaced by the distance to the teacher's answers.

        That is the Kullback-Leibler divergence of the softmax shares of both, at `teacher_temperature`, times its
        square, so that the gradient does not shrink with the temperature. `outputs`: the logits for the inputs.
        """
        heat = settings.teacher_temperature
        wanted = F.log_softmax(self(inputs) / heat, 1)
        apart = F.kl_div(F.log_softmax(outputs / heat, 1), wanted, reduction="batchmean", log_target=True)
        return loss.lerp(apart * heat**2, settings.teacher_weight)
