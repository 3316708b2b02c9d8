"""Linear layers of dense networks that train together: how their numbers lie in memory, and their products.

On the CPU a network must get the same numbers in any company, to the bit. A library may add up the terms of a product
in another order for another number of matrices, other strides or another address, and which orders there are depends on
the processor. So there each network's products are calls of their own, on matrices that are packed and aligned as they
are when it is alone (`SeparateLayer`). That costs about a microsecond a product. On a CUDA device, where starting a
kernel takes longer than its work, one call multiplies for all networks, narrow ones padded (`PaddedLayer`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch

ALIGNMENT = 32
"""What each network has of a buffer begins at a multiple of this number of floats, two of the longest vectors, so
that vector code has no remainder that depends on the other networks."""


def aligned(count: int) -> int:
    """The least multiple of `ALIGNMENT` that is at least `count`."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def spaced(networks: int, *shape: int, device: torch.device) -> torch.Tensor:
    """Zeros (networks, *shape) of which each network's begin on a boundary and are followed by a gap.

    With the gap, no operation takes the numbers of several networks for one row.
    """
    size = math.prod(shape)
    return torch.zeros(networks, aligned(size) + ALIGNMENT, device=device)[:, :size].view(networks, *shape)


class Units(NamedTuple):
    """Numbers of a layer's units for a batch of each network.

    `flat` (networks, n) holds all of them and zeros, for what is done with each number alone. `each`: (batch, width)
    per network, and `turned`: (width, batch); empty where networks are padded. `whole` (networks, batch, width): padded
    to the widest network; None where networks differ in width and are not padded.
    """

    flat: torch.Tensor
    each: Sequence[torch.Tensor]
    turned: Sequence[torch.Tensor]
    whole: torch.Tensor | None


def matrices(flat: torch.Tensor, rows: Sequence[int], columns: Sequence[int], padded: bool) -> list[torch.Tensor]:
    """Each network's matrix (..., rows, columns) in a buffer (..., networks, n): packed, or padded to the largest."""
    row, column = (max(rows), max(columns)) if padded else (0, 0)
    found = []
    for network, (height, width) in enumerate(zip(rows, columns, strict=True)):
        shape = (row, column) if padded else (height, width)
        packed = flat[..., network, : math.prod(shape)].unflatten(-1, shape)
        found.append(packed[..., :height, :width])
    return found


def units(widths: Sequence[int], batch: int, device: torch.device, padded: bool) -> Units:
    """Zeros for layers of these widths, one per network."""
    size = batch * max(widths)
    flat = torch.zeros(len(widths), aligned(size), device=device)
    whole = flat[:, :size].view(len(widths), batch, max(widths)) if padded or len(set(widths)) == 1 else None
    each = [] if padded else matrices(flat, [batch] * len(widths), widths, padded)
    return Units(flat, each, [one.t() for one in each], whole)


def given(values: torch.Tensor, padded: bool) -> Units:
    """Numbers (networks, batch, width) that there are already, as `Units`."""
    each = () if padded else values.unbind()
    return Units(values, each, [one.t() for one in each], values)


class Layer(ABC):
    """One linear layer of all networks.

    Per network `weights` (out, in) and `biases` (1, out), and their gradients: views of buffers (networks, n), in this
    order: weights, biases, gradients of weights, gradients of biases.
    """

    padded: bool

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], buffers: Sequence[torch.Tensor]) -> None:
        ones = [1] * len(inputs)
        shapes = ((outputs, inputs), (ones, outputs)) * 2
        self.weights, self.biases, self.weight_gradients, self.bias_gradients = (
            matrices(buffer, *shape, self.padded) for buffer, shape in zip(buffers, shapes, strict=True)
        )

    @property
    @abstractmethod
    def groups(self) -> list[list[torch.Tensor]]:
        """The gradients (networks, rows, columns), of networks that are treated in one go."""

    @abstractmethod
    def forward(self, inputs: Units, outputs: Units) -> None:
        """Outputs of a batch, before activation."""

    @abstractmethod
    def logits(self, inputs: Units, logits: Units) -> None:
        """The same, transposed: into (networks, out, batch), where all networks have equally many outputs."""

    @abstractmethod
    def gradients(self, inputs: Units, errors: Units) -> None:
        """Fill in the gradients from those by the outputs, `errors`."""

    @abstractmethod
    def back(self, errors: Units, before: Units) -> None:
        """The gradients by the inputs, into `before`."""


class SeparateLayer(Layer):
    """Each network's products by themselves."""

    padded = False

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], buffers: Sequence[torch.Tensor]) -> None:
        super().__init__(inputs, outputs, buffers)
        # Views that every step needs; making one takes as long as a small product.
        self._transposed = [weight.t() for weight in self.weights]
        _, biases, _, bias_gradients = buffers
        width = max(outputs)
        self._bias, self._bias_gradient = biases[:, None, :width], bias_gradients[:, None, :width]
        self._column = self._bias.transpose(1, 2)

    @property
    def groups(self) -> list[list[torch.Tensor]]:
        return [[w[None], b[None]] for w, b in zip(self.weight_gradients, self.bias_gradients, strict=True)]

    def forward(self, inputs: Units, outputs: Units) -> None:
        for values, weight, out in zip(inputs.each, self._transposed, outputs.each, strict=True):
            torch.mm(values, weight, out=out)
        if outputs.whole is not None:
            outputs.whole.add_(self._bias)
        else:
            for out, bias in zip(outputs.each, self.biases, strict=True):
                out.add_(bias)

    def logits(self, inputs: Units, logits: Units) -> None:
        for weight, values, out in zip(self.weights, inputs.turned, logits.each, strict=True):
            torch.mm(weight, values, out=out)
        logits.flat.add_(self._column)

    def gradients(self, inputs: Units, errors: Units) -> None:
        for error, values, gradient in zip(errors.turned, inputs.each, self.weight_gradients, strict=True):
            torch.mm(error, values, out=gradient)
        if errors.whole is not None:  # sums of one network's numbers too, one after the other
            torch.sum(errors.whole, 1, keepdim=True, out=self._bias_gradient)
        else:
            for error, gradient in zip(errors.each, self.bias_gradients, strict=True):
                torch.sum(error, 0, keepdim=True, out=gradient)

    def back(self, errors: Units, before: Units) -> None:
        for error, weight, out in zip(errors.each, self.weights, before.each, strict=True):
            torch.mm(error, weight, out=out)


class PaddedLayer(Layer):
    """One product for all networks; what is padded is zero, and stays so."""

    padded = True

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], buffers: Sequence[torch.Tensor]) -> None:
        super().__init__(inputs, outputs, buffers)
        most, of = max(outputs), max(inputs)
        self._weight, self._bias, self._weight_gradient, self._bias_gradient = (
            buffer[:, : rows * columns].unflatten(1, (rows, columns))
            for buffer, (rows, columns) in zip(buffers, ((most, of), (1, most)) * 2, strict=True)
        )

    @property
    def groups(self) -> list[list[torch.Tensor]]:
        return [[self._weight_gradient, self._bias_gradient]]

    def forward(self, inputs: Units, outputs: Units) -> None:
        assert inputs.whole is not None
        assert outputs.whole is not None
        torch.baddbmm(self._bias, inputs.whole, self._weight.transpose(1, 2), out=outputs.whole)

    def logits(self, inputs: Units, logits: Units) -> None:
        assert inputs.whole is not None
        torch.baddbmm(self._bias.transpose(1, 2), self._weight, inputs.whole.transpose(1, 2), out=logits.flat)

    def gradients(self, inputs: Units, errors: Units) -> None:
        assert inputs.whole is not None
        assert errors.whole is not None
        torch.bmm(errors.whole.transpose(1, 2), inputs.whole, out=self._weight_gradient)
        torch.sum(errors.whole, 1, keepdim=True, out=self._bias_gradient)

    def back(self, errors: Units, before: Units) -> None:
        assert errors.whole is not None
        torch.bmm(errors.whole, self._weight, out=before.whole)
