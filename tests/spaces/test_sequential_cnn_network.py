"""Search space sequential_cnn: prices and networks."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.layers import GlobalAveragePool
from nasrun.spaces.sequential_cnn.space import SequentialCNN
from tests.spaces.checks import check_costs
from tests.spaces.sequential_cnns import join, layers, seeds, space, spaces

FASHION = Task("fashion", 1, 28, 28, 10)
TASKS = [FASHION, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3), Task("values", 4, 9, 16, 2, "regression")]


# Price and build


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_cost_is_what_torch_counts(task: Task, batch_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 random genomes in all."""
    count = 100 if batch_norm else 400  # batch normalisation takes most of the time
    check_costs(space(max_depth=7, batch_norm=batch_norm, dense=48), task, count, monkeypatch)


def test_cost_by_hand() -> None:
    tested = space(min_depth=2)
    genome = tested.parse("R8k3relu-R16k1tanh")
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4 becomes 2x2
    convolutions, dense = (9 * 8, 8 * 16), (16 * 64, 64 * 10)
    assert tested.cost(genome, task).parameters == sum(convolutions) + 2 * (8 + 16) + sum(dense) + 64 + 10
    assert tested.cost(genome, task).flops == 2 * (convolutions[0] * 12 + convolutions[1] * 4 + sum(dense))
    without = space(min_depth=2, batch_norm=False).cost(genome, task)
    assert without.parameters == tested.cost(genome, task).parameters - 8 - 16
    assert without.flops == tested.cost(genome, task).flops


@pytest.mark.parametrize("batch_norm", [True, False])
def test_build_is_what_the_genome_says(batch_norm: bool) -> None:
    from torch import nn

    genome: Genome = join([("N", 8, 1, "relu"), ("R", 16, 3, "sigmoid"), ("N", 24, 5, "tanh")])
    genome = join([*layers(genome), ("R", 32, 3, "swish"), ("N", 48, 1, "gelu")])
    model: Any = space(batch_norm=batch_norm).build(genome, Task("colour", 3, 32, 32, 7))
    activations = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU]
    channels = 3
    for number, ((kind, filters, kernel, _), activation) in enumerate(zip(layers(genome), activations, strict=True), 1):
        layer = list(model.get_submodule(f"layer{number}"))
        assert [type(part) for part in layer] == [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, activation]
        convolution = layer[0]
        assert (convolution.in_channels, convolution.out_channels) == (channels, filters)
        assert convolution.kernel_size == (kernel, kernel)
        assert convolution.padding == (int(kernel) // 2,) * 2
        assert convolution.stride == ((2, 2) if kind == "R" else (1, 1))
        assert (convolution.bias is None) == batch_norm
        channels = filters
    head = [type(part) for part in list(model)[5:]]
    assert head == [GlobalAveragePool, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert (model.dense.in_features, model.dense.out_features, model.output.out_features) == (48, 64, 7)


def test_initial_weights_follow_the_activation_and_the_seed() -> None:
    import torch

    tested = space(filters=[256], batch_norm=False)
    genome = tested.parse("N256k3relu-R256k3tanh-R256k1sigmoid")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = tested.build(genome, FASHION).state_dict()
        second = tested.build(genome, FASHION).state_dict()
        torch.manual_seed(1)
        third = tested.build(genome, FASHION).state_dict()
    assert all(torch.equal(first[name], third[name]) for name in first)
    assert not torch.equal(first["layer1.convolution.weight"], second["layer1.convolution.weight"])
    assert not first["layer2.convolution.bias"].any()
    spread = [float(first[f"layer{number}.convolution.weight"].std()) for number in (1, 2, 3)]
    fan_out = 256 * 9
    assert spread == pytest.approx([(2 / fan_out) ** 0.5, 5 / 3 / fan_out**0.5, 1 / 16], rel=0.05)
    assert float(first["dense.weight"].std()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(spaces(), seeds, st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_any_network_costs_what_it_has(
    tested: SequentialCNN, seed: int, channels: int, height: int, width: int, outputs: int
) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    task = Task("any", channels, height, width, outputs)
    genome = tested.sample(np.random.default_rng(seed))
    with torch.device("meta"), torch.inference_mode():
        model = tested.build(genome, task).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, channels, height, width))
    parameters = sum(weight.numel() for weight in model.parameters())
    assert tested.cost(genome, task) == Cost(parameters, counter.get_total_flops())


def test_strided_convolutions_of_kernel_one_train_with_any_batch() -> None:
    """In several threads and bf16, with a batch of odd size: this once ended the process, so it runs in another one."""
    code = (
        "import torch\n"
        "from nasrun.spaces.layers import convolutional_network\n"
        "torch.set_num_threads(2)\n"
        "model = convolutional_network(3, [(16, 1, 2, 'relu')] * 2, batch_norm=True, dense=8, outputs=2)\n"
        "model = model.to(memory_format=torch.channels_last)\n"
        "for _ in range(60):\n"
        "    images = torch.randn(43, 3, 28, 28).contiguous(memory_format=torch.channels_last)\n"
        "    with torch.autocast('cpu', torch.bfloat16):\n"
        "        loss = model(images).float().square().mean()\n"
        "    loss.backward()\n"
        "print(loss.isfinite().item())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
