"""Macro CNNs as one network with the weights of all of them. Imports torch."""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from nasrun.core import Genome, Task
from nasrun.spaces.layers import GlobalAveragePool, normalise_by_batch
from nasrun.spaces.macro_cnn.encoding import POOL


def supernet(convolutions: int, channels: Sequence[int], dense: int, batch_norm: bool, task: Task) -> nn.Module:
    """The network of all architectures with up to a number of convolutions; see `SearchSpace.supernet`."""
    return normalise_by_batch(MacroNetwork(convolutions, channels, dense, batch_norm, task))


def supernet_name(genome: Genome, task: Task) -> Callable[[str], str]:
    """See `SearchSpace.supernet_name`."""
    layers = dict(enumerate(_pairs(genome, task), 1))
    last = next(reversed(layers.values()))[1]
    return lambda name: re.sub(
        r"^layer(\d+)\.", lambda layer: f"layers.{_layer_name(int(layer[1]), *layers[int(layer[1])])}.", name
    ).replace("dense.", f"dense.{last}.", 1)


class MacroNetwork(nn.Module):
    """Macro CNN with shared weights: for the first, second, ... convolution one for each pair of channels in and out.

    Architectures share a convolution if it has the same number and the same channels; poolings have no weights.
    """

    def __init__(self, convolutions: int, channels: Sequence[int], dense: int, batch_norm: bool, task: Task) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {}
        for number in range(1, convolutions + 1):
            for before in channels if number > 1 else [task.channels]:
                for after in channels:
                    parts: OrderedDict[str, nn.Module] = OrderedDict()
                    parts["convolution"] = nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm)
                    if batch_norm:
                        parts["norm"] = nn.BatchNorm2d(after)
                    parts["activation"] = nn.ReLU()
                    layers[_layer_name(number, before, after)] = nn.Sequential(parts)
        self.layers = nn.ModuleDict(layers)
        self.pool = GlobalAveragePool()
        self.dense = nn.ModuleDict({str(last): nn.Linear(last, dense) for last in channels})
        self.output = nn.Linear(dense, task.outputs)
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
