"""Transfers the weights of one network of `staged_cnn` to a larger one that computes the same. Imports torch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nasrun.core import Genome, Morphing
from nasrun.spaces.morphisms import Transfer, silence
from nasrun.spaces.staged_cnn.genome import network_of
from nasrun.spaces.staged_cnn.network import Residual, Skip, SqueezeExcite


def transfer(
    parent: Genome, child: Genome, origins: Sequence[int | None], weights: Mapping[str, Tensor], network: nn.Module
) -> Morphing:
    """Copy a parent's weights into the network of its child, by the descents of its stages; see `SearchSpace.morph`."""
    move = Transfer(network, weights)
    ours, theirs = network_of(parent), network_of(child)
    move.take("stem", "stem")
    channels = ours.stem_width  # of the parent's output, the first ones of the child's
    for number, (stage, origin) in enumerate(zip(theirs.stages, origins, strict=True), start=1):
        source = None if origin is None else ours.stages[origin]
        channels = channels if source is None else source.width
        for place in range(1, stage.repeats + 1):
            block = network.get_submodule(f"stage{number}_block{place}")
            if source is None or origin is None or place > source.repeats:
                _pass_on(move, block, channels)
                continue
            before = f"stage{origin + 1}_block{place}"
            move.take(f"stage{number}_block{place}", before)
            if isinstance(block, Residual) and f"{before}.shortcut.convolution.weight" not in weights:
                _pass_shortcut(move, block, channels)
            if stage.squeeze > source.squeeze:
                _open_gates(block)
    move.take("output", "output")
    return Morphing(move.inherited, tuple(move.passing))


def _pass_on(move: Transfer, block: nn.Module, channels: int) -> None:
    """Make a block of stride 1 pass the first channels of its input on: by its shortcut, or through its layers."""
    if isinstance(block, Residual):
        silence(block.get_submodule("body.norm2"))
        _pass_shortcut(move, block, channels)
    elif isinstance(block, Skip):
        silence(block.get_submodule("body.project_norm"))
    else:
        layers = dict(block.named_children())
        if "depthwise" in layers:
            move.pass_on(layers["depthwise"], layers["depthwise_norm"], channels)
        move.pass_on(layers["pointwise" if "depthwise" in layers else "convolution"], layers["norm"], channels)


def _pass_shortcut(move: Transfer, block: Residual, channels: int) -> None:
    """Make the shortcut pass the first channels on, if it does not already."""
    layers = dict(block.shortcut.named_children())
    if "convolution" in layers:
        move.pass_on(layers["convolution"], layers["norm"], channels)


@torch.no_grad()
def _open_gates(block: nn.Module) -> None:
    """Make a new squeeze-and-excite halve all channels, and the convolution after it double them again."""
    body = block.body if isinstance(block, Skip) else block
    gates, project = body.get_submodule("squeeze_excite"), body.get_submodule("project")
    assert isinstance(gates, SqueezeExcite)
    assert isinstance(project, nn.Conv2d)
    for tensor in gates.excite.parameters():
        tensor.zero_()
    project.weight *= 2
