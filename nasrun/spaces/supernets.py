"""Networks that hold the weights of all architectures of a space, and compute one. Imports torch.

Each takes images and a genome, and computes what `build` of its space would make of that genome, normalised by the
batch at hand: running statistics would be an average over different networks.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.core import Genome, SearchSpace, Task
from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.macro_cnn import POOL, MacroCNN
from nasrun.spaces.micro_cell.network import MicroNetwork
from nasrun.spaces.micro_cell.space import MicroCell
from nasrun.spaces.nasbench201.network import OUTPUT, ReluConvNorm, network
from nasrun.spaces.nasbench201.space import EDGES, STAGES, NASBench201


def shared_network(space: SearchSpace, task: Task) -> nn.Module:
    """The network of all architectures of a space; TypeError where there is none.

    Initial weights, from torch's global generator: He normal by fan-in, dense layers as torch's own default.
    """
    if isinstance(space, MicroCell):
        return MicroNetwork(space, task)
    if isinstance(space, NASBench201):
        return _prepared(NASBench201Network(space, task))
    if isinstance(space, MacroCNN):
        return _prepared(MacroNetwork(space, task))
    raise TypeError(f"{type(space).__name__} has no network of all its architectures")


def shared_name(space: SearchSpace, genome: Genome, task: Task) -> Callable[[str], str]:
    """For the parameters of a genome's own network, by name: the name of the same in the shared one."""
    if isinstance(space, NASBench201):
        operations = {f"{target}_{source}": name for (target, source), name in zip(EDGES, genome, strict=True)}
        return lambda name: re.sub(
            r"operations\.(\d_\d)\.", lambda edge: f"{edge[0]}{operations[edge[1]]}.", name, count=1
        )
    if isinstance(space, MacroCNN):
        layers = dict(enumerate(_pairs(genome, task), 1))
        last = next(reversed(layers.values()))[1]
        return lambda name: re.sub(
            r"^layer(\d+)\.", lambda layer: f"layers.{_layer_name(int(layer[1]), *layers[int(layer[1])])}.", name
        ).replace("dense.", f"dense.{last}.", 1)
    return lambda name: name


class NASBench201Network(nn.Module):
    """NAS-Bench-201: on each edge of each cell a convolution of either size, as far as the space has them."""

    def __init__(self, space: NASBench201, task: Task) -> None:
        super().__init__()
        own = network([], task.channels, task.outputs, channels=space.channels, stages=STAGES, cells=space.cells)
        for name, part in own.named_children():
            _, cell, _ = name.partition("_cell")
            channels = space.channels * 2 ** (int(name[5]) - 1) if cell else 0
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


class MacroNetwork(nn.Module):
    """Macro CNN: for the first, second, ... convolution one for each pair of channels in and out.

    Architectures share a convolution where it has the same number and the same channels; poolings have no weights.
    """

    def __init__(self, space: MacroCNN, task: Task) -> None:
        super().__init__()
        deepest = max(int(depth) for depth in space.choices(()))
        channels = [int(token) for token in space.choices((deepest,)) if token != POOL]
        layers: dict[str, nn.Module] = {}
        for number in range(1, deepest + 1):
            for before in channels if number > 1 else [task.channels]:
                for after in channels:
                    parts: OrderedDict[str, nn.Module] = OrderedDict()
                    parts["convolution"] = nn.Conv2d(before, after, 3, padding=1, bias=not space.batch_norm)
                    if space.batch_norm:
                        parts["norm"] = nn.BatchNorm2d(after)
                    parts["activation"] = nn.ReLU()
                    layers[_layer_name(number, before, after)] = nn.Sequential(parts)
        self.layers = nn.ModuleDict(layers)
        self.pool = GlobalAveragePool()
        self.dense = nn.ModuleDict({str(last): nn.Linear(last, space.dense) for last in channels})
        self.output = nn.Linear(space.dense, task.outputs)
        self._inputs = task

    def forward(self, images: Tensor, genome: Genome) -> Tensor:
        """Logits of images under one architecture."""
        features, number, last = images, 0, self._inputs.channels
        for layer in genome[1:]:
            if layer == POOL:
                features = functional.max_pool2d(features, 2, ceil_mode=True)
            else:
                number += 1
                features = self.layers[_layer_name(number, last, int(layer))](features)
                last = int(layer)
        hidden = functional.relu(self.dense[str(last)](self.pool(features).flatten(1)))
        result: Tensor = self.output(hidden)
        return result


def _layer_name(number: int, before: int, after: int) -> str:
    return f"{number}_{before}_{after}"


def _pairs(genome: Genome, task: Task) -> list[tuple[int, int]]:
    """Channels in and out of each convolution of a macro CNN."""
    after = [int(layer) for layer in genome[1:] if layer != POOL]
    return list(zip([task.channels, *after[:-1]], after, strict=True))


def _prepared(model: nn.Module) -> nn.Module:
    """The model with He initial weights and normalisation by the batch."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return model
