"""NAS-Bench-201 as one network with the weights of all cells. Imports torch."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.core import Genome, Task
from nasrun.spaces.layers import normalise_by_batch
from nasrun.spaces.nasbench201.encoding import EDGES, STAGES
from nasrun.spaces.nasbench201.network import OUTPUT, ReluConvNorm, network


def supernet(channels: int, cells: int, task: Task) -> nn.Module:
    """The network of all cells: `channels` in the first stage, `cells` in each; see `SearchSpace.supernet`."""
    return normalise_by_batch(NASBench201Network(channels, cells, task))


def supernet_name(genome: Genome) -> Callable[[str], str]:
    """See `SearchSpace.supernet_name`."""
    operations = {f"{target}_{source}": name for (target, source), name in zip(EDGES, genome, strict=True)}
    return lambda name: re.sub(r"operations\.(\d_\d)\.", lambda edge: f"{edge[0]}{operations[edge[1]]}.", name, count=1)


class NASBench201Network(nn.Module):
    """NAS-Bench-201: on each edge of each cell a convolution of either size, as far as the space has them."""

    def __init__(self, width: int, cells: int, task: Task) -> None:
        super().__init__()
        own = network([], task.channels, task.outputs, channels=width, stages=STAGES, cells=cells)
        for name, part in own.named_children():
            _, cell, _ = name.partition("_cell")
            channels = width * 2 ** (int(name[5]) - 1) if cell else 0
            self.add_module(name, _SharedCell(channels) if cell else part)

    def forward(self, images: Tensor, genome: Genome) -> Tensor:
        """Logits of images under one architecture."""
        features = images
        for part in self.children():
            features = part(features, genome) if isinstance(part, _SharedCell) else part(features)
        return features


class _SharedCell(nn.Module):
    """A cell with all convolutions that its edges may have."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
        self.operations = nn.ModuleDict(
            {
                f"{target}_{source}": nn.ModuleDict(
                    {name: ReluConvNorm(channels, channels, kernel) for name, kernel in kernels.items()}
                )
                for target, source in EDGES
            }
        )

    def forward(self, features: Tensor, genome: Genome) -> Tensor:
        nodes: dict[int, Tensor] = {0: features}  # a node that is not in it is zero
        for (target, source), operation in zip(EDGES, genome, strict=True):
            value = nodes.get(source)
            if operation == "none" or (value is None and not str(operation).startswith("nor_conv")):
                continue
            if str(operation).startswith("nor_conv"):
                convolutions: Mapping[str, nn.Module] = self.operations[f"{target}_{source}"]  # type: ignore[assignment]
                value = convolutions[str(operation)](value if value is not None else torch.zeros_like(features))
            elif operation == "avg_pool_3x3":
                assert value is not None
                value = functional.avg_pool2d(value, 3, stride=1, padding=1, count_include_pad=False)
            assert value is not None
            nodes[target] = nodes[target] + value if target in nodes else value
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(features)
