"""The networks of `MicroCell` in torch, of one architecture or of all. Only `build` imports this module: it imports
torch.

Source: Pham et al. 2018 (arXiv 1802.03268), section 2.4 and figure 3; choices that the paper leaves open are described
below.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasrun.core import Genome, Task
from nasrun.spaces.layers import GlobalAveragePool, partly
from nasrun.spaces.micro_cell.encoding import (
    DILATED,
    FACTORISED,
    KERNELS,
    TOKENS,
    Place,
    blocks_of,
    loose_ends,
)
from nasrun.spaces.mixture import Mixture, Term, mixture_of

if TYPE_CHECKING:
    from nasrun.spaces.micro_cell.space import MicroCell


class MicroNetwork(nn.Module):
    """Stem, cells, relu, global average pooling, a dense layer: float (batch, C, H, W) to (batch, outputs).

    With a `genome` it holds the operations of that architecture; without one those of all architectures, and `forward`
    takes the one to compute. A parameter has the same name in both, so that the weights of an architecture are a
    selection of the shared ones. Shared networks normalise by the current batch and keep no running statistics, which
    would be an average over different networks. They also take a mixture in place of a genome; with `partial`, their
    operations get one in `partial` channels.

    The stem is a 3x3 convolution, normalised. Initial weights, from torch's global generator: He normal by fan-in (He
    et al. 2015, "Delving Deep into Rectifiers", section 2.2), the dense layer as torch's own default.
    """

    def __init__(self, space: "MicroCell", task: Task, genome: Genome | None = None, partial: int = 1) -> None:
        super().__init__()
        self._space = space
        shared = genome is None
        own = None if genome is None else Mixture.of(genome)
        self.stem = nn.Conv2d(task.channels, space.stem_channels, 3, padding=1, bias=False)
        self.stem_norm = _norm(space.stem_channels, shared)
        cells = self._cells(genome)
        places = space.places(task)
        self.cells = nn.ModuleList(
            [Cell(space, place, cells[place.kind] if cells else None, partial, own) for place in places]
        )
        self.pool = GlobalAveragePool()
        self.output = nn.Linear(places[-1].channels, task.outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def _cells(self, genome: Genome | None) -> dict[str, Genome]:
        return dict(zip(self._space.cell_kinds, self._space.cells(genome), strict=True)) if genome is not None else {}

    def forward(self, images: Tensor, architecture: Genome | Mixture | None = None) -> Tensor:
        """Logits of images. `architecture`: the one to compute, or a mixture of all, in a network that holds all of
        them."""
        # A network of one architecture is traced for its Python source, which must not contain a mixture.
        told = () if architecture is None else (mixture_of(architecture),)
        before = last = kept = self.stem_norm(self.stem(images))
        for cell in self.cells:
            outputs = cell(before, last, *told)
            last, after = outputs.chunk(2, 1) if cell.norm_after is not None else (outputs, outputs)
            before, kept = kept, after
        result: Tensor = self.output(self.pool(functional.relu(last)).flatten(1))
        return result

    def candidates(self) -> Iterator[nn.Module]:
        """The candidate operations of the halves of blocks."""
        return (cell.operations for cell in self.cells)  # type: ignore[misc]


class Cell(nn.Module):
    """One cell: computes its output from the outputs of the two cells before it, float (batch, channels, height,
    width).

    If the space joins unused blocks separately for each of the two following cells (`join`), the output has twice the
    channels: those for the next cell, then those for the one after that.

    With `tokens` it holds the operations of one architecture, without them all possible ones: in each block, on each
    side, a separate convolution for each input, as in ENAS. `own`: what is computed if `forward` gets no mixture.
    """

    def __init__(
        self, space: "MicroCell", place: Place, tokens: Genome | None, partial: int, own: Mixture | None
    ) -> None:
        super().__init__()
        self._own = own
        shared, channels = tokens is None, place.channels
        self._blocks, self._partial = space.blocks, partial
        self._start = TOKENS * space.blocks * space.cell_kinds.index(place.kind)
        self.fits = nn.ModuleList([_fit(*given, channels, shared) for given in place.inputs])
        wanted = _convolutions(tokens) if tokens is not None else _all_convolutions(space)
        self.operations = nn.ModuleDict(
            {name: _convolution(channels // partial, operation, space.separable, shared) for name, operation in wanted}
        )
        nodes = loose_ends(tokens) if tokens is not None else range(2 + space.blocks)
        self.joins = _joins(nodes, channels)
        self.norm = _norm(channels, shared)
        self.joins_after = _joins(nodes, channels) if place.outputs == 2 else None
        self.norm_after = _norm(channels, shared) if place.outputs == 2 else None

    def forward(self, before: Tensor, last: Tensor, told: Mixture | None = None) -> Tensor:
        mixture = told or self._own
        assert mixture is not None, "a network of all architectures needs the one to compute"
        nodes = [self.fits[0](before), self.fits[1](last)]
        for block in range(self._blocks):
            left = self._half(block, 0, nodes, mixture)
            nodes.append(left + self._half(block, 1, nodes, mixture))
        ends = [end for node in range(len(nodes)) if (end := self.loose_end(node, mixture)) is not None]
        joined = functional.relu(torch.cat([nodes[int(end.token)] for end in ends], 1))
        result: Tensor = self.norm(_joined(joined, ends, self.joins))
        if self.joins_after is None or self.norm_after is None:
            return result
        return torch.cat((result, self.norm_after(_joined(joined, ends, self.joins_after))), 1)

    def _half(self, block: int, side: int, nodes: list[Tensor], mixture: Mixture) -> Tensor:
        """One side of a block: the sum over its inputs of the sum of its operations on them."""
        source = self._start + TOKENS * block + side
        total: Tensor | None = None
        for given in mixture.at(source):

            def mixed(features: Tensor, node: int = int(given.token)) -> Tensor:
                value: Tensor | None = None
                for term in mixture.at(source + 2):
                    result = self._operation(block, side, node, str(term.token), features)
                    result = term.times(mixture.dropped(term.token, result))
                    value = result if value is None else value + result
                assert value is not None
                return value

            features = nodes[int(given.token)]
            value = given.times(mixed(features) if self._partial == 1 else partly(mixed, features, self._partial))
            total = value if total is None else total + value
        assert total is not None
        return total

    def loose_end(self, node: int, mixture: Mixture) -> Term | None:
        """A node among what the cell's output is made of, weighted by how far no block uses it; None where one does.

        The weight is the product over all inputs of blocks of the weight that they give to other nodes: 1 or 0 for a
        single architecture, as `loose_ends` says.
        """
        weight: Tensor | None = None
        for block in range(max(0, node - 1), self._blocks):
            for side in range(2):
                inputs = list(mixture.at(self._start + TOKENS * block + side))
                used = next((term for term in inputs if term.token == node), None)
                if used is not None and len(inputs) == 1:
                    return None
                if used is not None and used.weight is not None:
                    weight = 1 - used.weight if weight is None else weight * (1 - used.weight)
        return Term(node, weight)

    def _operation(self, block: int, side: int, node: int, operation: str, features: Tensor) -> Tensor:
        if operation == "identity":
            return features
        if operation == "avg3":
            return functional.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
        if operation == "max3":
            return functional.max_pool2d(features, 3, stride=1, padding=1)
        result: Tensor = self.operations[_name(block, side, node, operation)](features)
        return result


def _joins(nodes: Iterable[int], channels: int) -> nn.ModuleDict:
    """For each node its part of a 1x1 convolution."""
    return nn.ModuleDict({str(node): nn.Conv2d(channels, channels, 1, bias=False) for node in nodes})


def _joined(joined: Tensor, ends: list[Term], joins: nn.ModuleDict) -> Tensor:
    """One convolution of all loose ends together; its weights are stored by node, because other cells lack some."""
    weight = torch.cat([end.times(joins[str(end.token)].weight) for end in ends], 1)  # type: ignore[arg-type]
    return functional.conv2d(joined, weight)


class Halve(nn.Module):
    """Halves height and width, rounded up: relu, two 1x1 convolutions of stride 2, one of them shifted by a pixel,
    whose channels are concatenated, then normalisation (ENAS's factorised reduction)."""

    def __init__(self, inputs: int, channels: int, shared: bool) -> None:
        super().__init__()
        # Stride 1 on every second pixel: see `convolutional_network`.
        self.even = nn.Conv2d(inputs, channels // 2, 1, bias=False) if channels > 1 else None
        self.odd = nn.Conv2d(inputs, channels - channels // 2, 1, bias=False)
        self.norm = _norm(channels, shared)

    def forward(self, features: Tensor) -> Tensor:
        features = functional.relu(features)
        halves = [self.odd(functional.max_pool2d(functional.pad(features, (0, 1, 0, 1))[:, :, 1:, 1:], 1, 2))]
        if self.even is not None:
            halves.insert(0, self.even(functional.max_pool2d(features, 1, 2)))
        result: Tensor = self.norm(torch.cat(halves, 1))
        return result


def _fit(inputs: int, halvings: int, channels: int, shared: bool) -> nn.Module:
    """Adapts an input of a cell to the channels and the size of the cell; the identity if it already has them."""
    if halvings:
        return nn.Sequential(*(Halve(channels if step else inputs, channels, shared) for step in range(halvings)))
    if inputs == channels:
        return nn.Identity()
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, channels, 1, bias=False), _norm(channels, shared))


def _convolution(channels: int, operation: str, separable: bool, shared: bool) -> nn.Sequential:
    """relu, convolution, normalisation; separable ones (depthwise, then 1x1) twice; a row and a column one each."""
    size, dilation = KERNELS[operation], 2 if operation == DILATED else 1
    kernels = [(1, size), (size, 1)] if operation == FACTORISED else [(size, size)] * (2 if separable else 1)
    apart = separable and operation != FACTORISED
    parts: list[nn.Module] = []
    for kernel in kernels:
        padding = tuple(dilation * (side // 2) for side in kernel)
        groups = channels if apart else 1
        convolution = nn.Conv2d(channels, channels, kernel, 1, padding, dilation, groups, bias=False)  # type: ignore[arg-type]
        parts += [nn.ReLU(), convolution]
        if apart:
            parts.append(nn.Conv2d(channels, channels, 1, bias=False))
        parts.append(_norm(channels, shared))
    return nn.Sequential(*parts)


def _norm(channels: int, shared: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=not shared)


def _name(block: int, side: int, node: int, operation: str) -> str:
    return f"{block}_{side}_{node}_{operation}"


def _convolutions(tokens: Genome) -> Iterable[tuple[str, str]]:
    """Name and operation of each convolution of a cell."""
    for block, (one, two, first, second) in enumerate(blocks_of(tokens)):
        for side, (node, operation) in enumerate(((one, first), (two, second))):
            if operation in KERNELS:
                yield _name(block, side, int(node), str(operation)), str(operation)


def _all_convolutions(space: "MicroCell") -> Iterable[tuple[str, str]]:
    """Name and operation of each convolution that a cell may have."""
    for block in range(space.blocks):
        for side in range(2):
            for node in range(block + 2):
                for operation in space.operations:
                    if operation in KERNELS:
                        yield _name(block, side, node, operation), operation
