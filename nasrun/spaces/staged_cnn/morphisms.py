"""Which networks of `staged_cnn` can take over the function of another, without torch; `transfer.py` does it."""

from nasrun.core import Genome
from nasrun.spaces.descent import aligned
from nasrun.spaces.staged_cnn.genome import EXPANDING, Network, Stage, network_of

POSITIVE = ("bb", "ds", "cn")
"""Blocks that end in the activation, of which relu changes nothing when it comes twice."""


def descents(parent: Genome, child: Genome) -> list[int | None] | None:
    """For each stage of a child its stage in the parent, from 0 (None: a new one, which passes its input on); None
    where its network cannot compute what its parent's does.

    It can where nothing is smaller, other or elsewhere than in the parent, and
    - further blocks, and stages that are new, can pass their input on: those with a shortcut round them (`ir`, `er`),
      or those of relu behind which no value is below zero (`bb`, `ds`, `cn`), all of them with stride 1;
    - shortcuts stay: `ir` and `er` have one exactly where their parent has one, `bb` has no plain one where its parent
      has a convolution in it;
    - a `cn` of kernel 1 that strides keeps that kernel, as it averages the pixels before it.
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
    """The channels that a stage takes in."""
    return network.stages[place - 1].width if place else network.stem_width


def _grown(ours: Network, source: int, stage: Stage, taken: int) -> bool:
    """Whether a stage that takes in so many channels can compute what one of the parent's does."""
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
    """Whether a new stage, which takes in so many channels, can pass on what the parent gives before a stage."""
    if stage.stride > 1:
        return False
    if stage.block in EXPANDING:
        return taken == stage.width
    positive = source == 0 or ours.stages[source - 1].block in POSITIVE  # the stem ends in the activation
    return positive and ours.activation == "relu" and stage.width >= width_before(ours, source)
