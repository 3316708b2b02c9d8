"""Search space nasbench201: prices and networks."""

import hashlib
from typing import Any

import pytest

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.nasbench201.encoding import EDGES
from nasrun.spaces.nasbench201.space import NASBench201
from tests.spaces.nasbench201_cells import EVERYTHING, EXAMPLE, STORED, space

CIFAR10 = Task("cifar10", 3, 32, 32, 10)
CIFAR100 = Task("cifar100", 3, 32, 32, 100)
IMAGENET16 = Task("imagenet16", 3, 16, 16, 120)
BENCHMARK = [CIFAR10, CIFAR100, IMAGENET16]


# SHA-256 of all 15,625 lines "string,parameters,parameters,parameters" of the benchmark, sorted, joined by "\n".
STORED_DIGEST = "199bcf2ddbd371112079d2278681206723cdc8cba4a279b2f587349780b99feb"


# Price and build


def test_cost_equals_the_stored_parameters_of_all() -> None:
    """15,625 of 15,625, in all three data sets."""
    tested = space()
    lines = sorted(
        ",".join([tested.format(genome), *(str(tested.cost(genome, task).parameters) for task in BENCHMARK)])
        for genome in EVERYTHING
    )
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == STORED_DIGEST


@pytest.mark.parametrize(("text", "parameters"), STORED)
def test_cost_equals_the_stored_parameters(text: str, parameters: int) -> None:
    tested = space()
    genome = tested.parse(text)
    # The classifier alone differs: 64 weights and a bias per class.
    stored = [parameters, parameters + 65 * 90, parameters + 65 * 110]
    assert [tested.cost(genome, task).parameters for task in BENCHMARK] == stored


def test_cost_by_hand() -> None:
    tested = space(channels=4, cells=1)
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4 becomes 2x2
    bare = tested.cost(("none",) * 6, task)
    weights = (9 * 4, 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8, 9 * 8 * 16 + 9 * 16 * 16 + 8 * 16, 16 * 10)
    assert bare.parameters == sum(weights) + 2 * 4 + 4 * 8 + 4 * 16 + 2 * 16 + 10
    # The first convolution of a reduction halves height and width, so all of its three work on the smaller image.
    assert bare.flops == 2 * (weights[0] * 35 + weights[1] * 12 + weights[2] * 4 + weights[3])
    one = tested.cost((*["none"] * 5, "nor_conv_3x3"), task)
    assert one.parameters - bare.parameters == 9 * (16 + 64 + 256) + 2 * (4 + 8 + 16)
    assert one.flops - bare.flops == 2 * 9 * (16 * 35 + 64 * 12 + 256 * 4)


def built(tested: NASBench201, genome: Genome, task: Task, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The network on the meta device, where no weights are drawn; most of the time is spent on calls."""
    import torch

    for name in ("kaiming_uniform_", "uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    with torch.device("meta"):
        return tested.build(genome, task).eval()


def test_networks_have_the_parameters_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = space()
    for number, genome in enumerate(EVERYTHING[::97]):
        task = BENCHMARK[number % 3]
        model = built(tested, genome, task, monkeypatch)
        assert sum(weight.numel() for weight in model.parameters()) == tested.cost(genome, task).parameters


@pytest.mark.parametrize("task", [CIFAR10, IMAGENET16, Task("odd", 2, 7, 5, 3), Task("dot", 1, 1, 1, 2, "regression")])
def test_cost_is_what_torch_counts(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tested = space(cells=2, channels=6)
    for genome in [EXAMPLE, *EVERYTHING[::3001]]:
        model = built(tested, genome, task, monkeypatch)
        with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            assert model(torch.empty(1, task.channels, task.height, task.width)).shape == (1, task.outputs)
        parameters = sum(weight.numel() for weight in model.parameters())
        assert tested.cost(genome, task) == Cost(parameters, counter.get_total_flops())


def test_cell_is_what_the_genome_says() -> None:
    """Each node the sum over all edges into it, `none` being a multiplication by zero."""
    import torch
    from torch.nn import functional

    from nasrun.spaces.nasbench201.network import Cell

    torch_generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 4, 6, generator=torch_generator, dtype=torch.float64)
    inside = torch.ones(1, 1, 4, 6, dtype=torch.float64)
    box = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    neighbours = functional.conv2d(inside, box, padding=1)  # 4 in the corners, 6 at the border, 9 within

    def applied(cell: Any, name: str, operation: str, value: torch.Tensor) -> torch.Tensor:
        if operation == "none":
            return value * 0
        if operation == "skip_connect":
            return value
        if operation == "avg_pool_3x3":
            return functional.conv2d(value, box.repeat(3, 1, 1, 1), padding=1, groups=3) / neighbours
        module = cell.operations[name]
        size = int(operation[-1])
        assert module.convolution.weight.shape == (3, 3, size, size)
        convolved = functional.conv2d(value.clamp(min=0), module.convolution.weight, padding=size // 2)
        mean, variance = convolved.mean((0, 2, 3), True), convolved.var((0, 2, 3), unbiased=False, keepdim=True)
        return (convolved - mean) / (variance + 1e-5).sqrt() * module.norm.weight.view(1, 3, 1, 1)

    for genome in EVERYTHING[::151]:
        edges = [(target, source, name) for (target, source), name in zip(EDGES, genome, strict=True)]
        cell = Cell(edges, 3).double()
        nodes = [image, *[torch.zeros_like(image)] * 3]
        for target, source, operation in edges:
            nodes[target] = nodes[target] + applied(cell, f"{target}_{source}", operation, nodes[source])
        assert torch.allclose(cell(image), nodes[3], atol=1e-9), genome


def test_reduction_adds_a_shortcut() -> None:
    import torch
    from torch.nn import functional

    from nasrun.spaces.nasbench201.network import Reduction

    image = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    block = Reduction(3).double().eval()  # normalisations as they begin: a division by sqrt(1 + 1e-5)
    features = functional.conv2d(image.clamp(min=0), block.first.convolution.weight, stride=2, padding=1)
    features = (features / (1 + 1e-5) ** 0.5).clamp(min=0)
    features = functional.conv2d(features, block.second.convolution.weight, padding=1) / (1 + 1e-5) ** 0.5
    means = image.view(2, 3, 2, 2, 3, 2).mean((3, 5))
    expected = features + functional.conv2d(means, block.shortcut.weight)
    assert expected.shape == (2, 6, 2, 3)
    assert torch.allclose(block(image), expected)


def test_network_is_that_of_the_benchmark() -> None:
    from torch import nn

    from nasrun.spaces.nasbench201.network import Cell, Reduction

    model: Any = space().build(EXAMPLE, CIFAR10)
    names = ["stem"]
    for stage in (1, 2, 3):
        names += [f"reduction{stage}"] * (stage > 1) + [f"stage{stage}_cell{number}" for number in range(1, 6)]
    assert [name for name, _ in model.named_children()][:-5] == names
    kinds = [Cell] * 5 + [Reduction] + [Cell] * 5 + [Reduction] + [Cell] * 5
    assert [type(part) for part in list(model)[1:-5]] == kinds
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert {part.out_channels for part in convolutions} == {16, 32, 64}
    assert not any(part.bias is not None for part in convolutions)
    assert [part.stride for part in convolutions].count((2, 2)) == 2


@pytest.mark.parametrize("genome", [("none",) * 6, ("none", "nor_conv_3x3", "none", "skip_connect", "none", "none")])
def test_networks_with_parts_that_lead_nowhere_train(genome: Genome) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = space(cells=1, channels=4).build(genome, CIFAR10)
        images, labels = torch.rand(8, 3, 8, 8), torch.arange(8)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses = []
        for _ in range(20):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_initial_weights_follow_the_seed() -> None:
    import torch

    states = []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            states.append(space(cells=1).build(EXAMPLE, CIFAR10).state_dict())
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states[1:]]
    assert same == [True, False]
