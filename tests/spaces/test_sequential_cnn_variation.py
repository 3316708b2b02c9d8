"""Search space sequential_cnn: what is drawn, mutations and crossover."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from nasrun.core import Genome
from tests.spaces.sequential_cnns import everything, join, layers, small, space

# Drawing


def test_sample_is_uniform_given_the_depth() -> None:
    tested, rng = small(max_depth=3), np.random.default_rng(0)
    draws = 40_000
    counts = Counter(tested.sample(rng) for _ in range(draws))
    for depth in (2, 3):
        genomes = everything(range(depth, depth + 1), [8, 16])
        chance = 0.5 / len(genomes)
        for genome in genomes:
            assert abs(counts.pop(genome, 0) - draws * chance) < 5 * (draws * chance) ** 0.5
    assert not counts


def test_sample_draws_filters_kernels_and_activations_independently() -> None:
    tested, rng = space(filters=[1, 2, 3], kernels=[3, 1], activations=["gelu", "relu"]), np.random.default_rng(1)
    counts = Counter(layer for _ in range(4_000) for layer in layers(tested.sample(rng)))
    for kind in "NR":
        total = sum(count for layer, count in counts.items() if layer[0] == kind)
        for attributes in product([1, 2, 3], [3, 1], ["gelu", "relu"]):
            assert abs(counts[kind, *attributes] - total / 12) < 5 * (total / 12) ** 0.5


# Mutations and crossover


def children(name: str, parent: Genome, pool: set[Genome]) -> set[Genome]:
    """What a mutation may make of a parent, by its definition, out of all genomes of the space."""
    rows, found = layers(parent), set()
    depth = len(rows)
    for i, j in combinations(range(depth), 2):
        if name == "swap":
            found.add(join([*rows[:i], rows[j], *rows[i + 1 : j], rows[i], *rows[j + 1 :]]))
        if name == "inversion":
            found.add(join([*rows[:i], *reversed(rows[i : j + 1]), *rows[j + 1 :]]))
    place = {"filters": 1, "kernel": 2, "activation": 3}.get(name)
    for other in pool:
        theirs = layers(other)
        differing = [(a, b) for a, b in zip(rows, theirs, strict=False) if a != b]
        if len(theirs) == depth and len(differing) == 1:
            changed = {k for k in range(4) if differing[0][0][k] != differing[0][1][k]}
            if changed == {place} or (name == "replace_layer" and 0 not in changed):
                found.add(other)
        if name == "add_layer" and any(theirs[:i] + theirs[i + 1 :] == rows for i in range(len(theirs))):
            found.add(other)
        if name == "remove_layer" and any(rows[:i] + rows[i + 1 :] == theirs for i in range(depth)):
            found.add(other)
    return found - {parent}


@pytest.mark.parametrize("name", space().mutations)
@pytest.mark.parametrize(
    ("filters", "kernels", "names"), [([8, 16], [3], ["relu"]), ([8], [1, 5], ["relu"]), ([8], [3], ["relu", "tanh"])]
)
def test_mutations_reach_exactly_their_children(
    name: str, filters: list[int], kernels: list[int], names: list[str]
) -> None:
    tested = small(filters=filters, kernels=kernels, activations=names)
    genomes = everything(range(2, 5), filters, kernels, names)
    pool, rng = set(genomes), np.random.default_rng(2)
    for parent in genomes[:: 1 if name in ("swap", "inversion") else 3]:
        expected = children(name, parent, pool)
        draws = 60 * max(1, len(expected))
        found = Counter(tested.mutations[name](parent, rng) for _ in range(draws))
        assert set(found) == (expected or {parent})
        # A layer put beside its like, or taken from there, makes some children more likely than others.
        if name not in ("add_layer", "remove_layer"):
            assert max(found.values()) < 60 + 5 * 60**0.5 or not expected


@pytest.mark.parametrize("name", space().mutations)
def test_mutations_without_alternative_give_the_parent(name: str) -> None:
    tested = small(min_depth=2, max_depth=2, filters=[8])
    only: Genome = (2, "R", 8, 3, "relu", "R", 8, 3, "relu")
    assert tested.mutations[name](only, np.random.default_rng(0)) is only


def stretches(first: Genome, second: Genome, low: int, high: int) -> set[Genome]:
    """All children of a pair: a stretch of the first, not all of it, replaced by one of the second, not empty."""
    ours, theirs, found = layers(first), layers(second), set()
    for i, j in combinations(range(len(ours) + 1), 2):
        for a, b in ((i, j), (i, i), (j, j)):
            for k, m in combinations(range(len(theirs) + 1), 2):
                child = ours[:a] + theirs[k:m] + ours[b:]
                if b - a < len(ours) and low <= len(child) <= high and sum(part[0] == "R" for part in child) == 2:
                    found.add(join(child))
    return found


@pytest.mark.parametrize("limits", [(2, 4), (4, 4)])
def test_crossover_reaches_exactly_its_children(limits: tuple[int, int]) -> None:
    low, high = limits
    tested, rng = small(min_depth=low, max_depth=high, filters=[1, 2]), np.random.default_rng(3)
    firsts, seconds = (everything(range(low, high + 1), [width]) for width in (1, 2))
    for first, second in product(firsts, seconds):
        expected = stretches(first, second, low, high)
        found = {tested.crossover(first, second, rng) for _ in range(60 * len(expected))}
        assert found == expected
        for child in found:  # the parents share no layer
            assert {part[1] for part in layers(child)} == {1, 2}


def test_crossover_of_parents_with_reductions_at_opposite_ends() -> None:
    tested, rng = space(min_depth=6, max_depth=6), np.random.default_rng(4)
    normal, reduction = ("N", 8, 3, "relu"), ("R", 16, 1, "tanh")
    first, second = join([reduction] * 2 + [normal] * 4), join([normal] * 4 + [reduction] * 2)
    for _ in range(200):
        child = tested.crossover(first, second, rng)
        tested.validate(child)
        assert sum(kind == "R" for kind, *_ in layers(child)) == 2
