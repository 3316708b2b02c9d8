"""What networks of `staged_cnn` cost, by formula, without torch."""

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.staged_cnn.genome import STAGE, squeezed_units


def halvings(task: Task, resolution: int) -> int:
    """How often the images of a task are halved until they have no more pixels than `resolution` by `resolution`."""
    height, width, count = task.height, task.width, 0
    while height * width > resolution**2:
        height, width, count = (height + 1) // 2, (width + 1) // 2, count + 1
    return count


def stem_strides(task: Task, resolution: int, stride: int) -> tuple[int, ...]:
    """The strides of the stem's convolutions: one of 2 for every halving; a single one of 1 where there is none."""
    return (2,) * (halvings(task, resolution) + stride - 1) or (1,)


def price(genome: Genome, task: Task, resolution: int) -> Cost:
    """Trainable parameters, and FLOPs of one input: two per multiply-add of convolutions and the dense layer.

    Normalisation, activations, pooling and sums count for nothing there, as in `torch.utils.flop_counter`.
    """
    _, kernel, stride, channels, _, *rest = genome
    assert isinstance(kernel, int)
    assert isinstance(stride, int)
    assert isinstance(channels, int)
    height, width = task.height, task.width
    parameters = multiply_adds = 0
    before = task.channels
    for step in stem_strides(task, resolution, stride):
        if step == 2:
            height, width = (height + 1) // 2, (width + 1) // 2
        weights = kernel * kernel * before * channels
        parameters += weights + 2 * channels
        multiply_adds += weights * height * width
        before = channels
    for place in range(0, len(rest), STAGE):
        block, repeats, kernel, stride, expansion, out, squeeze = rest[place : place + STAGE]
        area = height * width
        if stride == 2:
            height, width = (height + 1) // 2, (width + 1) // 2
        after = height * width
        spec = (block, kernel * kernel, expansion, squeeze)  # type: ignore[operator]
        weights, more, work = _block(spec, channels, out, stride == 2, area, after)  # type: ignore[arg-type]
        parameters += weights + more
        multiply_adds += work
        if repeats > 1:  # type: ignore[operator]
            weights, more, work = _block(spec, out, out, False, after, after)  # type: ignore[arg-type]
            parameters += (repeats - 1) * (weights + more)  # type: ignore[operator]
            multiply_adds += (repeats - 1) * work  # type: ignore[operator]
        channels = out  # type: ignore[assignment]
    weights = channels * task.outputs
    return Cost(parameters + weights + task.outputs, 2 * (multiply_adds + weights))


def _block(
    spec: tuple[str, int, int, int], channels: int, out: int, strided: bool, area: int, after: int
) -> tuple[int, int, int]:
    """Weights of convolutions, other parameters, and multiply-adds of one block.

    `spec`: kind, taps of the kernel, expansion, squeeze. `area`, `after`: pixels taken in and given out.
    """
    block, taps, expansion, squeeze = spec
    if block == "bb":
        weights = taps * (channels + out) * out
        shortcut = channels * out if channels != out else 0
        return weights + shortcut, (6 if shortcut else 4) * out, (weights + shortcut) * after
    if block == "cn":
        weights = taps * channels * out
        return weights, 2 * out, weights * after
    if block == "ds":
        weights = taps * channels + channels * out
        return weights, 2 * (channels + out), weights * after
    hidden = channels * expansion
    if block == "er":
        weights = taps * channels * hidden + hidden * out
        return weights, 2 * (hidden + out), weights * after
    first, rest = channels * hidden, taps * hidden + hidden * out
    weights, more, work = first + rest, 4 * hidden + 2 * out, first * area + rest * after
    if squeeze:
        units = squeezed_units(channels)
        weights += 2 * hidden * units
        more += hidden + units
        work += 2 * hidden * units
    return weights, more, work
