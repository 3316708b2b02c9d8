"""One network with the weights of all architectures of a space; each architecture uses a part. Imports torch.

Source: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019 (arXiv 1903.05134):
the first channels of each layer; Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient
Deployment", ICLR 2020 (arXiv 1908.09791), section 3.3: the first blocks of a stage, the centre of a kernel. Kernels are
cropped without the matrices by which Once-for-All transforms them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nasrun.core import Genome
from nasrun.core.outlines import outlined
from nasrun.spaces.layers import normalise_by_batch

KEPT = 64
"""Number of cached outlines of architectures, because some are trained or scored again and again."""


def part_of(shared: Tensor, shape: Sequence[int]) -> Tensor:
    """The part of a shared weight that an architecture uses: the first entries of the first two dimensions (channels or
    units), the centre of the others (a kernel). A view; the weight itself if the shapes are equal."""
    for dimension, (length, wanted) in enumerate(zip(shared.shape, shape, strict=True)):
        if length != wanted:
            start = (length - wanted) // 2 if dimension > 1 else 0
            shared = shared.narrow(dimension, start, wanted)
    return shared


class ElasticNetwork(nn.Module):
    """Computes any architecture whose weights are parts of the shared ones.

    `build`: the network of a single architecture; `names`: maps the name of each of its parameters to that of the
    shared one. `corners`: architectures that together use all of every shared weight, which is as large in each
    dimension as in the largest of them. Weights are He normal by fan-in, scales 1, offsets 0, the last layer as torch's
    own default, from torch's global generator.
    """

    def __init__(
        self,
        corners: Iterable[Genome],
        build: Callable[[Genome], nn.Module],
        names: Callable[[Genome], Callable[[str], str]],
    ) -> None:
        super().__init__()
        self._build, self._names = build, names
        self._outline = lru_cache(KEPT)(self._new_outline)
        for name, shape in self._shapes(corners).items():
            _put(self, name, _initial(name, shape))

    def _shapes(self, corners: Iterable[Genome]) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for genome in corners:
            network, shared = self._new_outline(genome)
            for name, parameter in network.named_parameters():
                shape = tuple(parameter.shape)
                known = found.get(shared[name], shape)
                found[shared[name]] = tuple(map(max, shape, known))
        return found

    def _new_outline(self, genome: Genome) -> tuple[nn.Module, dict[str, str]]:
        """The network of an architecture without values, and the shared name of each of its parameters."""
        with outlined():
            network = normalise_by_batch(self._build(genome))
        name_of = self._names(genome)
        return network, {name: name_of(name) for name, _ in network.named_parameters()}

    def forward(self, images: Tensor, genome: Genome) -> Tensor:
        """Logits of images under one architecture, normalised by the current batch."""
        network, shared = self._outline(genome)
        weights = {
            name: part_of(self.get_parameter(shared[name]), parameter.shape)
            for name, parameter in network.named_parameters()
        }
        result: Tensor = functional_call(network, weights, (images,))
        return result


def _put(root: nn.Module, name: str, weight: nn.Parameter) -> None:
    """Register a parameter by a name with dots."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.register_parameter(last, weight)


def _initial(name: str, shape: tuple[int, ...]) -> nn.Parameter:
    """A new weight of a convolution (four dimensions) or of a dense layer (two), a scale or an offset."""
    weight = torch.empty(shape)
    if len(shape) == 4:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    elif len(shape) == 2:
        nn.init.kaiming_uniform_(weight, a=5**0.5)
    else:
        nn.init.constant_(weight, float(name.endswith("weight")))
    return nn.Parameter(weight)
