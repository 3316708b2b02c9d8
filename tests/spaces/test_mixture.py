"""Networks of mixed operations: what they compute is the weighted sum, of one architecture that architecture itself."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nasrun.core import SearchSpace, Task
from nasrun.spaces.layers import partly
from nasrun.spaces.micro_cell.encoding import loose_ends
from nasrun.spaces.mixture import Mixture
from nasrun.spaces.nasbench201.encoding import EDGES, OPERATIONS
from tests.support import setup_of

SPACES = {
    "micro_cell": ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4"),
    "nasbench201": ("search_space.channels=4", "search_space.cells=1"),
}
TASK = Task("colour", 3, 9, 8, 5)

spaces = pytest.mark.parametrize("name", SPACES)


def space_of(name: str) -> SearchSpace:
    return setup_of(f"search_space={name}", *SPACES[name]).space


def network(space: SearchSpace, partial: int = 1, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return space.relaxed(TASK, partial).double()


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 9, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def one_hot(space: SearchSpace, genome: Any) -> list[Tensor]:
    pairs = zip(space.positions(), genome, strict=True)
    return [torch.tensor([float(token == chosen) for token in choices]).double() for choices, chosen in pairs]


def random_weights(space: SearchSpace, seed: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(len(choices), generator=generator).double().softmax(0) for choices in space.positions()]


@spaces
def test_positions_are_the_choices_of_any_genome(name: str) -> None:
    space = space_of(name)
    genome = space.sample(np.random.default_rng(0))
    assert len(space.positions()) == len(genome)
    for position, choices in enumerate(space.positions()):
        assert choices == space.choices(genome[:position])


@spaces
@pytest.mark.parametrize("partial", [1, 2])
def test_all_weight_on_one_architecture_is_that_architecture(name: str, partial: int) -> None:
    space = space_of(name)
    model = network(space, partial)
    rng = np.random.default_rng(2)
    for _ in range(5):
        genome = space.sample(rng)
        weights = one_hot(space, genome)
        alone = model(images(), genome)
        chosen = [[choices.index(token)] for choices, token in zip(space.positions(), genome, strict=True)]
        assert torch.equal(model(images(), Mixture.weighted(space.positions(), weights, chosen)), alone)
        torch.testing.assert_close(model(images(), Mixture.weighted(space.positions(), weights)), alone)


@spaces
def test_without_partial_channels_it_is_the_supernet(name: str) -> None:
    space = space_of(name)
    torch.manual_seed(1)
    shared = space.supernet(TASK).double()
    genome = space.sample(np.random.default_rng(4))
    assert torch.equal(network(space)(images(), genome), shared(images(), genome))


@spaces
def test_the_gradient_of_the_weights_is_that_of_finite_differences(name: str) -> None:
    space = space_of(name)
    model = network(space)
    weights = [row.requires_grad_() for row in random_weights(space)]
    labels = torch.arange(6) % 5

    def loss() -> Tensor:
        return functional.cross_entropy(model(images(), Mixture.weighted(space.positions(), weights)), labels)

    gradients = torch.autograd.grad(loss(), weights)
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)
    step = 1e-7
    for row, gradient in zip(weights, gradients, strict=True):
        for place in range(len(row)):
            ends = []
            for change in (step, -step):
                with torch.no_grad():
                    row[place] += change
                    ends.append(loss().item())
                    row[place] -= change
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(gradient[place].item(), rel=1e-3, abs=1e-7)


def test_an_edge_of_nasbench201_is_the_sum_of_its_weighted_operations() -> None:
    space = space_of("nasbench201")
    cell = network(space).stage1_cell1
    weights, features = random_weights(space), torch.rand(2, 4, 5, 5).double()
    edges = [torch.tensor(0.5 + number / 10).double() for number in range(len(EDGES))]

    def edge(number: int, value: Tensor) -> Tensor:
        target, source = EDGES[number]
        own = cell.operations[f"{target}_{source}"]
        results = {
            "none": torch.zeros_like(value),
            "skip_connect": value,
            "nor_conv_1x1": own["nor_conv_1x1"](value),
            "nor_conv_3x3": own["nor_conv_3x3"](value),
            "avg_pool_3x3": functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False),
        }
        pairs = zip(weights[number], OPERATIONS, strict=True)
        return edges[number] * sum((weight * results[name] for weight, name in pairs), torch.zeros_like(value))

    first = edge(0, features)
    second = edge(1, features) + edge(2, first)
    third = edge(3, features) + edge(4, first) + edge(5, second)
    found = cell(features, Mixture.weighted(space.positions(), weights, edges=edges))
    torch.testing.assert_close(found, third)


def test_a_node_of_micro_cell_is_loose_as_often_as_in_architectures_drawn_by_the_weights() -> None:
    space = setup_of(
        "search_space=micro_cell", "search_space.blocks=3", "search_space.layout=c", "search_space.operations=[conv3]"
    ).space
    cell = space.relaxed(TASK).cells[0]
    weights = random_weights(space)
    mixture = Mixture.weighted(space.positions(), weights)
    expected = [0.0] * 5
    inputs = [position for position, choices in enumerate(space.positions()) if choices[0] == 0]
    for drawn in itertools.product(*(range(len(space.positions()[position])) for position in inputs)):
        genome = [choices[0] for choices in space.positions()]
        chance = 1.0
        for position, token in zip(inputs, drawn, strict=True):
            genome[position] = token
            chance *= weights[position][token].item()
        for node in loose_ends(tuple(genome)):
            expected[node] += chance
    for node in range(5):
        weight = cell.loose_end(node, mixture).weight
        assert (1.0 if weight is None else weight.item()) == pytest.approx(expected[node])


@spaces
def test_operations_without_weight_are_not_computed(name: str) -> None:
    space = space_of(name)
    model = network(space)
    calls: list[Any] = []
    for candidate in model.candidates():
        for module in candidate.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda *called: calls.append(called[0]))
    genome = space.sample(np.random.default_rng(5))
    model(images(), genome)
    alone, places = len(calls), [[choices.index(t)] for choices, t in zip(space.positions(), genome, strict=True)]
    model(images(), Mixture.weighted(space.positions(), one_hot(space, genome), places))
    assert len(calls) == 2 * alone
    model(images(), Mixture.weighted(space.positions(), random_weights(space)))
    assert len(calls) > 4 * alone


def test_a_share_of_the_channels_is_worked_on_and_all_are_shuffled() -> None:
    features = torch.arange(8.0).view(1, 8, 1, 1)
    found = partly(lambda value: value * 10, features, 4).flatten().tolist()
    # Shares (0, 1), (2, 3), (4, 5), (6, 7): the first of each, then the second of each.
    assert found == [0, 2, 4, 6, 10, 3, 5, 7]
    assert partly(lambda value: None, features, 4).flatten().tolist() == [0, 2, 4, 6, 0, 3, 5, 7]


@spaces
def test_operations_on_a_share_of_the_channels_are_as_much_smaller(name: str) -> None:
    space = space_of(name)
    sizes = []
    for partial in (1, 2):
        candidates = network(space, partial).candidates()
        modules = [module for candidate in candidates for module in candidate.modules()]
        plain = [one for one in modules if isinstance(one, torch.nn.Conv2d) and one.groups == 1]
        sizes.append(sum(one.weight.numel() for one in plain))
    assert sizes[0] == 4 * sizes[1]
