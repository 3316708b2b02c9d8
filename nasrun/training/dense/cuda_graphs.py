"""One training step as a CUDA graph: recorded once, then replayed, without a call of Python for each kernel.

NVIDIA, "CUDA C++ Programming Guide", section CUDA Graphs; `torch.cuda.CUDAGraph`. The steps of small dense networks are
so short that launching their kernels one by one takes longer than the kernels.
"""

from collections.abc import Callable, Sequence

import torch

WARM_UP = 3
"""Steps before the recording, on a side stream, in which libraries allocate what they need. They count as steps."""

Update = Callable[[torch.Tensor, torch.Tensor, Sequence[torch.Tensor | None]], torch.Tensor]
"""One step from inputs, labels and dropout factors, all of fixed shapes; returns the losses. It must not wait for the
device, draw random numbers or allocate anything that outlives it."""


class StepGraph:
    """An update that is recorded at its fourth call and replayed from then on.

    What a call returns is overwritten by the next one.
    """

    def __init__(self, update: Update) -> None:
        self._update = update
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: list[torch.Tensor] = []
        self._losses: torch.Tensor | None = None

    def __call__(
        self, inputs: torch.Tensor, labels: torch.Tensor, masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Do one step; every call has tensors of the same shapes."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._aside(inputs, labels, masks)
        given = [inputs, labels, *(mask for mask in masks if mask is not None)]
        if self._graph is None:
            self._record(given, masks)
        for own, new in zip(self._given, given, strict=True):
            own.copy_(new)
        assert self._graph is not None
        assert self._losses is not None
        self._graph.replay()
        return self._losses

    def _aside(self, inputs: torch.Tensor, labels: torch.Tensor, masks: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """A step on a side stream, as a recording needs before it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._update(inputs, labels, masks)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _record(self, given: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None]) -> None:
        """Record the update on tensors of its own; nothing is computed."""
        self._given = [tensor.clone() for tensor in given]
        inputs, labels, *rest = self._given
        remaining = iter(rest)
        own = [None if mask is None else next(remaining) for mask in masks]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = self._update(inputs, labels, own)
