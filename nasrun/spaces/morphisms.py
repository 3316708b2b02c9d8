"""Network morphisms: a larger network that computes the function of a smaller one with its weights. Imports torch.

Sources: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016 (arXiv 1511.05641), for the
idea and for layers that pass their input on; Wei et al., "Network Morphism", ICML 2016 (arXiv 1603.01670), and Elsken
et al., "Simple and Efficient Architecture Search for CNNs", 2018 (arXiv 1711.04528), section 3, for zeros in place of
Net2Net's copied channels: new channels have new weights, and the next layer multiplies them by zero. So no two channels
are alike, and no noise is needed, which would change the function.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Transfer:
    """Copies the weights of a smaller network into a larger one, part by part, by the names of the parts.

    `network`: the larger one, with initial weights. `weights`: the `state_dict` of the smaller one. `inherited` counts
    the parameters whose values come from the smaller one, `passing` lists the normalisations that pass their input on.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        self._network, self._weights = network, weights
        self.inherited = 0
        self.passing: list[tuple[nn.BatchNorm2d, int]] = []

    @torch.no_grad()
    def take(self, part: str, source: str) -> None:
        """Fill the layers of a part with those of the same names in the part `source`; layers that `source` lacks are
        unchanged. The first channels are those of `source`; further inputs get weight zero; a larger kernel is zero
        around the smaller one."""
        for name, layer in self._network.get_submodule(part).named_modules():
            before = f"{source}.{name}".rstrip(".")
            if f"{before}.weight" not in self._weights:
                continue
            for kind, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
                given = self._weights[f"{before}.{kind}"]
                fill(tensor, given)
                self.inherited += given.numel() if isinstance(tensor, nn.Parameter) else 0

    @torch.no_grad()
    def pass_on(self, convolution: nn.Module, norm: nn.Module | None, channels: int) -> None:
        """Make a convolution of stride 1, with the normalisation after it, pass the first channels on unchanged."""
        assert isinstance(convolution, nn.Conv2d)
        weight = convolution.weight
        middle = weight.shape[2] // 2
        weight[:channels] = 0
        for channel in range(channels):
            weight[channel, 0 if convolution.groups > 1 else channel, middle, middle] = 1
        if convolution.bias is not None:
            convolution.bias[:channels] = 0
        if norm is not None:
            assert isinstance(norm, nn.BatchNorm2d)
            _pass(norm, channels, torch.zeros(channels), torch.ones(channels))
            self.passing.append((norm, channels))


@torch.no_grad()
def fill(tensor: Tensor, given: Tensor) -> None:
    """Copy a smaller tensor of a layer into a larger one: weights (outputs, inputs, height, width) or (outputs,
    inputs), values per channel, or counts. Further inputs of the copied outputs become zero, further outputs are
    unchanged."""
    if not given.ndim:
        tensor.copy_(given)
        return
    outputs = given.shape[0]
    tensor[:outputs] = 0
    place: list[slice] = [slice(outputs)]
    if given.ndim > 1:
        place.append(slice(given.shape[1]))
    for size, own in zip(given.shape[2:], tensor.shape[2:], strict=True):
        margin = (own - size) // 2
        place.append(slice(margin, margin + size))
    tensor[tuple(place)] = given


@torch.no_grad()
def silence(norm: nn.Module) -> None:
    """Make a normalisation output zero for any input."""
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.zero_()
    norm.bias.zero_()


@torch.no_grad()
def calibrate(network: nn.Module, passing: Sequence[tuple[nn.BatchNorm2d, int]], images: Tensor) -> None:
    """Set normalisations that pass their input on to the statistics of some standardised images, float (batch,
    channels, height, width), so that they also pass it on in training, as far as other batches are similar.

    Without this, training would begin with a network that normalises where its parent did not. Nothing else changes.
    """
    if not passing:
        return
    counts = {id(norm): channels for norm, channels in passing}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    own = {id(module): name for name, module in network.named_modules()}

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        channels = counts[id(norm)]
        variance, mean = torch.var_mean(inputs[0][:, :channels], (0, 2, 3), correction=0)
        _pass(norm, channels, mean, variance)
        for kind, tensor in norm.state_dict().items():
            before[f"{own[id(norm)]}.{kind}"] = tensor.clone()

    was_training = network.training
    hooks = [norm.register_forward_pre_hook(measure) for norm, _ in passing]
    network.train()  # the mode of training, from the first layer to the last
    network(images)
    for hook in hooks:
        hook.remove()
    network.load_state_dict(before)
    network.train(was_training)


def _pass(norm: nn.BatchNorm2d, channels: int, mean: Tensor, variance: Tensor) -> None:
    """Set a normalisation to these statistics so that its first channels come out unchanged."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean[:channels], norm.running_var[:channels] = mean, variance
    norm.weight[:channels], norm.bias[:channels] = (norm.running_var[:channels] + norm.eps).sqrt(), mean
