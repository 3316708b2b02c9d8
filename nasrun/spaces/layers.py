"""torch modules that the search spaces build networks from. Only `build` imports this module, because it imports
torch."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
}

# The gain (see `torch.nn.init.calculate_gain`) for the weights before each activation. swish and gelu have none in
# torch; they are close to relu where it matters.
_GAINS: dict[str, Literal["relu", "sigmoid", "tanh"]] = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "swish": "relu",
    "gelu": "relu",
}


def convolutional_network(
    channels: int, layers: Sequence[tuple[int, int, int, str]], *, batch_norm: bool, dense: int, outputs: int
) -> nn.Sequential:
    """A sequence of convolutions, global average pooling, a dense layer with relu, a dense output layer.

    `layers`: filters, kernel, stride and activation of each convolution, which is padded by `kernel // 2` and has a
    bias only without batch normalisation. Input float (batch, channels, height, width) with any height and width,
    output (batch, outputs). Parts are named by their position: `layer1.convolution`, ..., `dense`, `output`.

    Initial weights, from torch's global generator: He normal by fan-out with the gain of the activation that follows
    (He et al. 2015, "Delving Deep into Rectifiers", section 2.2, its backward variant); biases 0; normalisations 1 and
    0; the output layer as torch's own default.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (filters, kernel, stride, activation) in enumerate(layers, start=1):
        layer: OrderedDict[str, nn.Module] = OrderedDict()
        if kernel == 1 and stride > 1:
            # Selects the same pixels before the convolution: the gradient of a strided 1x1 convolution in bf16 writes
            # out of bounds on the CPU, with batches of odd size in several threads (torch 2.13).
            layer["subsample"] = nn.MaxPool2d(1, stride)
            stride = 1
        convolution = nn.Conv2d(channels, filters, kernel, stride=stride, padding=kernel // 2, bias=not batch_norm)
        _initialise(convolution, activation)
        layer["convolution"] = convolution
        if batch_norm:
            layer["norm"] = nn.BatchNorm2d(filters)
        layer["activation"] = ACTIVATIONS[activation]()
        parts[f"layer{number}"] = nn.Sequential(layer)
        channels = filters
    parts["pool"] = GlobalAveragePool()
    parts["flatten"] = nn.Flatten()
    hidden = nn.Linear(channels, dense)
    _initialise(hidden, "relu")
    parts["dense"] = hidden
    parts["activation"] = nn.ReLU()
    parts["output"] = nn.Linear(dense, outputs)
    return nn.Sequential(parts)


class GlobalAveragePool(nn.Module):
    """The mean of each channel: (batch, channels, height, width) to (batch, channels, 1, 1).

    Replaces `nn.AdaptiveAvgPool2d(1)`, whose gradient is not in channels_last memory format, which makes the
    normalisation before it up to ten times slower on the CPU.
    """

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[2:]
        return functional.avg_pool2d(features, (height, width))


def _initialise(layer: nn.Conv2d | nn.Linear, activation: str) -> None:
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity=_GAINS[activation])
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def normalise_by_batch(model: nn.Module) -> nn.Module:
    """The model with He initial weights (normal, by fan-in) and normalisation by the current batch: for networks that
    compute another architecture each time, where running statistics would be an average over different networks."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return model


def partly(operation: Callable[[Tensor], Tensor | None], features: Tensor, partial: int) -> Tensor:
    """Apply an operation to the first of `partial` equal shares of the channels, keep the others, and shuffle all so
    that the next operation gets others first. The result of an operation that returns None is zero.

    Source: Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020
    (arXiv 1907.05737), section 3.2; the shuffle is that of the authors' code.
    """
    width = features.shape[1] // partial
    own, others = features[:, :width], features[:, width:]
    result = operation(own)
    joined = torch.cat((torch.zeros_like(own) if result is None else result.to(features.dtype), others), 1)
    return functional.channel_shuffle(joined, partial)
