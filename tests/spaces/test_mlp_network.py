"""Search space mlp: prices and networks."""

import pytest

from nasrun.core import Cost, Genome, Task
from tests.spaces.mlps import ACTIVATIONS, space

MNIST = Task("mnist", 1, 28, 28, 10)
TASKS = [MNIST, Task("colour", 3, 32, 32, 100), Task("odd", 2, 7, 5, 3)]


# What it costs and builds


def test_the_cost_of_a_network_of_the_paper() -> None:
    cost = space().cost((2, 448, 65), MNIST)
    assert cost == Cost(784 * 448 + 448 + 448 * 65 + 65 + 65 * 10 + 10, 2 * (784 * 448 + 448 * 65 + 65 * 10))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_flops_are_those_that_torch_counts(task: Task) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    genome: Genome = (3, 17, 8, 30)
    chosen = space(min_depth=3, max_depth=3)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        chosen.build(genome, task)(torch.empty(1, task.channels, task.height, task.width))
    assert counter.get_total_flops() == chosen.cost(genome, task).flops


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_networks_are_plain_sequences(dropout: float) -> None:
    from torch import nn

    from nasrun.training.dense.steps import dense_shape

    model = space(dropout=dropout).build((2, 448, 65), MNIST)
    hidden = [nn.Linear, nn.ReLU, *([nn.Dropout] if dropout else [])]
    assert [type(part) for part in model.children()] == [nn.Flatten, *hidden, *hidden, nn.Linear]
    assert dense_shape(model) == ((784, 448, 65, 10), (True, True), (dropout, dropout))
    assert all(part.p == dropout for part in model.modules() if isinstance(part, nn.Dropout))


def test_the_last_hidden_layer_can_be_linear() -> None:
    from nasrun.training.dense.steps import dense_shape

    model = space(dropout=0.2, last_linear=True).build((2, 448, 65), MNIST)
    assert dense_shape(model) == ((784, 448, 65, 10), (True, False), (0.2, 0.0))


def test_activations_are_those_of_the_genome() -> None:
    from torch import nn

    kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "swish": nn.SiLU, "gelu": nn.GELU}
    chosen = space(activations=ACTIVATIONS)
    for name, kind in kinds.items():
        parts = [type(part) for part in chosen.build((2, 16, 8, name), MNIST).children()]
        assert parts.count(kind) == 2
    alone = space(activations=["tanh"]).build((2, 16, 8), MNIST)
    assert [type(part) for part in alone.children()].count(nn.Tanh) == 2


def test_initial_weights_are_glorot_uniform_and_repeat() -> None:
    import torch

    models = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            models.append(space().build((2, 300, 100), MNIST).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["1.weight"], models[2]["1.weight"])
    for name, values in models[0].items():
        if name.endswith("bias"):
            assert not values.any()
        else:
            bound = (6 / sum(values.shape)) ** 0.5
            assert float(values.abs().max()) == pytest.approx(bound, rel=0.02)
            assert float(values.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
