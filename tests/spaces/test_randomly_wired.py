"""Search space randomly_wired: the graphs are those of their models, and the networks compute them."""

from itertools import combinations

import networkx
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nasrun.core import Task
from nasrun.core.options import ConfigError
from nasrun.spaces.randomly_wired.graphs import (
    Wiring,
    barabasi_albert,
    erdos_renyi,
    hangs_together,
    watts_strogatz,
    wiring,
)
from nasrun.spaces.randomly_wired.network import Stage
from nasrun.spaces.randomly_wired.space import RandomlyWired
from tests.support import setup_of

NODES = 12
TASK = Task("colour", 3, 9, 8, 5)


def space_of(**given: object) -> RandomlyWired:
    return RandomlyWired(**{"wirings": ["er-0.4", "ba-2", "ws-4-0.5"], "nodes": NODES, **given})  # type: ignore[arg-type]


def edges_of(graph: Wiring) -> set[tuple[int, int]]:
    return {(source, node) for node, sources in enumerate(graph.sources) for source in sources}


@pytest.mark.parametrize("name", ["er-0.2", "ba-1", "ba-5", "ws-2-1.0", "ws-4-0.75"])
def test_a_graph_hangs_together_and_follows_from_its_seed(name: str) -> None:
    found = {wiring(name, NODES, seed) for seed in range(20)}
    assert len(found) > 10
    for graph in found:
        edges = edges_of(graph)
        assert all(source < target for source, target in edges)
        assert networkx.is_connected(networkx.Graph(edges))
        assert networkx.Graph(edges).number_of_nodes() == NODES
        assert graph.ends == tuple(node for node in range(NODES) if all(node != source for source, _ in edges))
    wiring.cache_clear()
    assert {wiring(name, NODES, seed) for seed in range(20)} == found


def test_graphs_have_the_edges_of_their_models() -> None:
    rng = np.random.default_rng(0)
    counts = [len(erdos_renyi(NODES, 0.3, rng)) for _ in range(400)]
    assert np.mean(counts) == pytest.approx(0.3 * 66, abs=4 * np.std(counts) / 20)
    assert {len(barabasi_albert(NODES, joins, rng)) for joins in (1, 3) for _ in range(20)} == {11, 3 * 9}
    assert {len(watts_strogatz(NODES, 4, chance, rng)) for chance in (0.0, 0.5, 1.0) for _ in range(20)} == {24}
    ring = networkx.watts_strogatz_graph(NODES, 4, 0.0)
    assert {tuple(sorted(edge)) for edge in ring.edges} == watts_strogatz(NODES, 4, 0.0, rng)
    assert not hangs_together(4, {(0, 1), (2, 3)})


def test_degrees_are_those_that_networkx_draws() -> None:
    """Of many graphs: the mean of the largest degree, and how clustered they are."""
    rng, count, nodes = np.random.default_rng(1), 150, 20
    makers = {
        "ba": (lambda: barabasi_albert(nodes, 2, rng), lambda seed: networkx.barabasi_albert_graph(nodes, 2, seed)),
        "ws": (
            lambda: watts_strogatz(nodes, 4, 0.3, rng),
            lambda seed: networkx.watts_strogatz_graph(nodes, 4, 0.3, seed),
        ),
    }
    for own, library in makers.values():
        pairs = ([networkx.Graph(own()) for _ in range(count)], [library(seed) for seed in range(count)])
        for measure in (lambda graph: max(degree for _, degree in graph.degree), networkx.average_clustering):
            ours, theirs = ([float(measure(graph)) for graph in graphs] for graphs in pairs)
            error = (np.var(ours) / count + np.var(theirs) / count) ** 0.5
            assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def test_a_stage_computes_its_graph() -> None:
    graph = Wiring(((), (), (0, 1), (0,)))  # ends: 2 and 3
    stage = Stage(graph, 2, 4, stride=2).eval()
    weights = {name: weight for name, weight in stage.named_parameters() if name.startswith("edges")}
    assert list(weights) == ["edges2"]
    torch.nn.init.constant_(weights["edges2"], 1.0)
    images = torch.rand(3, 2, 7, 6)
    with torch.no_grad():
        first, second = stage.nodes[0](images), stage.nodes[1](images)
        share = torch.sigmoid(torch.tensor(1.0))
        third, fourth = stage.nodes[2](share * first + share * second), stage.nodes[3](first)
        torch.testing.assert_close(stage(images), (third + fourth) / 2)
    assert stage(images).shape == (3, 4, 4, 3)


@pytest.mark.parametrize("height", [8, 9])
def test_cost_is_what_torch_counts(height: int) -> None:
    space, task = space_of(channels=4), Task("colour", 3, height, 8, 5)
    for seed in range(5):
        genome = space.sample(np.random.default_rng(seed))
        model = space.build(genome, task).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.rand(1, 3, height, 8))
        assert space.cost(genome, task).flops == counter.get_total_flops()
        assert space.cost(genome, task).parameters == sum(weight.numel() for weight in model.parameters())


def test_equal_graphs_have_one_key_whatever_their_seeds() -> None:
    space = RandomlyWired(wirings=["ba-2"], nodes=3, stages=1, seeds=20)
    assert {space.key(genome) for genome in (("ba-2", seed) for seed in range(20))} == {(Wiring(((), (), (0, 1))),)}
    keys = {space_of().key(space_of().sample(np.random.default_rng(seed))) for seed in range(20)}
    assert len(keys) == 20


def test_layers_are_the_nodes_of_the_longest_way() -> None:
    space = RandomlyWired(wirings=["ba-1", "ws-2-0.0"], nodes=4, stages=2)
    assert space.layers(("ws-2-0.0", 0, "ws-2-0.0", 0)) == 8  # a ring, cut into a chain


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("wirings=[er]", "search_space.wirings=er: expected er-P, ba-M or ws-K-P"),
        ("wirings=[er-0.01]", "search_space.wirings=er-0.01: P is too small for a connected graph of 16 nodes"),
        ("wirings=[ba-16]", "search_space.wirings=ba-16: M must be from 1 to 15"),
        ("wirings=[ws-3-0.5]", "search_space.wirings=ws-3-0.5: K must be even"),
        ("nodes=2", "search_space.nodes=2: must be from 3 to 256"),
    ],
)
def test_what_is_no_wiring_is_refused_in_a_line(word: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("search_space=randomly_wired", f"search_space.{word}")
    assert str(caught.value).startswith(text), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_string_is_refused_by_stage() -> None:
    space = space_of(stages=2)
    for text, message in (
        ("er-0.4:1", "1 stages: expected 2"),
        ("er-0.4:1/x:2", "stage 2: expected one of er-0.4"),
        ("er-0.4:1/ba-2:64", "stage 2: expected ':' and a seed up to 63"),
    ):
        with pytest.raises(ValueError, match=message):
            space.parse(text)


def test_every_pair_of_tokens_is_a_network() -> None:
    space = space_of(stages=1, seeds=3)
    genomes = [(name, seed) for name in ("er-0.4", "ba-2", "ws-4-0.5") for seed in range(3)]
    assert len({space.key(genome) for genome in genomes}) == space.size == 9
    for one, other in combinations(genomes, 2):
        assert space.format(one) != space.format(other)
