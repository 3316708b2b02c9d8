"""`SearchSpace.peak_values`: the formulas equal what the built networks need, by the lifetime of each value."""

import math

import numpy as np
import pytest
import torch
from torch.fx import Node

from nasrun.config.constraints import ConstraintOptions
from nasrun.core import Cost, Genome, SearchSpace, Task
from nasrun.core.options import ConfigError
from nasrun.strategies.wrappers import Constraints, Price
from tests.support import setup_of

IN_PLACE = ("batch_norm", "relu", "hardswish", "sigmoid", "tanh", "silu", "gelu", "add", "mul", "dropout")
VIEWS = ("view", "flatten", "reshape", "getitem")
SPACES = ["staged_cnn", "sequential_cnn", "mlp"]
TASKS = [Task("small", 3, 17, 12, 7), Task("large", 1, 100, 60, 3)]


def needed(space: SearchSpace, genome: Genome, task: Task) -> int:
    """Values in memory at a time at most, from the graph of the built network: each lives until its last use."""
    with torch.device("meta"):
        network = space.build(genome, task).eval()
        image = torch.empty(1, task.channels, task.height, task.width)
    graph = torch.export.export(network, (image,)).graph
    nodes = [node for node in graph.nodes if node.op != "output"]
    last = {argument: place for place, node in enumerate(nodes) for argument in node.all_input_nodes}
    sizes: dict[int, int] = {}
    storage: dict[Node, int] = {}
    most = 0
    for place, node in enumerate(nodes):
        value = node.meta["val"]
        if node.op == "placeholder" and node.name != "input" and "input" not in node.name:
            continue  # weights
        sources = [argument for argument in node.all_input_nodes if argument in storage]
        name = str(node.target)
        dying = [one for one in sources if last[one] == place and one.meta["val"].numel() == math.prod(value.shape)]
        if any(f"aten.{view}" in name for view in VIEWS):
            storage[node] = storage[sources[0]]
        elif any(f"aten.{word}" in name for word in IN_PLACE) and dying:
            storage[node] = storage[dying[0]]
        else:
            storage[node] = place
            sizes[place] = math.prod(value.shape)
        alive = {storage[node], *(storage[one] for one in storage if last.get(one, -1) >= place)}
        most = max(most, sum(sizes[one] for one in alive))
    return most


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("name", SPACES)
def test_the_formula_is_what_the_network_needs(name: str, task: Task) -> None:
    space = setup_of(f"search_space={name}").space
    rng = np.random.default_rng(4)
    genomes = [*space.known().values(), *(space.sample(rng) for _ in range(6))]
    assert [space.peak_values(genome, task) for genome in genomes] == [needed(space, g, task) for g in genomes]


def test_every_kind_of_block_counts() -> None:
    space, task = setup_of("search_space=staged_cnn").space, TASKS[0]
    stem = "relu-cn_r1_k3_s1_c8"
    for block in ("bb_r1_k3", "cn_r1_k3", "cn_r1_k1", "ds_r1_k3"):
        for stride in (1, 2):
            for width in (8, 12):
                genome = space.parse(f"{stem}-{block}_s{stride}_c{width}")
                assert space.peak_values(genome, task) == needed(space, genome, task), space.format(genome)
    for block in ("ir_r2_k3_s{}_e{}_c{}", "ir_r2_k3_s{}_e{}_c{}_se0.25", "er_r2_k3_s{}_e{}_c{}"):
        for stride, expansion, width in ((1, 1, 8), (2, 1, 12), (1, 4, 8), (2, 4, 8), (1, 2, 20)):
            genome = space.parse(f"{stem}-{block.format(stride, expansion, width)}")
            assert space.peak_values(genome, task) == needed(space, genome, task), space.format(genome)


def test_a_model_has_the_bytes_of_its_weights() -> None:
    setup = setup_of("search_space=staged_cnn")
    space, task = setup.space, setup.dataset.task
    genome = next(iter(space.known().values()))
    for bits, dtype in ((32, torch.float32), (16, torch.float16)):
        limits = ConstraintOptions(model_bytes=10**9, peak_memory=10**9, bits=bits).resolved(space, task)
        measured = limits.measured(limits.price(space, genome, task))
        weights = space.build(genome, task).to(dtype).parameters()
        assert measured["model_bytes"] == sum(one.numel() * one.element_size() for one in weights)
        assert measured["peak_memory"] == needed(space, genome, task) * bits // 8


@pytest.mark.parametrize("words", ["constraints.model_bytes=30000", "constraints.peak_memory=20000"])
@pytest.mark.parametrize("bits", [32, 8])
def test_limits_in_bytes_steer(words: str, bits: int) -> None:
    setup = setup_of("search_space=staged_cnn", words, f"constraints.bits={bits}")
    rng, task = np.random.default_rng(0), setup.dataset.task
    drawn = [setup.steered.sample(rng) for _ in range(40)]
    shares = [setup.constraints.usage(setup.constraints.price(setup.space, genome, task)) for genome in drawn]
    assert max(shares) <= 1
    assert np.mean(np.array(shares) > 0.8) > 0.7


def test_what_is_over_a_limit_in_bytes_is_turned_down_by_name() -> None:
    limits = Constraints(model_bytes=100_000, peak_memory=1000)
    prices = [limits.exceeded(cost) for cost in (Cost(25_001, 1), Cost(25_000, 1))]
    assert prices == [["constraints.model_bytes=100000 (100,004 bytes)"], []]
    assert limits.exceeded(Price(1, 1, 251)) == ["constraints.peak_memory=1000 (1,004 bytes)"]


def test_a_space_without_a_formula_says_so() -> None:
    with pytest.raises(ConfigError, match=r"constraints.peak_memory=9: this search space has no formula"):
        setup_of("search_space=micro_cell", "constraints.peak_memory=9")
    with pytest.raises(ConfigError, match=r"constraints.model_bytes=9: none of .* smallest among them: model_bytes "):
        setup_of("search_space=staged_cnn", "constraints.model_bytes=9")
