"""The networks of `RandomlyWired` in torch. Only `build` imports this module: it imports torch."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasrun.core import Task
from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.randomly_wired.graphs import Wiring


def network(wirings: Sequence[Wiring], channels: int, task: Task) -> nn.Sequential:
    """A stem of a 3x3 convolution, a stage for each wiring, relu, global average pooling, a dense layer: float (batch,
    C, H, W) to (batch, outputs). The first stage has `channels` channels and keeps the size; each further one halves
    height and width, rounded up, and doubles the channels.

    Initial weights, from torch's global generator: He normal by fan-in (He et al. 2015, section 2.2), weights of edges
    0, so that their sigmoid is 1/2; the dense layer as torch's own default.
    """
    stem = nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(task.channels, channels, 3, padding=1, bias=False), norm=nn.BatchNorm2d(channels)
        )
    )
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    before = channels
    for number, wiring in enumerate(wirings, start=1):
        after = channels << (number - 1)
        parts[f"stage{number}"] = Stage(wiring, before, after, stride=1 if number == 1 else 2)
        before = after
    parts |= {"activation": nn.ReLU(), "pool": GlobalAveragePool(), "flatten": nn.Flatten()}
    parts["output"] = nn.Linear(before, task.outputs)
    model = nn.Sequential(parts)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


class Stage(nn.Module):
    """One random graph: (batch, before, height, width) to (batch, after, height / stride, width / stride).

    A node takes the weighted sum of its sources, each times the sigmoid of a learned weight, through relu, a depthwise
    separable 3x3 convolution and normalisation. Nodes without a source take the input of the stage, and have its
    stride. The output is the mean of the nodes that are no other's source.
    """

    def __init__(self, wiring: Wiring, before: int, after: int, stride: int) -> None:
        super().__init__()
        self._sources, self._ends = wiring.sources, wiring.ends
        self.nodes = nn.ModuleList(
            _node(after, after, 1) if sources else _node(before, after, stride) for sources in wiring.sources
        )
        for node, sources in enumerate(wiring.sources):
            if len(sources) > 1:  # named like a layer's weights, for the network's Python source
                self.register_parameter(f"edges{node}", nn.Parameter(torch.zeros(len(sources))))

    def forward(self, features: Tensor) -> Tensor:
        made: list[Tensor] = []
        for node, module in enumerate(self.nodes):
            made.append(module(self._taken(node, made, features)))
        total = made[self._ends[0]]
        for end in self._ends[1:]:
            total = total + made[end]
        return total if len(self._ends) == 1 else total * (1 / len(self._ends))

    def _taken(self, node: int, made: list[Tensor], features: Tensor) -> Tensor:
        sources = self._sources[node]
        if len(sources) < 2:
            return made[sources[0]] if sources else features
        shares = torch.sigmoid(getattr(self, f"edges{node}"))
        total = made[sources[0]] * shares[0]
        for place, source in enumerate(sources[1:], start=1):
            total = total + made[source] * shares[place]
        return total


def _node(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            activation=nn.ReLU(),
            depthwise=nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False),
            pointwise=nn.Conv2d(before, after, 1, bias=False),
            norm=nn.BatchNorm2d(after),
        )
    )
