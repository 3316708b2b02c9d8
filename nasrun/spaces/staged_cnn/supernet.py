"""The shared weights of the networks of `staged_cnn`, without torch; `nasrun.spaces.elastic` computes the network.

The first, second, ... stage has for each kind of block its first, second, ... block, as wide as the space allows, with
the largest kernel and expansion. A stage uses the first blocks of its kind, and of these the first channels and the
centre of the kernel. There is one dense layer for each number of stages and kind of the last one.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nasrun.core import Genome, Task
from nasrun.spaces.staged_cnn.genome import EXPANDING, Network, Stage, genome_of, network_of
from nasrun.spaces.staged_cnn.limits import Limits
from nasrun.spaces.staged_cnn.price import block_price, stem_strides

NARROWEST = 0.25
"""Minimum share of its widths that a network is reduced to, rounded to widths of the space."""


def shared_name(genome: Genome) -> Callable[[str], str]:
    """See `SearchSpace.supernet_name`."""
    stages = network_of(genome).stages
    head = f"output.{len(stages)}_{stages[-1].block}"

    def name_of(name: str) -> str:
        part, _, rest = name.partition(".")
        if part == "output":
            return f"{head}.{rest}"
        if part == "stem":  # a single convolution has no number
            return re.sub(r"^stem\.([a-z]+)\.", r"stem.\g<1>1.", name)
        number, place = map(int, re.findall(r"\d+", part))
        block = stages[number - 1].block
        if block in EXPANDING:  # with a shortcut or without
            rest = rest.removeprefix("body.")
        return f"stage{number}.{block}{place}.{rest}"

    return name_of


def corners(limits: Limits) -> Iterator[Genome]:
    """Architectures that together use all of every shared weight; see `ElasticNetwork`.

    For each kind of block: all stages at maximum size; the same with widths that change from stage to stage, for
    shortcuts with a convolution; and each smaller number of stages, for its dense layer.
    """
    widest = limits.widths[-1]
    other = limits.widths[-2:][0]
    for block in limits.blocks:
        yield _corner(limits, [_largest(limits, block)] * limits.max_stages, widest)
        for first, second in ((widest, other), (other, widest)):
            widths = [(second, first)[place % 2] for place in range(limits.max_stages)]
            yield _corner(limits, [_largest(limits, block)._replace(repeats=1, width=w) for w in widths], first)
        for count in range(1, limits.max_stages):
            yield _corner(limits, [_largest(limits, block)._replace(repeats=1)] * count, widest)


def _corner(limits: Limits, stages: list[Stage], width: int) -> Genome:
    # A stride in the stem: for large images it is one more convolution.
    return genome_of(Network(limits.activations[0], max(limits.kernels_of("bb")), 2, width, tuple(stages)))


def _largest(limits: Limits, block: str) -> Stage:
    kernel, expansion, squeeze = (max(of(block)) for of in (limits.kernels_of, limits.expansions_of, limits.squeeze_of))
    return Stage(block, limits.max_repeats, kernel, 1, expansion, limits.widths[-1], squeeze)


def shared_weights(limits: Limits, task: Task, resolution: int, widest: int) -> int:
    """The number of weights of the network of all architectures with stages up to a width, by formula."""
    kernel, count = max(limits.kernels_of("bb")), len(stem_strides(task, resolution, 2))
    total = kernel**2 * widest * (task.channels + (count - 1) * widest) + 2 * widest * count
    for block in limits.blocks:
        stage = _largest(limits, block)._replace(width=widest)
        blocks = limits.max_repeats * block_price(stage, widest, 1, 1)[0]
        if block == "bb" and len(limits.widths) > 1:  # the convolution in the shortcut of the first
            blocks += widest * (widest + 2)
        total += limits.max_stages * (blocks + (widest + 1) * task.outputs)
    return total


def smaller(limits: Limits, genome: Genome, rng: np.random.Generator | None) -> Genome:
    """An architecture whose weights are parts of those of a genome: a random one, with each width, number of blocks,
    kernel and expansion up to its own; without `rng` the smallest. Widths are at least about a quarter of its own."""
    network = network_of(genome)

    def up_to(most: int, legal: Sequence[int]) -> int:
        fitting = sorted(value for value in legal if value <= most)
        return fitting[0 if rng is None else int(rng.integers(len(fitting)))]

    def width(most: int) -> int:
        least = limits.width_near(most * NARROWEST)
        return up_to(most, [value for value in limits.widths if value >= least])

    def cut(stage: Stage) -> Stage:
        return stage._replace(
            repeats=up_to(stage.repeats, range(1, limits.max_repeats + 1)),
            kernel=up_to(stage.kernel, limits.kernels_of(stage.block)),
            expansion=up_to(stage.expansion, limits.expansions_of(stage.block)),
            width=width(stage.width),
        )

    return genome_of(
        network._replace(
            stem_kernel=up_to(network.stem_kernel, limits.kernels_of("bb")),
            stem_width=width(network.stem_width),
            stages=tuple(map(cut, network.stages)),
        )
    )
