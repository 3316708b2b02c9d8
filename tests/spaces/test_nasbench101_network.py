"""The networks of NAS-Bench-101: channels, price, and what is built."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Cost, Task
from nasrun.spaces.nasbench101.graph import vertex_channels
from nasrun.spaces.nasbench101.space import NASBench101
from tests.spaces.checks import walked

TASKS = [
    Task("colour", 3, 32, 32, 100),
    Task("grey", 1, 28, 28, 10),
    Task("odd", 2, 7, 5, 3),
    Task("point", 4, 1, 1, 2, "regression"),
]


def space(**changes: Any) -> NASBench101:
    return NASBench101(**{"operations": ["conv3x3", "conv1x1", "maxpool3x3"], **changes})


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("out(0)", []),
        ("conv1x1(0)-out(1)", [128]),
        ("conv1x1(0)-conv1x1(1)-out(0+2)", [128, 128]),  # the input is added to the output, not joined
        ("conv1x1(0)-conv1x1(0)-conv1x1(0)-out(1+2+3)", [43, 43, 42]),
        ("conv1x1(0)-conv1x1(1)-conv1x1(1)-out(2+3)", [64, 64, 64]),
        ("conv1x1(0)-conv1x1(1)-conv1x1(0)-conv1x1(2+3)-conv1x1(2)-out(2+4+5)", [43, 43, 43, 43, 42]),
        ("conv1x1(0)-conv1x1(1)-conv1x1(0)-conv1x1(3)-out(1+2+4)", [43, 43, 42, 42]),
    ],
)
def test_channels_of_the_vertices(text: str, channels: list[int]) -> None:
    tested = space()
    bits = tested.parse(text)
    count = int(bits[0])
    places = [(u, v) for v in range(1, count) for u in range(v)]
    edges = [edge for edge, bit in zip(places, bits[count - 1 :], strict=True) if bit]
    inputs = [sum(1 << u for u, v in edges if v == vertex) for vertex in range(count)]
    assert vertex_channels(inputs, 7, 128) == [7, *channels, 128]


def test_cost_by_hand() -> None:
    tested = space(stem_channels=6, stacks=2, cells=1)
    genome = tested.parse("conv3x3(0)-maxpool3x3(0+1)-out(0+1+2)")
    stem = 9 * 2 * 6
    # The input is projected to vertex 1, vertex 2 and the output; the output is half vertex 1 and half vertex 2.
    first = 6 * 3 + 6 * 3 + 6 * 6 + 9 * 3 * 3
    second = 6 * 6 + 6 * 6 + 6 * 12 + 9 * 6 * 6
    normalised = 6 + (3 + 3 + 6 + 3) + (6 + 6 + 12 + 6)
    dense = 12 * 3
    assert tested.cost(genome, Task("odd", 2, 7, 5, 3)) == Cost(
        stem + first + second + 2 * normalised + dense + 3,
        2 * (35 * (stem + first) + 12 * second + dense),  # 7x5 becomes 4x3
    )


def measured(model: Any, task: Task) -> Cost:
    """What torch counts in a model on the meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = model.eval()(torch.empty(2, task.channels, task.height, task.width, device="meta"))
    assert output.shape == (2, task.outputs)
    return Cost(sum(weight.numel() for weight in model.parameters()), counter.get_total_flops() // 2)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_cost_is_what_torch_counts(task: Task) -> None:
    import torch

    tested, rng = space(), np.random.default_rng(5)
    for _ in range(10):
        genome = walked(tested, rng)
        with torch.device("meta"):
            model = tested.build(genome, task)
        assert tested.cost(genome, task) == measured(model, task), tested.format(genome)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.integers(5, 13),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_any_network_costs_what_it_has(
    seed: int, chain: bool, stem: int, stacks: int, cells: int, height: int, width: int
) -> None:
    import torch

    task = Task("any", 2, height, width, 3)
    tested = space(edges=21, chain=chain, stem_channels=stem, stacks=stacks, cells=cells)
    genome = walked(tested, np.random.default_rng(seed))
    with torch.device("meta"):
        model = tested.build(genome, task)
    assert tested.cost(genome, task) == measured(model, task)


def test_parts_of_the_network() -> None:
    from torch import nn

    tested = space(stem_channels=5, stacks=3, cells=2, norm_momentum=0.003)
    model: Any = tested.build(tested.parse("conv3x3(0)-maxpool3x3(1)-out(0+2)"), TASKS[1])
    cells = [f"stack{stack}_cell{cell}" for stack in (1, 2, 3) for cell in (1, 2)]
    cells[4:4], cells[2:2] = ["downsample3"], ["downsample2"]
    names = [name for name, _ in model.named_children()]
    assert names == ["stem", *cells, "pool", "flatten", "output"]
    assert (model.output.in_features, model.output.out_features) == (20, 10)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.momentum, layer.eps) == (0.003, 1e-5)
    first = model.stack2_cell1
    assert [first.operations["1"].convolution.in_channels, first.operations["1"].convolution.out_channels] == [10, 10]
    assert [first.projections["1"].convolution.in_channels, first.projections["3"].convolution.out_channels] == [5, 10]
    assert set(first.projections) == {"1", "3"}


def test_a_cell_is_the_sums_and_joins_of_its_graph() -> None:
    import torch
    from torch.nn import functional

    tested = space(stem_channels=7, stacks=1, cells=1)
    model: Any = tested.build(tested.parse("conv3x3(0)-maxpool3x3(0+1)-conv1x1(1+2)-out(0+2+3)"), TASKS[2])
    cell = model.stack1_cell1.eval()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 7, 5, 4, generator=generator)

    def applied(layer: Any, padding: int, image: torch.Tensor) -> torch.Tensor:
        # Fresh statistics are mean 0 and variance 1.
        return functional.conv2d(image, layer.convolution.weight, padding=padding).div((1 + 1e-5) ** 0.5).relu()

    projected = {vertex: applied(cell.projections[vertex], 0, features) for vertex in ("1", "2", "4")}
    assert set(cell.projections) == set(projected)
    one = applied(cell.operations["1"], 1, projected["1"])
    two = functional.max_pool2d(one + projected["2"], 3, stride=1, padding=1)
    # 7 channels are shared as 4 and 3, so vertex 3 takes the first 3 of the 4 of the others.
    three = applied(cell.operations["3"], 0, one[:, :3] + two[:, :3])
    expected = torch.cat([two, three], 1) + projected["4"]
    torch.testing.assert_close(cell(features), expected)


def test_a_cell_without_vertices_is_a_projection() -> None:
    tested = space(stem_channels=8, stacks=2, cells=1)
    model: Any = tested.build((2, 1), TASKS[0])
    assert [name for name, _ in model.stack2_cell1.named_parameters()] == [
        "projections.1.convolution.weight",
        "projections.1.norm.weight",
        "projections.1.norm.bias",
    ]


def test_initial_weights_follow_the_seed_and_the_benchmark() -> None:
    import torch

    tested = space(stem_channels=64, stacks=1, cells=1)
    genome = tested.parse("conv3x3(0)-out(1)")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = tested.build(genome, TASKS[0]).state_dict()
        second = tested.build(genome, TASKS[0]).state_dict()
        torch.manual_seed(1)
        third = tested.build(genome, TASKS[0]).state_dict()
    assert all(torch.equal(first[name], third[name]) for name in first)
    weight = first["stack1_cell1.operations.1.convolution.weight"]
    assert not torch.equal(weight, second["stack1_cell1.operations.1.convolution.weight"])
    deviation = (9 * 64) ** -0.5  # variance 1 / fan-in after the cut at two standard deviations before it
    assert float(weight.std()) == pytest.approx(deviation, rel=0.02)
    assert float(weight.abs().max()) == pytest.approx(2 * deviation / 0.8796, rel=0.02)
    assert float(first["output.weight"].abs().max()) == pytest.approx((6 / 164) ** 0.5, rel=0.02)
    assert not first["output.bias"].any()


@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_every_weight_learns_in_either_memory_format(layout: str) -> None:
    import torch

    tested = space(edges=10, stem_channels=7, stacks=2, cells=1)
    genome = tested.parse("conv3x3(0)-maxpool3x3(0+1)-conv1x1(1+2)-conv3x3(0)-out(0+2+3+4)")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tested.build(genome, TASKS[1]).to(memory_format=getattr(torch, layout))  # type: ignore[call-overload]
        images = torch.randn(8, 1, 13, 9).to(memory_format=getattr(torch, layout))
    output = model(images)
    output.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
