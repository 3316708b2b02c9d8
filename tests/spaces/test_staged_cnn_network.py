"""Search space staged_cnn: prices and networks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasrun.core import Task
from nasrun.spaces.staged_cnn.network import Residual, Skip, SqueezeExcite
from nasrun.spaces.staged_cnn.price import halvings
from tests.spaces.checks import walked
from tests.spaces.staged_cnns import ALL_BLOCKS, RESNET8, SPACE, space

CIFAR = Task("cifar", 3, 32, 32, 10)
TASKS = [
    CIFAR,
    Task("fashion", 1, 28, 28, 10),
    Task("tiny", 1, 8, 8, 2),
    Task("odd", 5, 15, 37, 3),
    Task("photos", 3, 96, 96, 12),
    Task("large", 3, 224, 224, 7),
]


# What it costs, and what is built


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_price_is_that_of_the_network(task: Task) -> None:
    rng = np.random.default_rng(task.height)
    genomes = [
        SPACE.parse(ALL_BLOCKS),
        *(SPACE.sample(rng) for _ in range(12)),
        *(walked(SPACE, rng) for _ in range(12)),
    ]
    genomes += SPACE.known().values()
    for genome in genomes:
        cost = SPACE.cost(genome, task)
        with torch.device("meta"):
            model = SPACE.build(genome, task).eval()
            with FlopCounterMode(display=False) as counter:
                output = model(torch.empty(1, task.channels, task.height, task.width))
        assert output.shape == (1, task.outputs)
        assert cost.parameters == sum(weight.numel() for weight in model.parameters())
        assert cost.flops == counter.get_total_flops()


def test_known_networks_are_those_of_the_literature() -> None:
    known = SPACE.known()
    assert SPACE.format(known["resnet8"]) == RESNET8
    assert SPACE.cost(known["resnet8"], CIFAR).parameters == 78_042  # MLPerf Tiny's: 78k
    assert SPACE.cost(known["resnet20"], CIFAR).parameters == 272_474  # He et al.: 0.27M
    assert list(space(blocks=["bb"]).known()) == [name for name in known if name.startswith("resnet")]
    assert space(blocks=["ds"]).known() == {}


@pytest.mark.parametrize(("side", "count"), [(8, 0), (28, 0), (48, 0), (49, 1), (96, 1), (128, 2), (224, 3), (512, 4)])
def test_large_images_are_halved_in_the_stem(side: int, count: int) -> None:
    task = Task("pictures", 3, side, side, 10)
    assert halvings(task, 48) == count
    model: Any = SPACE.build(SPACE.parse(RESNET8), task)
    stem = model[0]
    assert [layer.stride[0] for layer in stem if isinstance(layer, nn.Conv2d)] == ([2] * count or [1])
    features = stem(torch.zeros(1, 3, side, side))
    assert features.shape[1] == 16
    assert 24 < features.shape[2] <= 48 or side <= 24
    early: Any = SPACE.build(SPACE.parse(RESNET8.replace("s1", "s2", 1)), task)
    assert sum(layer.stride[0] == 2 for layer in early[0] if isinstance(layer, nn.Conv2d)) == count + 1


def test_blocks_are_those_of_their_papers() -> None:
    model: Any = SPACE.build(SPACE.parse(ALL_BLOCKS), CIFAR)
    first, second = model.stage1_block1, model.stage1_block2
    assert isinstance(first, Residual)
    assert isinstance(first.shortcut, nn.Sequential)
    assert [type(part).__name__ for part in first.shortcut] == ["AvgPool2d", "Conv2d", "BatchNorm2d"]
    assert isinstance(second, Residual)
    assert isinstance(second.shortcut, nn.Identity)
    assert not isinstance(model.stage2_block1, Skip)
    assert isinstance(model.stage2_block2, Skip)
    assert any(isinstance(part, SqueezeExcite) for part in model.stage2_block2.modules())
    squeezed = next(part for part in model.stage2_block2.modules() if isinstance(part, SqueezeExcite))
    assert (squeezed.squeeze.out_channels, squeezed.excite.out_channels) == (4, 48)
    assert isinstance(model.stage3_block1, Skip)  # stride 1, and as wide as what it takes in
    depthwise = model.stage4_block1.depthwise
    assert (depthwise.groups, depthwise.stride) == (16, (1, 1))
    assert isinstance(model.stage4_block1.pool, nn.AvgPool2d)
    assert not any(isinstance(part, nn.ReLU) for part in model.modules())


def test_signals_keep_their_size_through_the_network_at_the_start() -> None:
    torch.manual_seed(0)
    for text in (RESNET8, RESNET8.replace("bb", "cn"), ALL_BLOCKS):
        model = SPACE.build(SPACE.parse(text), CIFAR).train()
        weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.bias is None]
        for weight in weights:
            fan_out = weight[0, 0].numel() * weight.shape[0]
            groups = 1 if weight.shape[1] > 1 else weight.shape[0]
            if weight.numel() > 500:
                assert float(weight.detach().std()) == pytest.approx((2 * groups / fan_out) ** 0.5, rel=0.15)
        assert 0.05 < float(model(torch.randn(32, 3, 32, 32)).detach().std()) < 5


@pytest.mark.parametrize("block", ["bb", "ir", "er", "ds", "cn"])
def test_every_block_learns(block: str) -> None:
    torch.manual_seed(0)
    stage = f"{block}_r2_k3_s2{'_e2' if block in ('ir', 'er') else ''}_c16"
    task = Task("halves", 1, 8, 8, 2)
    model = SPACE.build(SPACE.parse(f"relu-cn_r1_k3_s1_c8-{stage}"), task)
    labels = torch.arange(64) % 2
    images = torch.randn(64, 1, 8, 8)
    images[labels == 1, :, :4] += 1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
