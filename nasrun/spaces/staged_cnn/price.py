"""The cost of networks of `staged_cnn`, by formula, without torch."""

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.staged_cnn.genome import Stage, network_of, squeezed_units


def halvings(task: Task, resolution: int) -> int:
    """How often the images of a task are halved until they have no more pixels than `resolution` by `resolution`."""
    height, width, count = task.height, task.width, 0
    while height * width > resolution**2:
        height, width, count = (height + 1) // 2, (width + 1) // 2, count + 1
    return count


def stem_strides(task: Task, resolution: int, stride: int) -> tuple[int, ...]:
    """The strides of the stem's convolutions: one of 2 for every halving; a single one of 1 if there is none."""
    return (2,) * (halvings(task, resolution) + stride - 1) or (1,)


def price(genome: Genome, task: Task, resolution: int) -> Cost:
    """Trainable parameters, and FLOPs of one input: two per multiply-add of convolutions and the dense layer.

    FLOPs leave out normalisation, activations, pooling and sums, as does `torch.utils.flop_counter`.
    """
    network = network_of(genome)
    height, width, channels = task.height, task.width, task.channels
    parameters = multiply_adds = 0
    out = network.stem_width
    for stride in stem_strides(task, resolution, network.stem_stride):
        if stride == 2:
            height, width = (height + 1) // 2, (width + 1) // 2
        weights = network.stem_kernel**2 * channels * out
        parameters += weights + 2 * out
        multiply_adds += weights * height * width
        channels = out
    for stage in network.stages:
        area = height * width
        if stage.stride == 2:
            height, width = (height + 1) // 2, (width + 1) // 2
        size, work = block_price(stage, channels, area, height * width)
        channels = stage.width
        parameters += size
        multiply_adds += work
        if stage.repeats > 1:
            size, work = block_price(stage, channels, height * width, height * width)
            parameters += (stage.repeats - 1) * size
            multiply_adds += (stage.repeats - 1) * work
    weights = channels * task.outputs
    return Cost(parameters + weights + task.outputs, 2 * (multiply_adds + weights))


def block_price(stage: Stage, channels: int, area: int, after: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a block with `channels` input channels of `area` pixels and `after` output
    pixels."""
    taps, out = stage.kernel**2, stage.width
    if stage.block == "bb":
        shortcut = channels * out if channels != out else 0
        weights = taps * (channels + out) * out + shortcut
        return weights + (6 if shortcut else 4) * out, weights * after
    if stage.block == "cn":
        weights = taps * channels * out
        return weights + 2 * out, weights * after
    if stage.block == "ds":
        weights = taps * channels + channels * out
        return weights + 2 * (channels + out), weights * after
    hidden = channels * stage.expansion
    if stage.block == "er":
        weights = taps * channels * hidden + hidden * out
        return weights + 2 * (hidden + out), weights * after
    first, rest = channels * hidden, taps * hidden + hidden * out
    parameters, work = first + rest + 4 * hidden + 2 * out, first * area + rest * after
    if stage.squeeze:
        units = squeezed_units(channels)
        parameters += 2 * hidden * units + hidden + units
        work += 2 * hidden * units
    return parameters, work
