"""Search space nasbench201: which cells are the same network."""

from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome
from nasrun.spaces.nasbench201.encoding import EDGES
from nasrun.spaces.nasbench201.space import same_network
from tests.spaces.nasbench201_cells import EVERYTHING, space

# Which are the same network


Term = tuple[Any, ...]


def expression(genome: Genome) -> tuple[Term, ...]:
    """The summands of the output: ("x",) the input, else operation, edge, summands; pooling has edge -1."""
    nodes: list[tuple[Term, ...]] = [(("x",),), (), (), ()]
    for edge, ((target, source), operation) in enumerate(zip(EDGES, genome, strict=True)):
        added: tuple[Term, ...] = ()
        if operation == "skip_connect":
            added = nodes[source]
        elif operation == "avg_pool_3x3" and nodes[source]:
            added = ((operation, -1, nodes[source]),)
        elif str(operation).startswith("nor_conv"):
            added = ((operation if nodes[source] else "constant", edge, nodes[source]),)
        nodes[target] += added
    return nodes[3]


def written(terms: tuple[Term, ...], names: dict[int, int]) -> str:
    return "+".join(
        sorted("x" if term == ("x",) else f"{term[0]}{names.get(term[1])}({written(term[2], names)})" for term in terms)
    )


def edges_of(terms: tuple[Term, ...]) -> set[int]:
    within = [{term[1]} | edges_of(term[2]) for term in terms if term != ("x",)]
    return set().union(*within) - {-1}


@cache
def isomorphism_class(genome: Genome) -> tuple[str, dict[int, int]]:
    """The smallest way to write a cell, over all numberings of its convolutions, and that numbering by edge."""
    terms = expression(genome)
    edges = sorted(edges_of(terms))
    numberings = [dict(zip(edges, numbers, strict=True)) for numbers in permutations(range(len(edges)))]
    return min(((written(terms, names), names) for names in numberings), key=lambda pair: pair[0])


def test_same_network_is_isomorphism() -> None:
    """Held to a search through all numberings of the convolutions, for all 15,625."""
    pairs = {(same_network(genome), isomorphism_class(genome)[0]) for genome in EVERYTHING}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs}) == 5485


def published_form(genome: Genome, zeros: bool) -> str:
    """The rule by which the benchmark's paper counts topologies (`to_unique_str` in AutoDL-Projects): zeros are written
    as # and pass through operations, but stay in sums; a node that is passed on is one piece of the next sum."""
    nodes = ["0"]
    for target in (1, 2, 3):
        parts = []
        for (to, source), operation in zip(EDGES, genome, strict=True):
            if to != target:
                continue
            value = nodes[source]
            if zeros and (operation == "none" or value == "#"):
                parts.append("#")
            else:
                parts.append(value if operation == "skip_connect" else f"({value})@{operation}")
        nodes.append("+".join(sorted(parts)))
    return nodes[-1]


def test_counts_of_the_paper() -> None:
    assert len({published_form(genome, zeros=True) for genome in EVERYTHING}) == 6466
    assert len({published_form(genome, zeros=False) for genome in EVERYTHING}) == 12751


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # The same by way of another node, of skip connections, or with the summands in another order.
        ("3x3 none none skip 1x1 none", "skip 3x3 none none skip 1x1", True),
        ("3x3 none none skip 1x1 none", "1x1 none 3x3 skip none skip", False),
        ("3x3 none none skip skip none", "none none none 3x3 none none", False),
        ("3x3 none none none skip none", "none none none 3x3 none none", True),
        ("none skip none none none 3x3", "3x3 none skip none none skip", True),
        # What leads nowhere.
        ("3x3 1x1 none skip none none", "none none none skip none pool", True),
        # One convolution used twice is not two.
        ("3x3 none skip none skip skip", "3x3 3x3 none none skip skip", False),
        # A convolution of nothing is a constant, whatever the kernel, but not nothing.
        ("none none none skip 3x3 none", "none none none skip none 1x1", True),
        ("none none none skip 3x3 none", "none none none skip none none", False),
        ("none none none skip pool none", "none none none skip none none", True),
    ],
)
def test_same_network_by_example(first: str, second: str, same: bool) -> None:
    names = {"skip": "skip_connect", "pool": "avg_pool_3x3", "1x1": "nor_conv_1x1", "3x3": "nor_conv_3x3"}
    tested = space(merge_isomorphs=True)
    keys = [tested.key(tuple(names.get(word, word) for word in words.split())) for words in (first, second)]
    assert (keys[0] == keys[1]) == same


def test_key_is_the_genome_by_default() -> None:
    assert all(space().key(genome) == genome for genome in EVERYTHING[::97])


def test_same_networks_compute_the_same() -> None:
    """Real cells of one class, their convolutions given the same weights, against each other; and of others, not."""
    import torch

    from nasrun.spaces.nasbench201.network import Cell

    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    image, read_out = random(2, 2, 5, 5), random(2, 2, 5, 5)
    # By the number of a convolution, whatever its edge; a numbering may put either kernel there.
    weights = {(number, kernel): random(2, 2, kernel, kernel) for number in range(6) for kernel in (1, 3)}
    scales, shifts = random(6, 2), random(6, 2)
    outputs: dict[Any, list[float]] = {}
    rng = np.random.default_rng(4)
    for index in rng.permutation(len(EVERYTHING))[:1500]:
        genome = EVERYTHING[index]
        edges = [(target, source, name) for (target, source), name in zip(EDGES, genome, strict=True)]
        cell = Cell(edges, 2).double()  # in training mode, so that normalisation does something
        numbers = isomorphism_class(genome)[1]
        with torch.no_grad():
            for edge, (target, source) in enumerate(EDGES):
                if genome[edge].startswith("nor_conv") and edge in numbers:
                    module, number = cell.operations[f"{target}_{source}"], numbers[edge]
                    module.convolution.weight.copy_(weights[number, module.convolution.kernel_size[0]])
                    module.norm.weight.copy_(scales[number])
                    module.norm.bias.copy_(shifts[number])
            outputs.setdefault(same_network(genome), []).append(float((cell(image) * read_out).sum()))
    assert sum(len(values) > 1 for values in outputs.values()) > 100
    for values in outputs.values():
        assert values == pytest.approx([values[0]] * len(values), rel=1e-9, abs=1e-9)
    # Averages of sums are sums of averages, so that a few classes compute the same without being the same network.
    assert len({round(values[0], 6) for values in outputs.values()}) > 0.9 * len(outputs)
