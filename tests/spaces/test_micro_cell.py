"""Micro cells: price, sameness, and networks of one architecture that are a part of the network of all."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nasrun.core import Genome, Task
from nasrun.spaces.micro_cell.encoding import blocks_of, canonical, loose_ends
from nasrun.spaces.micro_cell.space import MicroCell

OPERATIONS: Any = ["conv3", "conv5", "avg3", "max3", "identity"]
COLOUR = Task("colour", 3, 13, 11, 7)


def space_of(**options: Any) -> MicroCell:
    return MicroCell(**{"operations": OPERATIONS, "blocks": 3, "layout": "cr", "channels": 4, **options})


def relabelled(cell: Genome, order: tuple[int, ...], swap: int) -> Genome | None:
    """The cell with its blocks in another order and the halves of some exchanged; None where an input would come
    after what uses it."""
    blocks = list(blocks_of(cell))
    names = {0: 0, 1: 1} | {old + 2: new + 2 for new, old in enumerate(order)}
    tokens: list[int | str] = []
    for new, old in enumerate(order):
        one, two, first, second = blocks[old]
        inputs = [names[int(one)], names[int(two)]]
        if max(inputs) >= new + 2:
            return None
        operations = [first, second]
        if swap >> new & 1:
            inputs.reverse()
            operations.reverse()
        tokens += [*inputs, *operations]
    return tuple(tokens)


def test_size_and_loose_ends() -> None:
    space = space_of(blocks=1, layout="c")
    assert space.size == 2 * 2 * 5 * 5
    genome = space.parse("0:conv3+0:max3")
    assert genome == (0, 0, "conv3", "max3")
    assert loose_ends(genome) == (1, 2)
    both = space_of().parse(
        "0:conv3+1:avg3/2:max3+0:identity/0:conv5+0:conv5|1:conv3+1:avg3/1:max3+1:max3/2:conv5+3:conv5"
    )
    assert [loose_ends(cell) for cell in space_of().cells(both)] == [(3, 4), (0, 4)]


def test_a_string_is_refused_by_character() -> None:
    with pytest.raises(
        ValueError, match=r"^character 9 \(convolution cell, block 1, input 2\): expected one of 0, 1; got"
    ):
        space_of(layout="c").parse("0:conv3+2:avg3/2:max3+0:identity/0:conv5+0:conv5")
    with pytest.raises(ValueError, match="expected the end"):
        space_of(layout="c", blocks=1).parse("0:conv3+1:avg3/")
    with pytest.raises(ValueError, match=r"^layout=ccx: expected a letter per cell"):
        space_of(layout="ccx")


@given(st.integers(0, 10**6), st.permutations(range(4)), st.integers(0, 15))
@settings(max_examples=200, deadline=None)
def test_the_key_ignores_order_and_nothing_else(seed: int, order: list[int], swap: int) -> None:
    space = space_of(blocks=4, layout="c", operations=["conv3", "max3"])
    genome = space.sample(np.random.default_rng(seed))
    other = relabelled(genome, tuple(order), swap)
    if other is not None:
        assert space.key(other) == space.key(genome)


def test_equal_keys_are_relabellings() -> None:
    """All cells of three blocks with one operation: two have the same key exactly if one is the other relabelled."""
    space = space_of(blocks=3, layout="c", operations=["conv3"])
    genomes: list[Genome] = [()]
    while space.choices(genomes[0]):
        genomes = [(*prefix, token) for prefix in genomes for token in space.choices(prefix)]
    assert len(genomes) == space.size
    keys = {genome: canonical(genome) for genome in genomes}
    for genome in genomes[::7]:
        ours = {relabelled(genome, order, swap) for order in permutations(range(3)) for swap in range(8)}
        assert {other for other in genomes if keys[other] == keys[genome]} == ours - {None}


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("layout", ["ccrccr", "rrc", "crrr", "c"])
def test_cost_is_what_torch_counts(layout: str, separable: bool) -> None:
    space = space_of(layout=layout, separable=separable, channels=3, stem=1 if separable else 3)
    rng = np.random.default_rng(1)
    for _ in range(4):
        genome = space.sample(rng)
        model = space.build(genome, COLOUR)
        with FlopCounterMode(display=False) as counter:
            assert model(torch.rand(2, 3, 13, 11)).shape == (2, 7)
        cost = space.cost(genome, COLOUR)
        assert counter.get_total_flops() == 2 * cost.flops
        assert sum(weight.numel() for weight in model.parameters()) == cost.parameters


def test_an_architecture_is_a_part_of_the_shared_network() -> None:
    from nasrun.spaces.micro_cell.network import MicroNetwork

    space = space_of(layout="crc")
    shared = MicroNetwork(space, COLOUR)
    images = torch.rand(6, 3, 13, 11)
    rng = np.random.default_rng(2)
    weights = dict(shared.named_parameters())
    for _ in range(5):
        genome = space.sample(rng)
        alone = space.build(genome, COLOUR)
        own = dict(alone.named_parameters())
        alone.load_state_dict({name: weights[name].detach() for name in own}, strict=False)
        assert torch.equal(alone.train()(images), shared(images, genome))
        shared.zero_grad()
        shared(images, genome).sum().backward()
        # Nothing outside of the sampled path is computed: no gradient reaches it.
        assert {name for name, weight in weights.items() if weight.grad is not None} == set(own)


EVERY: Any = ["identity", "conv3", "conv5", "conv7", "avg3", "max3", "dil3", "conv1x7"]


@pytest.mark.parametrize("separable", [True, False])
def test_all_operations_and_joins_of_nasnet(separable: bool) -> None:
    """Price by formula, and networks that are a part of the shared one: every operation, joins of both kinds."""
    from nasrun.spaces.micro_cell.network import MicroNetwork

    space = space_of(layout="crcc", operations=EVERY, join="each", separable=separable, stem=3)
    shared, images, rng = MicroNetwork(space, COLOUR), torch.rand(6, 3, 13, 11), np.random.default_rng(2)
    weights, seen = dict(shared.named_parameters()), set()
    for _ in range(4):
        genome = space.sample(rng)
        seen |= set(genome)
        model = space.build(genome, COLOUR)
        with FlopCounterMode(display=False) as counter:
            model(images[:2])
        cost = space.cost(genome, COLOUR)
        assert counter.get_total_flops() == 2 * cost.flops
        own = dict(model.named_parameters())
        assert sum(weight.numel() for weight in own.values()) == cost.parameters
        model.load_state_dict({name: weights[name].detach() for name in own}, strict=False)
        assert torch.equal(model.train()(images), shared(images, genome))
        shared.zero_grad()
        shared(images, genome).sum().backward()
        assert {name for name, weight in weights.items() if weight.grad is not None} == set(own)
    assert seen >= set(EVERY)


def test_the_last_two_cells_join_once() -> None:
    each, once = space_of(layout="ccc", join="each"), space_of(layout="ccc")
    genome = each.sample(np.random.default_rng(0))
    loose = len(loose_ends(genome))
    more = each.cost(genome, COLOUR).parameters - once.cost(genome, COLOUR).parameters
    assert more == loose * each.channels**2 + 2 * each.channels
    assert [place.outputs for place in each.places(COLOUR)] == [2, 1, 1]


def test_dilated_taps_are_two_pixels_apart() -> None:
    space = space_of(blocks=1, layout="c", operations=EVERY, separable=False)
    network = space.build(space.parse("0:dil3+1:conv1x7"), COLOUR)
    shapes = {
        (module.kernel_size, module.padding, module.dilation)
        for module in network.get_submodule("cells.0.operations").modules()
        if isinstance(module, torch.nn.Conv2d)
    }
    assert shapes == {((3, 3), (2, 2), (2, 2)), ((1, 7), (0, 3), (1, 1)), ((7, 1), (3, 0), (1, 1))}


def test_weights_start_as_he_says() -> None:
    torch.manual_seed(0)
    space = space_of(channels=64, layout="c", blocks=1)
    model = space.build(space.parse("0:conv3+1:conv5"), Task("grey", 1, 8, 8, 10))
    weights = {name: weight for name, weight in model.named_parameters() if weight.ndim == 4}
    assert len(weights) == 10
    for name, weight in weights.items():
        expected = (2 / weight[0].numel()) ** 0.5
        assert abs(weight.std().item() / expected - 1) < 0.25, name
