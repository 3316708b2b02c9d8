"""Stages of blocks: what is in the space, how it is drawn, varied, written down, priced and built."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome
from nasrun.spaces.staged_cnn.genome import Network, network_of
from nasrun.spaces.staged_cnn.space import StagedCNN
from tests.spaces.checks import walked
from tests.spaces.staged_cnns import ALL_BLOCKS, RESNET8, SPACE, space


def child(mutation: str, text: str, seed: int = 0) -> Network:
    return network_of(SPACE.mutations[mutation](SPACE.parse(text), np.random.default_rng(seed)))


@st.composite
def spaces(draw: st.DrawFn) -> StagedCNN:
    def some(values: list[Any], least: int = 1) -> list[Any]:
        return draw(st.lists(st.sampled_from(values), min_size=least, unique=True))

    return StagedCNN(
        activations=some(["relu", "hswish"]),
        blocks=some(["bb", "ir", "er", "ds", "cn"]),
        max_stages=draw(st.integers(1, 6)),
        max_repeats=draw(st.integers(1, 5)),
        kernels=[3, *some([1, 5, 7], 0)],
        depthwise_kernels=some([3, 5, 7]),
        expansions=some([1, 2, 3, 6]),
        squeeze=draw(st.booleans()),
        max_width=4 * draw(st.integers(1, 30)),
        resolution=draw(st.integers(1, 64)),
    )


seeds = st.integers(0, 2**32 - 1)


# What is in the space


def test_strings_are_as_timm_writes_blocks() -> None:
    genome = SPACE.parse(RESNET8)
    assert genome[:5] == ("relu", 3, 1, 16, 3)
    assert genome[5:12] == ("bb", 1, 3, 1, 1, 16, 0)
    assert network_of(SPACE.parse(ALL_BLOCKS)).stages[1] == ("ir", 2, 3, 2, 3, 16, 1)
    for text in (RESNET8, ALL_BLOCKS):
        assert SPACE.format(SPACE.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 (part 2): expected an activation, a stem and 1 to 5 stages (max_stages), joined by '-'"),
        ("relu-cn_r1_k3_s1_c16", "character 21 (part 3): expected an activation, a stem and 1 to 5 stages"),
        (
            "tanh-cn_r1_k3_s1_c16-bb_r1_k3_s1_c16",
            "character 1 (part 1): expected activation, one of relu, hswish; got 't",
        ),
        ("relu-bb_r1_k3_s1_c16-bb_r1_k3_s1_c16", "character 6 (part 2): expected the stem, as in cn_r1_k3_s1_c16; got"),
        ("relu-cn_r1_k1_s1_c16-bb_r1_k3_s1_c16", "expected kernel of the stem, one of 3, 5; got 'cn_r1_k1_s1_c16'"),
        ("relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c33", "width of stage 1, a multiple of 4 from 4 to 512; got 'bb_r1_k3_s2_c"),
        ("relu-cn_r1_k3_s1_c16-bb_r9_k3_s2_c32", "expected repeats of stage 1, one of 1, 2, 3, 4; got"),
        ("relu-cn_r1_k3_s1_c16-ir_r1_k5_s2_e4_c32", "expected kernel of stage 1, 3; got 'ir_r1_k5_s2_e4_c32'"),
        ("relu-cn_r1_k3_s1_c16-ir_r1_k3_s2_c32", "expected ir with an expansion (_e4); got"),
        ("relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_e4_c32", "expected bb without an expansion (_e4); got"),
        ("relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c32_se0.25", "expected squeeze of stage 1, 0; got"),
        ("relu-cn_r1_k3_s1_c016-bb_r1_k3_s2_c32", f"expected {RESNET8[:20]}-bb_r1_k3_s2_c32; got"),
        (RESNET8 + "-cn_r1_k1_s1_c64" * 3, "character 102 (part 8): expected"),
        ("relu-cn_r1_k3_s1_c16-bb_r1_k3_s2_c" + "9" * 5000, "a multiple of 4 from 4 to 512"),
    ],
)
def test_what_is_no_genome_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="character") as caught:
        SPACE.parse(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernels": [1]}, "kernels=[1]: the stem and most blocks need a larger one"),
        ({"max_width": 30}, "max_width=30: must be a multiple of 4"),
        ({"blocks": []}, "blocks=[]: must not be empty"),
        ({"blocks": ["resnet"]}, "blocks=[resnet]: unknown"),
        ({"max_stages": 0}, "max_stages=0: must be from 1 to 10"),
        ({"depthwise_kernels": [1]}, "depthwise_kernels=[1]: unknown"),
    ],
)
def test_options_that_make_no_space_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        space(**changes)
    assert str(caught.value).startswith(message)


def test_the_size_counts_every_genome() -> None:
    tiny = space(
        activations=["relu"], blocks=["cn", "ir"], max_stages=1, max_repeats=2, kernels=[3], expansions=[2], max_width=8
    )

    def count(prefix: Genome) -> int:
        return sum(count((*prefix, token)) for token in tiny.choices(prefix)) if tiny.choices(prefix) else 1

    assert tiny.size == count(())


# What is drawn


def test_most_draws_have_the_shape_of_known_networks() -> None:
    rng = np.random.default_rng(0)
    networks = [network_of(SPACE.sample(rng)) for _ in range(1000)]
    strided = [sum(stride == 2 for stride in (n.stem_stride, *(stage.stride for stage in n.stages))) for n in networks]
    assert np.mean([2 <= count <= 3 for count in strided]) > 0.75
    assert min(strided) >= 1
    for network in networks:
        widths = [network.stem_width, *(stage.width for stage in network.stages)]
        assert widths == sorted(widths)
    blocks = [stage.block for network in networks for stage in network.stages]
    assert {
        block: blocks.count(block) / len(blocks) > 0.05 for block in ("bb", "ir", "er", "ds", "cn")
    } == dict.fromkeys(("bb", "ir", "er", "ds", "cn"), True)


@settings(max_examples=60, deadline=None)
@given(spaces(), seeds)
def test_any_options_make_a_space_that_holds_together(tested: StagedCNN, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for genome in (tested.sample(rng), walked(tested, rng)):
        tested.validate(genome)
        assert tested.parse(tested.format(genome)) == genome
        assert tested.decode(tested.encode(genome)) == genome
        assert [genome[place] for place in tested.width_positions(genome)] == [
            network_of(genome).stem_width, *(stage.width for stage in network_of(genome).stages)
        ]  # fmt: skip
        for mutate in tested.mutations.values():
            tested.validate(mutate(genome, rng))
        for neighbour in tested.neighbours(genome):
            tested.validate(neighbour)
            assert neighbour != genome
        tested.validate(tested.crossover(genome, tested.sample(rng), rng))
    for genome in tested.known().values():
        tested.validate(genome)


# How it is varied


def test_mutations_do_what_their_names_say() -> None:
    before = network_of(SPACE.parse(RESNET8))
    widths = [before.stem_width, *(stage.width for stage in before.stages)]
    for seed in range(20):
        wider, narrower = (child(name, RESNET8, seed) for name in ("widen", "narrow"))
        assert sum(wider[3:4]) + sum(s.width for s in wider.stages) > sum(widths)
        assert sum(narrower[3:4]) + sum(s.width for s in narrower.stages) < sum(widths)
        assert sorted(s.repeats for s in child("deepen", RESNET8, seed).stages) == [1, 1, 2]
        assert sum(s.block != "bb" for s in child("block", RESNET8, seed).stages) == 1
        assert len(child("add_stage", RESNET8, seed).stages) == 4
        removed = child("remove_stage", RESNET8, seed)
        assert [s.stride for s in removed.stages] in ([2, 2], [1, 2])  # the last stage has no neighbour to give it to
        moved = child("move_stride", RESNET8, seed)
        assert [moved.stem_stride, *(s.stride for s in moved.stages)].count(2) == 2
        changed = child("resolution", RESNET8, seed)
        assert [changed.stem_stride, *(s.stride for s in changed.stages)].count(2) in (1, 3)
        assert child("activation", RESNET8, seed) == before._replace(activation="hswish")
        assert child("squeeze", RESNET8, seed) == before  # no block of it can have any
    expanded = {child("expansion", ALL_BLOCKS, seed).stages[1].expansion for seed in range(40)}
    assert expanded == {2, 3, 4}


def test_neighbours_are_what_single_mutations_make() -> None:
    genome = SPACE.parse(ALL_BLOCKS)
    neighbours = SPACE.neighbours(genome)
    assert 40 < len(neighbours) < 120
    assert len(set(neighbours)) == len(neighbours)
    rng = np.random.default_rng(0)
    made = {mutate(genome, rng) for mutate in SPACE.mutations.values() for _ in range(400)}
    assert made - {genome} == set(neighbours)


def test_a_crossover_has_stages_of_both_and_as_many_strides_as_one_of_them() -> None:
    rng = np.random.default_rng(3)
    mixed = 0
    for _ in range(200):
        first, second = (network_of(SPACE.sample(rng)) for _ in range(2))
        made = network_of(SPACE.crossover(_genome(first), _genome(second), rng))
        assert made[1:4] == first[1:4]
        counts = [[n.stem_stride, *(s.stride for s in n.stages)].count(2) for n in (made, first, second)]
        assert counts[0] in counts[1:]
        if made.stages != first.stages:
            mixed += 1
            cut = next(
                k
                for k in range(len(made.stages) + 1)
                if made.stages[k:] == second.stages[len(second.stages) - len(made.stages) + k :]
            )
            assert made.stages[:cut] == first.stages[:cut]
    assert mixed > 100


def _genome(network: Network) -> Genome:
    from nasrun.spaces.staged_cnn.genome import genome_of

    return genome_of(network)
