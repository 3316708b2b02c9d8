"""Search space mlp: what is drawn, mutations, crossover and neighbours."""

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings

from nasrun.core import Genome
from nasrun.spaces.mlp.space import Mlp
from nasrun.spaces.mlp.widths import STEP
from tests.spaces.mlps import deep, seeds, space, spaces

# How it is drawn


def test_samples_are_even_over_octaves_over_widths_and_over_depths() -> None:
    def counts(values: list[int]) -> list[int]:
        return [count for _, count in sorted(Counter(values).items())]

    rng = np.random.default_rng(0)
    octaves, even, depths = (
        space(min_width=16, max_width=511),
        space(min_width=64, max_width=511, scale="linear"),
        deep(),
    )
    drawn = [
        counts([int(log2(width)) for _ in range(4000) for width in octaves.widths_of(octaves.sample(rng))]),
        counts([width // 64 for _ in range(4000) for width in even.widths_of(even.sample(rng))]),
        counts([int(depths.sample(rng)[0]) for _ in range(4000)]),
    ]
    assert [len(shares) for shares in drawn] == [5, 7, 4]
    for shares in drawn:
        expected = sum(shares) / len(shares)
        assert all(abs(share - expected) < 4 * expected**0.5 for share in shares)


def test_uniform_vectors_decode_to_what_is_drawn() -> None:
    rng = np.random.default_rng(1)
    chosen = space(widths=[16, 32, 64, 128])
    decoded = Counter(chosen.decode(rng.random(2)) for _ in range(8000))
    assert len(decoded) == 16
    assert max(decoded.values()) < 1.3 * min(decoded.values())


# How it is varied


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_mutations_change_what_they_are_called_after(chosen: Mlp, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name, mutate in chosen.mutations.items():
        parent = chosen.sample(rng)
        child = mutate(parent, rng)
        chosen.validate(child)
        before, after = chosen.widths_of(parent), chosen.widths_of(child)
        if name == "activation":
            assert before == after
            assert parent[-1] != child[-1]
            continue
        assert parent[1 + len(before) :] == child[1 + len(after) :]
        if name == "add_layer":
            expected = min(len(before) + 1, chosen.max_depth)
            assert len(after) == expected
            assert any(after[:i] + after[i + 1 :] == before for i in range(len(after))) or before == after
        elif name == "remove_layer":
            assert len(after) == max(len(before) - 1, chosen.min_depth)
            assert any(before[:i] + before[i + 1 :] == after for i in range(len(before))) or before == after
        else:
            changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
            if name == "swap":
                assert sorted(before) == sorted(after)
                assert len(changed) == (0 if len(set(before)) == 1 else 2)
            else:
                assert len(changed) == (len(chosen.widths) > 1)


def test_steps_are_small_and_new_widths_are_anywhere() -> None:
    chosen, rng = space(min_width=16, max_width=1024), np.random.default_rng(2)
    genome: Genome = (2, 128, 128)

    def distances(name: str) -> list[float]:
        children = [chosen.mutations[name](genome, rng) for _ in range(500)]
        return [float(np.abs(chosen.encode(child) - chosen.encode(genome)).sum()) for child in children]

    assert 0.9 * STEP < max(distances("step_width")) < 1.05 * STEP
    assert max(distances("new_width")) > 0.45


def test_which_mutations_there_are() -> None:
    assert list(space().mutations) == ["step_width", "new_width", "swap"]
    assert list(space(min_depth=1, max_depth=1).mutations) == ["step_width", "new_width"]
    assert list(deep().mutations) == ["step_width", "new_width", "swap", "add_layer", "remove_layer", "activation"]


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_a_crossover_has_layers_of_its_parents_in_their_places(chosen: Mlp, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = chosen.sample(rng), chosen.sample(rng)
    child = chosen.crossover(first, second, rng)
    chosen.validate(child)
    assert child[0] in (first[0], second[0])
    parents = [chosen.widths_of(first), chosen.widths_of(second)]
    for place, width in enumerate(chosen.widths_of(child)):
        assert width in {parent[place] for parent in parents if place < len(parent)}
    assert child[1 + int(child[0]) :] in (first[1 + int(first[0]) :], second[1 + int(second[0]) :])


def test_crossover_reaches_all_mixtures() -> None:
    rng = np.random.default_rng(3)
    children = {space().crossover((2, 16, 32), (2, 64, 128), rng) for _ in range(100)}
    assert children == {(2, 16, 32), (2, 16, 128), (2, 64, 32), (2, 64, 128)}


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_neighbours_are_few_valid_and_others(chosen: Mlp, seed: int) -> None:
    genome = chosen.sample(np.random.default_rng(seed))
    found = chosen.neighbours(genome)
    assert len(set(found)) == len(found) <= 8 * len(genome) + len(chosen.activations)
    assert genome not in found
    for near in found:
        chosen.validate(near)
    assert found or chosen.size == 1


def test_neighbours_step_by_one_by_a_little_and_by_much() -> None:
    chosen = space(min_depth=1, max_depth=1, min_width=16, max_width=1024)
    widths = [near[1] for near in chosen.neighbours((1, 128))]
    assert widths == sorted(widths)
    assert {127, 129} <= set(widths)
    assert widths[0] == pytest.approx(128 / 2**1.5, rel=0.03)
    assert widths[-1] == pytest.approx(128 * 2**1.5, rel=0.03)
    assert len(widths) == 6
    listed = space(min_depth=1, max_depth=2, widths=[16, 32, 64], activations=["relu", "tanh"])
    assert listed.neighbours((1, 32, "relu")) == [
        (1, 16, "relu"), (1, 64, "relu"), (2, 32, 32, "relu"), (1, 32, "tanh")
    ]  # fmt: skip


def test_choices_of_wide_ranges_are_made_once() -> None:
    chosen = space(min_width=1, max_width=65_536)
    assert chosen.choices((2,)) is chosen.choices((2, 5))
    assert chosen.choices((2, 5, 5)) == ()
