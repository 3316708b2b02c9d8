"""The networks of `staged_cnn` in torch. Only `build` imports this module, because it imports torch.

Sources of the blocks: `bb` He et al. 2016 (arXiv 1512.03385), figure 5, with the shortcut that average-pools of He et
al. 2019 (arXiv 1812.01187), section 4, "ResNet-D"; `ir` Sandler et al. 2018 (arXiv 1801.04381), with the
squeeze-and-excite of Tan and Le 2019 (arXiv 1905.11946); `er` Gupta and Akin 2020 (arXiv 2003.02838), "fused inverted
bottleneck"; `ds` Howard et al. 2017 (arXiv 1704.04861).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.staged_cnn.genome import Network, Stage, squeezed_units

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hswish": nn.Hardswish}


def staged_network(network: Network, inputs: int, outputs: int, *, stem_strides: Sequence[int]) -> nn.Sequential:
    """Stem, stages of blocks, global average pooling, a dense layer.

    `stem_strides`: of the stem's convolutions, in order. Input float (batch, inputs, height, width) with any height and
    width, output (batch, outputs), the logits. Parts are named by their position: `stem`, `stage1_block1`, ...,
    `output`. Initial weights, from torch's global generator: He normal by fan-out (He et al. 2015, arXiv 1502.01852);
    the dense layer as torch's own default; normalisations 1 and 0.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    channels = inputs
    for number, stride in enumerate(stem_strides, start=1):
        suffix = str(number) if len(stem_strides) > 1 else ""
        stem[f"convolution{suffix}"] = convolution(channels, network.stem_width, network.stem_kernel, stride)
        stem[f"norm{suffix}"] = nn.BatchNorm2d(network.stem_width)
        stem[f"activation{suffix}"] = ACTIVATIONS[network.activation]()
        channels = network.stem_width
    parts["stem"] = nn.Sequential(stem)
    for number, stage in enumerate(network.stages, start=1):
        for place, block in enumerate(_blocks(stage, channels, network.activation), start=1):
            parts[f"stage{number}_block{place}"] = block
        channels = stage.width
    parts["pool"] = GlobalAveragePool()
    parts["flatten"] = nn.Flatten()
    parts["output"] = nn.Linear(channels, outputs)
    return nn.Sequential(parts)


def _blocks(stage: Stage, channels: int, activation: str) -> Iterator[nn.Module]:
    """The blocks of a stage; only the first has its stride and takes the channels of the stage before."""
    for place in range(stage.repeats):
        stride = stage.stride if place == 0 else 1
        yield _block(stage, channels if place == 0 else stage.width, stride, activation)


def _block(stage: Stage, channels: int, stride: int, activation: str) -> nn.Module:
    width, kernel = stage.width, stage.kernel
    act = ACTIVATIONS[activation]
    if stage.block == "bb":
        return Residual(channels, width, kernel, stride, activation)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if stage.block == "cn":
        if kernel == 1 and stride > 1:  # the convolution alone would see one pixel in four
            parts["pool"], stride = halving_pool(), 1
        parts["convolution"] = convolution(channels, width, kernel, stride)
        parts["norm"], parts["activation"] = nn.BatchNorm2d(width), act()
        return nn.Sequential(parts)
    if stage.block == "ds":
        if stride > 1:
            parts["pool"] = halving_pool()
        parts["depthwise"] = convolution(channels, channels, kernel, groups=channels)
        parts["depthwise_norm"], parts["depthwise_activation"] = nn.BatchNorm2d(channels), act()
        parts["pointwise"] = convolution(channels, width, 1)
        parts["norm"], parts["activation"] = nn.BatchNorm2d(width), act()
        return nn.Sequential(parts)
    hidden = channels * stage.expansion
    body: OrderedDict[str, nn.Module] = OrderedDict()
    if stage.block == "ir":
        body["expand"] = convolution(channels, hidden, 1)
        body["expand_norm"], body["expand_activation"] = nn.BatchNorm2d(hidden), act()
        if stride > 1:
            body["pool"] = halving_pool()
        body["depthwise"] = convolution(hidden, hidden, kernel, groups=hidden)
        body["depthwise_norm"], body["depthwise_activation"] = nn.BatchNorm2d(hidden), act()
        if stage.squeeze:
            body["squeeze_excite"] = SqueezeExcite(hidden, squeezed_units(channels), activation)
    else:
        body["expand"] = convolution(channels, hidden, kernel, stride)
        body["expand_norm"], body["expand_activation"] = nn.BatchNorm2d(hidden), act()
    body["project"] = convolution(hidden, width, 1)
    body["project_norm"] = nn.BatchNorm2d(width)
    block = nn.Sequential(body)
    return Skip(block) if stride == 1 and channels == width else block


class Residual(nn.Module):
    """Two convolutions with a shortcut around them, then the activation (`bb`).

    Float (batch, channels, height, width) to (batch, width, height / stride, width / stride), rounded up. The shortcut
    average-pools if the block has a stride, and has a 1x1 convolution if the channels change.
    """

    def __init__(self, channels: int, width: int, kernel: int, stride: int, activation: str) -> None:
        super().__init__()
        body: OrderedDict[str, nn.Module] = OrderedDict()
        body["convolution1"] = convolution(channels, width, kernel, stride)
        body["norm1"], body["activation1"] = nn.BatchNorm2d(width), ACTIVATIONS[activation]()
        body["convolution2"], body["norm2"] = convolution(width, width, kernel), nn.BatchNorm2d(width)
        shortcut: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            shortcut["pool"] = halving_pool()
        if channels != width:
            shortcut["convolution"], shortcut["norm"] = convolution(channels, width, 1), nn.BatchNorm2d(width)
        self.body = nn.Sequential(body)
        self.shortcut = nn.Sequential(shortcut) if shortcut else nn.Identity()
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return result


class Skip(nn.Module):
    """A block with its input added to its output, which has the same shape."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features + self.body(features)
        return result


class SqueezeExcite(nn.Module):
    """Scales each channel by a factor in [0, 1], computed from the means of all channels; keeps the shape."""

    def __init__(self, channels: int, units: int, activation: str) -> None:
        super().__init__()
        self.pool = GlobalAveragePool()
        self.squeeze = nn.Conv2d(channels, units, 1)
        self.activation = ACTIVATIONS[activation]()
        self.excite = nn.Conv2d(units, channels, 1)
        self.gate = nn.Sigmoid()
        for layer in (self.squeeze, self.excite):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features * self.gate(self.excite(self.activation(self.squeeze(self.pool(features)))))
        return result


def halving_pool() -> nn.AvgPool2d:
    """The mean of every two by two pixels; height and width are halved, rounded up.

    It precedes depthwise convolutions in place of a stride, which is smoother; the gradient of a strided one takes ten
    times as long in bf16 on the CPU (torch 2.13).
    """
    return nn.AvgPool2d(2, ceil_mode=True)


def convolution(channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution padded by half its kernel, without bias, with He normal weights by the fan-out of its groups."""
    made = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.normal_(made.weight, std=(2 * groups / (kernel**2 * width)) ** 0.5)
    return made
