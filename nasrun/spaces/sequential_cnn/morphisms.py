"""Which networks of `sequential_cnn` can take over the function of another, and the transfer of the weights.

Only `transfer` imports torch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nasrun.core import Genome, Morphing
from nasrun.spaces.descent import aligned
from nasrun.spaces.sequential_cnn.variation import Layer, split

if TYPE_CHECKING:
    import torch

POSITIVE = ("relu", "sigmoid")
"""Activations without negative values, which relu does not change."""


def descents(parent: Genome, child: Genome) -> list[int | None] | None:
    """For each layer of a child its layer in the parent, from 0 (None: a new one, which passes its input on); None if
    the child's network cannot compute its parent's function.

    It can if layers keep their kind and activation, none is smaller, and new ones are normal ones with relu after
    layers with relu or sigmoid.
    """
    ours, theirs = split(parent), split(child)
    return aligned(
        len(ours),
        len(theirs),
        lambda source, place: _grown(ours[source], theirs[place]),
        lambda source, place: source > 0 and _passes(theirs[place], ours[source - 1]),
    )


def _grown(parent: Layer, layer: Layer) -> bool:
    """Whether a layer can compute the function of one of the parent's."""
    wider = int(parent[1]) <= int(layer[1]) and int(parent[2]) <= int(layer[2])
    return wider and (parent[0], parent[3]) == (layer[0], layer[3])


def _passes(layer: Layer, before: Layer) -> bool:
    """Whether a new layer after one of the parent's can pass on its output."""
    return (layer[0], layer[3]) == ("N", "relu") and before[3] in POSITIVE and int(layer[1]) >= int(before[1])


def transfer(
    parent: Genome, origins: Sequence[int | None], weights: "Mapping[str, torch.Tensor]", network: "torch.nn.Module"
) -> Morphing:
    """Copy a parent's weights into the network of its child, by the descents of its layers; see `SearchSpace.morph`."""
    from nasrun.spaces.morphisms import Transfer

    move, layers, channels = Transfer(network, weights), split(parent), 0
    for number, source in enumerate(origins, start=1):
        if source is None:
            parts = dict(network.get_submodule(f"layer{number}").named_children())
            move.pass_on(parts["convolution"], parts.get("norm"), channels)
        else:
            move.take(f"layer{number}", f"layer{source + 1}")
            channels = int(layers[source][1])
    move.take("dense", "dense")
    move.take("output", "output")
    return Morphing(move.inherited, tuple(move.passing))
