"""Search space macro_cnn: prices and networks."""

from typing import Any

import pytest

from nasrun.core import Task
from tests.spaces.checks import check_costs
from tests.spaces.macro_cnns import EXAMPLE, FASHION, space

TASKS = [FASHION, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3), Task("dot", 4, 1, 1, 2, "regression")]


# Price and build


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_cost_is_what_torch_counts(task: Task, batch_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20 if batch_norm else 60  # batch normalisation takes most of the time
    check_costs(space(batch_norm=batch_norm, dense=48), task, count, monkeypatch)


def test_cost_by_hand() -> None:
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4
    tested = space(depths=[4], max_pools=2)
    genome = tested.parse("c8-pool-c16-pool")
    convolutions, dense = (9 * 8, 9 * 8 * 16), (16 * 64, 64 * 10)
    assert tested.cost(genome, task).parameters == sum(convolutions) + 2 * (8 + 16) + sum(dense) + 64 + 10
    assert tested.cost(genome, task).flops == 2 * (convolutions[0] * 35 + convolutions[1] * 12 + sum(dense))
    without = space(depths=[4], max_pools=2, batch_norm=False).cost(genome, task)
    assert without.parameters == tested.cost(genome, task).parameters - 8 - 16
    assert without.flops == tested.cost(genome, task).flops


@pytest.mark.parametrize("batch_norm", [True, False])
def test_build_is_what_the_genome_says(batch_norm: bool) -> None:
    import torch
    from torch import nn

    tested = space(batch_norm=batch_norm)
    model: Any = tested.build(tested.parse("pool-c32-c8-pool-c16"), Task("colour", 3, 9, 5, 7))
    names = ["maxpool1", "layer1", "layer2", "maxpool4", "layer3", "pool", "flatten", "dense", "activation", "output"]
    assert [name for name, _ in model.named_children()] == names
    channels = 3
    for name, width in (("layer1", 32), ("layer2", 8), ("layer3", 16)):
        layer = list(model.get_submodule(name))
        assert [type(part) for part in layer] == [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, nn.ReLU]
        convolution = layer[0]
        assert (convolution.in_channels, convolution.out_channels) == (channels, width)
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        assert (convolution.bias is None) == batch_norm
        channels = width
    assert (model.dense.in_features, model.dense.out_features, model.output.out_features) == (16, 64, 7)
    image = torch.arange(2 * 3 * 9 * 5, dtype=torch.float32).view(2, 3, 9, 5)
    pooled = model.maxpool1(image)
    assert pooled.shape == (2, 3, 5, 3)
    assert pooled[0, 0].tolist() == [[6, 8, 9], [16, 18, 19], [26, 28, 29], [36, 38, 39], [41, 43, 44]]


def test_initial_weights_follow_the_seed() -> None:
    import torch

    states = []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            states.append(space().build(EXAMPLE, FASHION).state_dict())
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states[1:]]
    assert same == [True, False]
