"""The network as Python source: any architecture is written and computes the same; what cannot be, is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasrun.core import Task
from nasrun.export.python_source import NotWritableError, python_source
from tests.export.runs import SPACES
from tests.support import setup_of

NASNET = ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4")
SIZES = {"micro_cell": ("search_space.channels=4",), "nasnet": NASNET, **SPACES}
HEAD = {"title": "A network", "weights": "w", "inputs": "images", "outputs": "logits", "classes": "()"}


def randomised(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with running statistics that are not those of the start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize("side", [28, 15])
@pytest.mark.parametrize("space", sorted(SIZES))
def test_python_source_of_any_architecture_computes_the_same(space: str, side: int) -> None:
    setup, task = setup_of(f"search_space={space}", *SIZES[space]), Task("pictures", 3, side, side, 7)
    rng = np.random.default_rng(side)
    for _ in range(2):
        network = randomised(setup.space.build(setup.space.sample(rng), task))
        sizes = {"scale": (1, 3, 1, 1), "offset": (1, 3, 1, 1)}
        source = python_source(network, sizes, "outputs", HEAD)
        names: dict[str, Any] = {}
        exec(compile(source, "model.py", "exec"), names)
        weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
        weights |= {"scale": torch.full((1, 3, 1, 1), 1 / 255), "offset": torch.full((1, 3, 1, 1), -0.5)}
        written = names["Network"]()
        written.load_state_dict(weights)
        images = torch.from_numpy(rng.integers(0, 256, (3, 3, side, side), dtype=np.uint8))
        with torch.inference_mode():
            expected = network(images.float() * (1 / 255) - 0.5)
            assert torch.equal(written.eval()(images), expected)
        assert max(map(len, source.splitlines())) < 160
        assert "nasrun" not in source.split("\nclass ", 1)[1]


class Gated(nn.Module):
    """A network whose calculation depends on the values in it."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if features.sum() > 0 else -features


class Foreign(nn.Module):
    """A network that calls what is not torch's."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features**2


def test_what_cannot_be_written_is_refused_in_one_line() -> None:
    for network, reason in ((Gated(), r"^Gated cannot be traced \("), (Foreign(), r"^Foreign calls pow, which is not")):
        with pytest.raises(NotWritableError, match=reason):
            python_source(network, {}, "outputs", HEAD)


def test_layers_are_written_with_what_their_text_leaves_out() -> None:
    source = python_source(nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)), {}, "outputs", HEAD)
    assert "nn.AvgPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=True, count_include_pad=False)" in source
