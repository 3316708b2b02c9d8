"""What scores look at: passes of some images through an untrained network. Imports torch."""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ACTIVATIONS = frozenset(
    {
        *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh),
        *(functional.relu, functional.relu6, functional.hardtanh, functional.leaky_relu, functional.elu),
        *(functional.silu, functional.gelu, functional.hardswish, functional.sigmoid, functional.tanh),
    }
)
"""Functions that let a unit pass or not, by the sign of its input."""

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

Batch = tuple[Tensor, Tensor]
"""Images float (batch, C, H, W), and what the loss compares with."""


class _Codes(TorchFunctionMode):
    """Takes note of which units are above zero, activation by activation: bool (batch, units), and the graph's node."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        positive = args[0].detach() > 0 if func in ACTIVATIONS else None  # before: it may be done in place
        result = func(*args, **(kwargs or {}))
        if positive is not None and positive.ndim > 1:
            self.found.append((positive.flatten(1), result.grad_fn))
        return result


class _Linear(TorchFunctionMode):
    """Leaves out batch normalisation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is functional.batch_norm else func(*args, **(kwargs or {}))


class Forward:
    """One pass: `images`, `outputs` float (batch, ...), `codes` of the activations and `features` of the blocks."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.images = images.detach().requires_grad_()
        self.features: list[Tensor] = []
        hooks = [block.register_forward_hook(self._keep) for block in blocks_of(model)]
        codes = _Codes()
        try:
            with codes:
                self.outputs: Tensor = model(self.images)
        finally:
            for hook in hooks:
                hook.remove()
        nodes = _nodes_behind(self.outputs)
        self.codes = [positive for positive, node in codes.found if node in nodes]

    def _keep(self, block: nn.Module, inputs: Any, output: Tensor) -> None:
        self.features.append(output)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a network, in order: its parts that have parts of their own (lists are looked into). A network that
    has fewer than two of them, as a dense one: all its layers but the last."""
    parts: list[nn.Module] = []
    for part in model.children():
        parts += part.children() if isinstance(part, nn.ModuleList) else [part]
    blocks = [part for part in parts if next(part.children(), None) is not None]
    return blocks if len(blocks) > 1 else parts[:-1]


def _nodes_behind(outputs: Tensor) -> set[Any]:
    """The nodes of the graph that outputs are made by: what leads nowhere is not among them."""
    waiting, found = [outputs.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [following for following, _ in node.next_functions]
    return found


class Probe:
    """An untrained network with some batches; each pass is made when the first score asks for it.

    `loss`: of outputs and answers. `generator`: of the scores that draw. Networks are in training mode, so that batch
    normalisation goes by the batch, without dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        loss: Callable[[Tensor, Tensor], Tensor],
        generator: torch.Generator,
        input_shape: tuple[int, int, int],
    ) -> None:
        self.model, self.batches, self._loss, self.generator = model.train(), batches, loss, generator
        self._input_shape = input_shape
        for module in model.modules():
            if isinstance(module, DROPOUT):
                module.eval()

    @cached_property
    def forward(self) -> Forward:
        """The pass of the first batch."""
        return Forward(self.model, self.batches[0][0])

    @cached_property
    def weights(self) -> list[Tensor]:
        """The weights of convolutions and dense layers; not biases and normalisation."""
        return [parameter for parameter in self.model.parameters() if parameter.ndim > 1]

    @cached_property
    def gradients(self) -> list[Tensor]:
        """Those of the loss of the first batch, by `weights`; zero where the loss does not depend on one."""
        return self._gradients(self.forward.outputs, self.batches[0][1])

    @cached_property
    def other_gradients(self) -> list[Tensor]:
        """The same of the second batch."""
        images, answers = self.batches[1]
        return self._gradients(self.model(images), answers)

    def _gradients(self, outputs: Tensor, answers: Tensor) -> list[Tensor]:
        loss = self._loss(outputs.float(), answers)
        return list(torch.autograd.grad(loss, self.weights, retain_graph=True, materialize_grads=True))

    def linear(self) -> tuple[list[Tensor], list[Tensor]]:
        """The absolute weights of the network, float64, without batch normalisation, and the gradient by them of the
        sum of its outputs for an image of ones."""
        model = copy.deepcopy(self.model).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        weights: list[Tensor] = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        ones = torch.ones(1, *self._input_shape, dtype=torch.float64, device=weights[0].device)
        with _Linear():
            outputs = model(ones)
        return weights, list(torch.autograd.grad(outputs.sum(), weights, materialize_grads=True))
