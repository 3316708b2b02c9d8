"""The networks of NAS-Bench-201 in torch. Only `build` imports this module, because it imports torch.

Source: Dong and Yang 2020 (arXiv 2001.00326), section 2.1 and figure 1; details that the paper leaves open follow the
project D-X-Y/AutoDL-Projects, its `cell_infers` and `cell_operations`.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.spaces.layers import GlobalAveragePool

Edge = tuple[int, int, str]
"""Target node, source node, operation."""

OUTPUT = 3  # the node of a cell that is its output


def network(
    edges: Sequence[Edge], inputs: int, outputs: int, *, channels: int, stages: int, cells: int
) -> nn.Sequential:
    """Stem, `stages` times `cells` copies of the cell, normalisation, relu, global average pooling, a dense layer.

    The stem is a 3x3 convolution to `channels`, normalised. Between stages a residual block (`Reduction`) doubles the
    channels. Input float (batch, inputs, height, width) with any height and width, output (batch, outputs). Parts are
    named by their position: `stem`, `stage1_cell1`, ..., `reduction2`, ..., `norm`, `output`. Initial weights are
    torch's defaults, as in the benchmark, from torch's global generator.
    """
    stem = OrderedDict(convolution=nn.Conv2d(inputs, channels, 3, padding=1, bias=False), norm=nn.BatchNorm2d(channels))
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
    for stage in range(1, stages + 1):
        if stage > 1:
            parts[f"reduction{stage}"] = Reduction(channels)
            channels *= 2
        for number in range(1, cells + 1):
            parts[f"stage{stage}_cell{number}"] = Cell(edges, channels)
    parts["norm"] = nn.BatchNorm2d(channels)
    parts["activation"] = nn.ReLU()
    parts["pool"] = GlobalAveragePool()
    parts["flatten"] = nn.Flatten()
    parts["output"] = nn.Linear(channels, outputs)
    return nn.Sequential(parts)


class Cell(nn.Module):
    """One cell: float (batch, channels, height, width) to the same shape.

    A node is the sum of its incoming edges, zero if all of them are `none`. As in the benchmark, convolutions whose
    output is not used exist and are computed too.
    """

    def __init__(self, edges: Sequence[Edge], channels: int) -> None:
        super().__init__()
        self._edges = [edge for edge in edges if edge[2] != "none"]
        self.operations = nn.ModuleDict(
            {
                f"{target}_{source}": ReluConvNorm(channels, channels, 3 if operation == "nor_conv_3x3" else 1)
                for target, source, operation in self._edges
                if operation.startswith("nor_conv")
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        nodes: dict[int, Tensor] = {0: features}  # missing nodes are zero
        for target, source, operation in self._edges:
            if operation.startswith("nor_conv"):
                value = nodes[source] if source in nodes else torch.zeros_like(features)
                value = self.operations[f"{target}_{source}"](value)
            elif source not in nodes:
                continue
            elif operation == "skip_connect":
                value = nodes[source]
            else:
                value = functional.avg_pool2d(nodes[source], 3, stride=1, padding=1, count_include_pad=False)
            nodes[target] = nodes[target] + value if target in nodes else value
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(features)


class ReluConvNorm(nn.Sequential):
    """relu, convolution without bias, batch normalisation; with stride 2 height and width are halved, rounded up."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            OrderedDict(
                activation=nn.ReLU(),
                convolution=nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
                norm=nn.BatchNorm2d(channels_out),
            )
        )


class Reduction(nn.Module):
    """The residual block between stages: doubles the channels, halves height and width, rounded up.

    Two 3x3 convolutions, the first with stride 2; beside them, 2x2 average pooling and a 1x1 convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(channels, 2 * channels, 3, stride=2)
        self.second = ReluConvNorm(2 * channels, 2 * channels, 3)
        self.pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(self.pool(features))
        convolved: Tensor = self.second(self.first(features))
        return shortcut + convolved
