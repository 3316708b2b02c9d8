"""Which networks of `staged_cnn` can take over the function of another, without torch; `transfer.py` copies the
weights."""

from nasrun.core import Genome
from nasrun.spaces.descent import aligned
from nasrun.spaces.staged_cnn.genome import EXPANDING, Network, Stage, network_of

POSITIVE = ("bb", "ds", "cn")
"""Blocks that end in the activation; a second relu after them changes nothing."""


def descents(parent: Genome, child: Genome) -> list[int | None] | None:
    """For each stage of a child its stage in the parent, from 0 (None: a new one, which passes its input on); None if
    the child's network cannot compute its parent's function.

    It can if nothing is smaller, different or in another position than in the parent, and

    - further blocks, and new stages, can pass their input on: those with a shortcut around them (`ir`, `er`), or those
      with relu after which no value is negative (`bb`, `ds`, `cn`), all of them with stride 1;
    - shortcuts stay: `ir` and `er` have one exactly where their parent has one, `bb` has no plain one where its
      parent's has a convolution;
    - a strided `cn` of kernel 1 keeps that kernel, because it averages the pixels first.
    """
    ours, theirs = network_of(parent), network_of(child)
    if (
        (ours.activation, ours.stem_stride) != (theirs.activation, theirs.stem_stride)
        or ours.stem_kernel > theirs.stem_kernel
        or ours.stem_width > theirs.stem_width
    ):
        return None
    return aligned(
        len(ours.stages),
        len(theirs.stages),
        lambda source, place: _grown(ours, source, theirs.stages[place], width_before(theirs, place)),
        lambda source, place: _passes(ours, source, theirs.stages[place], width_before(theirs, place)),
    )


def width_before(network: Network, place: int) -> int:
    """The input channels of a stage."""
    return network.stages[place - 1].width if place else network.stem_width


def _grown(ours: Network, source: int, stage: Stage, taken: int) -> bool:
    """Whether a stage with a number of input channels can compute the function of one of the parent's."""
    parent, given = ours.stages[source], width_before(ours, source)
    if (parent.block, parent.stride) != (stage.block, stage.stride) or any(
        getattr(parent, name) > getattr(stage, name) for name in ("repeats", "kernel", "expansion", "width", "squeeze")
    ):
        return False
    if stage.block == "cn" and stage.stride > 1 and parent.kernel == 1 < stage.kernel:
        return False
    plain, was_plain = taken == stage.width, given == parent.width
    if stage.block == "bb" and plain and not was_plain:
        return False
    if stage.block in EXPANDING and stage.stride == 1 and plain != was_plain:
        return False
    deeper = stage.repeats > parent.repeats
    return not deeper or stage.block in EXPANDING or ours.activation == "relu"


def _passes(ours: Network, source: int, stage: Stage, taken: int) -> bool:
    """Whether a new stage with a number of input channels can pass on the parent's input of a stage."""
    if stage.stride > 1:
        return False
    if stage.block in EXPANDING:
        return taken == stage.width
    positive = source == 0 or ours.stages[source - 1].block in POSITIVE  # the stem ends in the activation
    return positive and ours.activation == "relu" and stage.width >= width_before(ours, source)
