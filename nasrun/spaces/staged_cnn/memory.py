"""Memory of the activations of networks of `staged_cnn`, by formula, without torch."""

from collections.abc import Iterator

from nasrun.core import Genome, Task
from nasrun.spaces.staged_cnn.genome import Stage, network_of, squeezed_units
from nasrun.spaces.staged_cnn.price import stem_strides


def peak_values(genome: Genome, task: Task, resolution: int) -> int:
    """Maximum number of values of one input in memory at a time; `SearchSpace.peak_values` defines what counts."""
    network = network_of(genome)
    height, width, channels = task.height, task.width, task.channels
    most = 0
    for stride in stem_strides(task, resolution, network.stem_stride):
        before = channels * height * width
        if stride == 2:
            height, width = (height + 1) // 2, (width + 1) // 2
        channels = network.stem_width
        most = max(most, before + channels * height * width)
    for stage in network.stages:
        for place in range(min(stage.repeats, 2)):  # all but the first are alike
            area = height * width
            stride = stage.stride if place == 0 else 1
            if stride == 2:
                height, width = (height + 1) // 2, (width + 1) // 2
            most = max(most, *_steps(stage, channels, area, height * width, stride))
            channels = stage.width
    return max(most, channels * height * width + channels, channels + task.outputs)


def _steps(stage: Stage, channels: int, area: int, after: int, stride: int) -> Iterator[int]:
    """Values in memory at each layer of a block with `channels` input channels of `area` pixels and `after` output
    pixels."""
    taken, given = channels * area, stage.width * after
    if stage.block == "bb":
        yield from _residual(channels, taken, given, after, stride, projects=channels != stage.width)
    elif stage.block == "cn":
        yield from _pooled(taken, channels * after, given, pools=stage.kernel == 1 and stride > 1)
    elif stage.block == "ds":
        yield from _pooled(taken, channels * after, channels * after, pools=stride > 1)
        yield channels * after + given
    else:
        yield from _inverted(stage, channels, taken, given, (area, after, stride))


def _pooled(taken: int, pooled: int, given: int, *, pools: bool) -> Iterator[int]:
    """Values in memory at one layer, after the mean of every two by two pixels if there is a stride."""
    if pools:
        yield taken + pooled
    yield (pooled if pools else taken) + given


def _residual(channels: int, taken: int, given: int, after: int, stride: int, *, projects: bool) -> Iterator[int]:
    """Values in memory at two convolutions, during which the input is kept, and at the shortcut."""
    yield taken + given
    yield taken + 2 * given
    pooled = channels * after if stride > 1 else taken
    if stride > 1:
        yield taken + given + pooled
    if projects:
        yield given + pooled + given


def _inverted(stage: Stage, channels: int, taken: int, given: int, sizes: tuple[int, int, int]) -> Iterator[int]:
    """Values in memory at expansion, depthwise convolution (if there is one) and projection. `sizes`: pixels before and
    after, the stride."""
    area, after, stride = sizes
    hidden = channels * stage.expansion
    kept = taken if stride == 1 and channels == stage.width else 0
    inner = hidden * after
    if stage.block == "er":
        yield taken + inner
    else:
        yield taken + hidden * area
        yield kept + hidden * area + inner  # the mean of every two by two pixels, or the depthwise convolution
        yield kept + 2 * inner
        if stage.squeeze:
            units = squeezed_units(channels)
            yield kept + inner + hidden + units
    yield kept + inner + given
