"""NAS-Bench-201 as one network with the weights of all cells. Imports torch."""

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.core import Genome, Task
from nasrun.spaces.layers import normalise_by_batch, partly
from nasrun.spaces.mixture import Mixture, Term, mixture_of
from nasrun.spaces.nasbench201.encoding import EDGES, STAGES
from nasrun.spaces.nasbench201.network import OUTPUT, ReluConvNorm, network


def supernet(channels: int, cells: int, task: Task, partial: int = 1) -> nn.Module:
    """The network of all cells: `channels` in the first stage, `cells` in each; see `SearchSpace.supernet` and
    `SearchSpace.relaxed`."""
    return normalise_by_batch(NASBench201Network(channels, cells, task, partial))


def supernet_name(genome: Genome) -> Callable[[str], str]:
    """See `SearchSpace.supernet_name`."""
    operations = {f"{target}_{source}": name for (target, source), name in zip(EDGES, genome, strict=True)}
    return lambda name: re.sub(r"operations\.(\d_\d)\.", lambda edge: f"{edge[0]}{operations[edge[1]]}.", name, count=1)


class NASBench201Network(nn.Module):
    """NAS-Bench-201 with shared weights: each edge of each cell has a convolution of either size, if the space has
    them.

    `partial`: operations get one in `partial` channels.
    """

    def __init__(self, width: int, cells: int, task: Task, partial: int = 1) -> None:
        super().__init__()
        own = network([], task.channels, task.outputs, channels=width, stages=STAGES, cells=cells)
        for name, part in own.named_children():
            _, cell, _ = name.partition("_cell")
            channels = width * 2 ** (int(name[5]) - 1) if cell else 0
            self.add_module(name, _SharedCell(channels, partial) if cell else part)

    def forward(self, images: Tensor, architecture: Genome | Mixture) -> Tensor:
        """Logits of images under one architecture, or a mixture of all."""
        features, mixture = images, mixture_of(architecture)
        for part in self.children():
            features = part(features, mixture) if isinstance(part, _SharedCell) else part(features)
        return features

    def candidates(self) -> Iterator[nn.Module]:
        """The candidate operations of the edges."""
        return (part.operations for part in self.children() if isinstance(part, _SharedCell))


class _SharedCell(nn.Module):
    """A cell with all convolutions that its edges may have."""

    def __init__(self, channels: int, partial: int) -> None:
        super().__init__()
        self._partial = partial
        kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
        width = channels // partial
        self.operations = nn.ModuleDict(
            {
                f"{target}_{source}": nn.ModuleDict(
                    {name: ReluConvNorm(width, width, kernel) for name, kernel in kernels.items()}
                )
                for target, source in EDGES
            }
        )

    def forward(self, features: Tensor, mixture: Mixture) -> Tensor:
        nodes: dict[int, Tensor] = {0: features}  # missing nodes are zero
        for position, (target, source) in enumerate(EDGES):
            value = self._edge(position, nodes.get(source), features, mixture)
            if value is not None:
                nodes[target] = nodes[target] + value if target in nodes else value
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(features)

    def _edge(self, position: int, source: Tensor | None, features: Tensor, mixture: Mixture) -> Tensor | None:
        """The value that an edge adds to its target; None if it is zero. `source`: None if it is zero."""
        target, origin = EDGES[position]
        convolutions: Mapping[str, nn.Module] = self.operations[f"{target}_{origin}"]  # type: ignore[assignment]

        def mixed(value: Tensor | None) -> Tensor | None:
            total: Tensor | None = None
            for term in mixture.at(position):
                result = _operation(term, value, features, convolutions)
                if result is not None:
                    result = term.times(mixture.dropped(term.token, result))
                    total = result if total is None else total + result
            return total

        # With partial channels no node is zero: some channels bypass each operation.
        value = mixed(source) if source is None or self._partial == 1 else partly(mixed, source, self._partial)
        return None if value is None else mixture.edge(position, value)


def _operation(
    term: Term, value: Tensor | None, features: Tensor, convolutions: Mapping[str, nn.Module]
) -> Tensor | None:
    """The result of an operation, None if it is zero; a `value` of None is zero in the shape of `features`."""
    name = str(term.token)
    if name == "none" or (value is None and name not in convolutions):
        return None
    if name in convolutions:
        result: Tensor = convolutions[name](value if value is not None else torch.zeros_like(features))
        return result
    assert value is not None
    if name == "avg_pool_3x3":
        return functional.avg_pool2d(value, 3, stride=1, padding=1, count_include_pad=False)
    return value
