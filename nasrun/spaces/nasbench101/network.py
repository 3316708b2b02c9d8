"""The networks of NAS-Bench-101 in torch. Only `build` imports this module, because it imports torch.

Source: Ying et al. 2019 (arXiv 1902.09635), section 2; details that the paper leaves open follow the project
google-research/nasbench, `model_builder` and `base_ops`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.nasbench101.graph import Cell, members, vertex_channels

NORM_EPSILON = 1e-5
"""As in `base_ops`."""

# Standard deviation of a standard normal truncated at 2, by which TensorFlow's initialiser divides.
_CUT_DEVIATION = 0.87962566103423978


def network(
    cell: Cell, channels: int, outputs: int, *, stem: int, stacks: int, cells: int, momentum: float
) -> nn.Sequential:
    """Stem, `stacks` times `cells` copies of the cell, global average pooling, a dense layer.

    The stem is a 3x3 convolution to `stem` channels. Between stacks a 2x2 maximum pooling with stride 2 halves height
    and width (rounded up, so any size works), and the first cell after it doubles the channels. Input float (batch,
    channels, height, width), output (batch, outputs). `momentum`: of the batch normalisation, the share of the new
    statistics.

    Initial weights, from torch's global generator, as in TensorFlow 1: convolutions normal with variance 1 / fan-in,
    truncated at two standard deviations; the dense layer uniform as in Glorot and Bengio (2010) with bias 0.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=ConvBnRelu(channels, stem, 3))
    width = stem
    for stack in range(1, stacks + 1):
        if stack > 1:
            parts[f"downsample{stack}"] = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        target = stem << (stack - 1)
        for number in range(1, cells + 1):
            parts[f"stack{stack}_cell{number}"] = CellModule(cell, width, target)
            width = target
    parts["pool"] = GlobalAveragePool()
    parts["flatten"] = nn.Flatten()
    dense = nn.Linear(width, outputs)
    nn.init.xavier_uniform_(dense.weight)
    nn.init.zeros_(dense.bias)
    parts["output"] = dense
    model = nn.Sequential(parts)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
    return model


class ConvBnRelu(nn.Sequential):
    """Convolution without bias that keeps height and width, batch normalisation, relu."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        deviation = (channels_in * kernel * kernel) ** -0.5 / _CUT_DEVIATION
        nn.init.trunc_normal_(convolution.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        norm = nn.BatchNorm2d(channels_out, eps=NORM_EPSILON)
        super().__init__(OrderedDict(convolution=convolution, norm=norm, activation=nn.ReLU(inplace=True)))


class CellModule(nn.Module):
    """One cell: (batch, channels_in, height, width) to (batch, channels_out, height, width).

    A vertex applies its operation to the sum of its inputs: from other vertices the first channels, as many as it has
    itself (`vertex_channels`); from the input its own 1x1 projection (`ConvBnRelu`). The output concatenates the
    vertices that it takes from, in the order of their numbers, and adds a projection of the input if it takes from
    that.
    """

    def __init__(self, cell: Cell, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self._channels = vertex_channels(cell.inputs, channels_in, channels_out)
        self._sources = [members(mask & ~1) for mask in cell.inputs]
        self.operations = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        for vertex, mask in enumerate(cell.inputs):
            width = self._channels[vertex]
            if mask & 1:
                self.projections[str(vertex)] = ConvBnRelu(channels_in, width, 1)
            if 0 < vertex < len(cell.inputs) - 1:
                self.operations[str(vertex)] = _operation(cell.operations[vertex - 1], width)

    def forward(self, features: Tensor) -> Tensor:
        made = [features]
        for vertex in range(1, len(self._channels) - 1):
            summands = [made[source][:, : self._channels[vertex]] for source in self._sources[vertex]]
            made.append(self.operations[str(vertex)](self._total(vertex, summands, features)))
        joined = [made[source] for source in self._sources[-1]]
        return self._total(len(self._channels) - 1, [torch.cat(joined, 1)] if joined else [], features)

    def _total(self, vertex: int, summands: list[Tensor], features: Tensor) -> Tensor:
        """The sum of the summands, and of the projected input of the cell if the vertex takes from it."""
        if str(vertex) in self.projections:
            summands.append(self.projections[str(vertex)](features))
        total = summands[0]
        for other in summands[1:]:
            total = total + other
        return total


class MaxPool3x3(nn.Module):
    """Maximum over 3x3 pixels with stride 1, which keeps height and width."""

    def forward(self, features: Tensor) -> Tensor:
        return functional.max_pool2d(features, 3, stride=1, padding=1)


def _operation(name: str, width: int) -> nn.Module:
    return MaxPool3x3() if name == "maxpool3x3" else ConvBnRelu(width, width, 3 if name == "conv3x3" else 1)
