"""Networks that take over the function of a smaller one: the same outputs, to the last digits that float64 has."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from nasrun.core import Genome, SearchSpace, Task
from nasrun.spaces.morphisms import calibrate
from tests.spaces import sequential_cnns, staged_cnns
from tests.spaces.checks import walked

TASK = Task("images", 3, 9, 10, 4)
"""Odd heights, which strides round up."""

STAGED = staged_cnns.space(depthwise_kernels=[3, 5])
SEQUENTIAL = sequential_cnns.space()
STEM = "relu-cn_r1_k3_s1_c8"

MORPHISMS = [
    # each kind of block wider, in its first stage behind a stem as wide, or not, and with a stride or not
    *(
        (f"{STEM}-{block}_r2_k3_s{stride}{expansion}_c{width}", f"{STEM}-{block}_r2_k3_s{stride}{expansion}_c20")
        for block, expansion in (("bb", ""), ("ir", "_e3"), ("er", "_e2"), ("ds", ""), ("cn", ""))
        for stride in (1, 2)
        for width in (8, 12)
        if not (expansion and stride == 1 and width == 8)
    ),
    # deeper
    *(
        (f"{STEM}-{block}_r1_k3_s2{expansion}_c12", f"{STEM}-{block}_r3_k3_s2{expansion}_c12")
        for block, expansion in (("bb", ""), ("ir", "_e3"), ("er", "_e2"), ("ds", ""), ("cn", ""))
    ),
    # kernels grown
    *(
        (f"{STEM}-{block}_r2_k3_s{stride}{expansion}_c12", f"{STEM}-{block}_r2_k5_s{stride}{expansion}_c12")
        for block, expansion in (("bb", ""), ("ir", "_e3"), ("er", "_e2"), ("ds", ""), ("cn", ""))
        for stride in (1, 2)
    ),
    (f"{STEM}-cn_r2_k1_s1_c12", f"{STEM}-cn_r2_k5_s1_c12"),
    (f"{STEM}-bb_r1_k3_s1_c8", "relu-cn_r1_k5_s1_c8-bb_r1_k3_s1_c8"),
    # the stem wider, which makes plain shortcuts into others
    (f"{STEM}-bb_r2_k3_s1_c12", "relu-cn_r1_k3_s1_c16-bb_r2_k3_s1_c20"),
    (f"{STEM}-ir_r2_k3_s2_e2_c12_se0.25", "relu-cn_r1_k3_s1_c16-ir_r2_k3_s2_e2_c12_se0.25"),
    # larger expansions, squeeze-and-excite where there was none
    (f"{STEM}-ir_r2_k3_s1_e2_c8", f"{STEM}-ir_r2_k3_s1_e6_c8"),
    (f"{STEM}-er_r2_k3_s2_e2_c8", f"{STEM}-er_r2_k3_s2_e6_c8"),
    (f"{STEM}-ir_r2_k3_s2_e2_c12_se0.25", f"{STEM}-ir_r2_k3_s2_e3_c12_se0.25"),
    (f"{STEM}-ir_r2_k3_s1_e2_c8", f"{STEM}-ir_r2_k3_s1_e2_c8_se0.25"),
    # stages that are new
    *(
        (f"{STEM}-bb_r1_k3_s2_c12-cn_r1_k3_s1_c16", f"{STEM}-bb_r1_k3_s2_c12-{new}_c12-cn_r1_k3_s1_c16")
        for new in ("bb_r1_k3_s1", "ir_r1_k3_s1_e2", "ir_r1_k3_s1_e2", "er_r1_k3_s1_e2", "ds_r1_k3_s1", "cn_r2_k5_s1")
    ),
    # activations other than relu, where nothing is passed on through them
    ("hswish-cn_r1_k3_s1_c8-bb_r1_k3_s2_c12", "hswish-cn_r1_k3_s1_c8-bb_r1_k5_s2_c20"),
    ("hswish-cn_r1_k3_s1_c8-ir_r1_k3_s2_e2_c12", "hswish-cn_r1_k3_s1_c8-ir_r3_k3_s2_e2_c12"),
    # all at once
    (
        f"{STEM}-bb_r1_k3_s1_c8-er_r1_k3_s2_e2_c12",
        "relu-cn_r1_k5_s1_c12-bb_r2_k5_s1_c16-bb_r1_k3_s1_c20-er_r2_k5_s2_e3_c32-ir_r1_k3_s1_e2_c32_se0.25",
    ),
]

NO_MORPHISMS = [
    (f"{STEM}-bb_r1_k3_s1_c12", f"{STEM}-bb_r1_k3_s1_c8"),
    (f"{STEM}-bb_r2_k3_s1_c8", f"{STEM}-bb_r1_k3_s1_c8"),
    (f"{STEM}-bb_r1_k5_s1_c8", f"{STEM}-bb_r1_k3_s1_c8"),
    (f"{STEM}-bb_r1_k3_s2_c8", f"{STEM}-bb_r1_k3_s1_c8"),
    (f"{STEM}-bb_r1_k3_s1_c8", "hswish-cn_r1_k3_s1_c8-bb_r1_k3_s1_c8"),
    (f"{STEM}-bb_r1_k3_s1_c8", f"{STEM}-cn_r1_k3_s1_c8"),
    (f"{STEM}-bb_r1_k3_s1_c8-cn_r1_k3_s1_c8", f"{STEM}-bb_r1_k3_s1_c8"),
    (f"{STEM}-ir_r1_k3_s1_e2_c8_se0.25", f"{STEM}-ir_r1_k3_s1_e2_c8"),
    # shortcuts that go, or come
    (f"{STEM}-ir_r1_k3_s1_e2_c8", f"{STEM}-ir_r1_k3_s1_e2_c12"),
    (f"{STEM}-er_r1_k3_s1_e2_c12", "relu-cn_r1_k3_s1_c12-er_r1_k3_s1_e2_c12"),
    (f"{STEM}-bb_r1_k3_s1_c12", "relu-cn_r1_k3_s1_c12-bb_r1_k3_s1_c12"),
    # hard swish changes what it is given, and relu what is below zero
    ("hswish-cn_r1_k3_s1_c8-bb_r1_k3_s1_c8", "hswish-cn_r1_k3_s1_c8-bb_r2_k3_s1_c8"),
    (f"{STEM}-er_r1_k3_s1_e2_c8", f"{STEM}-er_r1_k3_s1_e2_c8-cn_r1_k3_s1_c8"),
    # a mean over four pixels is no tap of a convolution where the image ends
    (f"{STEM}-cn_r1_k1_s2_c8", f"{STEM}-cn_r1_k3_s2_c8"),
]

SEQUENTIAL_MORPHISMS = [
    ("N16k3relu-R32k3gelu-R32k1tanh", "N16k3relu-R48k5gelu-R64k3tanh"),
    ("N16k3relu-R32k3relu-R32k1tanh", "N16k3relu-R32k3relu-N48k5relu-R32k1tanh"),
    ("N16k3relu-R32k3sigmoid-R32k1tanh", "N32k3relu-N48k1relu-N48k3relu-R32k3sigmoid-N32k3relu-R32k3tanh"),
]


def trained(space: SearchSpace, genome: Genome, seed: int = 0) -> nn.Module:
    """A network in float64, whose normalisations have seen images, and scale and shift."""
    torch.manual_seed(seed)
    network = space.build(genome, TASK).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    network(images(seed))
    return network.eval()


def images(seed: int) -> torch.Tensor:
    return torch.randn(16, 3, 9, 10, generator=torch.Generator().manual_seed(seed)).double()


def morphed(space: SearchSpace, parent: Genome, child: Genome) -> tuple[nn.Module, nn.Module]:
    """A parent's network, and a child's that took over its function."""
    network, larger = trained(space, parent), trained(space, child, seed=1)
    found = space.morph(parent, child, network.state_dict(), larger)
    # What is inherited is all that the parent has.
    assert found.inherited == sum(parameter.numel() for parameter in network.parameters())
    calibrate(larger, found.passing, images(2))
    return network, larger


def check(space: SearchSpace, parent: Genome, child: Genome) -> None:
    network, larger = morphed(space, parent, child)
    with torch.no_grad():
        assert torch.allclose(network(images(3)), larger(images(3)), rtol=1e-9, atol=1e-9)
        # In training too, for the images by which layers that pass their input on were set up.
        assert torch.allclose(network.train()(images(2)), larger.train()(images(2)), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("parent", "child"), MORPHISMS)
def test_a_staged_child_computes_what_its_parent_does(parent: str, child: str) -> None:
    genomes = STAGED.parse(parent), STAGED.parse(child)
    assert STAGED.can_morph(*genomes)
    assert not STAGED.can_morph(*reversed(genomes))
    check(STAGED, *genomes)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize(("parent", "child"), SEQUENTIAL_MORPHISMS)
def test_a_sequential_child_computes_what_its_parent_does(parent: str, child: str, batch_norm: bool) -> None:
    space = sequential_cnns.space(batch_norm=batch_norm)
    check(space, space.parse(parent), space.parse(child))


@pytest.mark.parametrize(("parent", "child"), NO_MORPHISMS)
def test_what_is_no_morphism_is_refused(parent: str, child: str) -> None:
    genomes = STAGED.parse(parent), STAGED.parse(child)
    assert not STAGED.can_morph(*genomes)
    with pytest.raises(TypeError, match="cannot compute"):
        STAGED.morph(*genomes, {}, nn.Identity())


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("N16k3relu-R32k3relu-R32k1tanh", "N16k3relu-R32k3relu-R32k1relu"),
        ("N16k3relu-R32k3relu-R32k1tanh", "N16k3relu-R32k3relu-R32k1tanh-N32k1relu"),
        ("N16k3relu-R32k3relu-R32k1tanh", "N16k3relu-N16k3relu-R16k3relu-R32k1tanh"),
        ("R32k3relu-R32k1tanh-N16k3relu", "N16k3relu-R32k3relu-R32k1tanh-N16k3relu"),
    ],
)
def test_sequential_children_that_are_no_morphism(parent: str, child: str) -> None:
    genomes = SEQUENTIAL.parse(parent), SEQUENTIAL.parse(child)
    assert not SEQUENTIAL.can_morph(*genomes)
    with pytest.raises(TypeError, match="cannot compute"):
        SEQUENTIAL.morph(*genomes, {}, nn.Identity())


@pytest.mark.parametrize("space", [STAGED, SEQUENTIAL], ids=["staged", "sequential"])
def test_every_mutation_that_is_a_morphism_keeps_the_function(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    for name, child, parent in _children(space, rng):
        if space.can_morph(parent, child):
            seen.add(name)
            check(space, parent, child)
    growing = {"widen", "deepen", "kernel", "expansion", "squeeze", "add_stage"}
    assert seen == (growing if space is STAGED else {"filters", "kernel", "replace_layer", "add_layer"})


def _children(space: SearchSpace, rng: np.random.Generator) -> Iterator[tuple[str, Genome, Genome]]:
    """Children of genomes, drawn and of random tokens, but small."""
    draws: list[Callable[[], Genome]] = [lambda: space.sample(rng), lambda: walked(space, rng)]
    for number in range(12):
        parent = draws[number % 2]()
        while space.cost(parent, TASK).parameters > 60_000:
            parent = draws[number % 2]()
        for name, mutate in space.mutations.items():
            child = mutate(parent, rng)
            if child != parent and space.cost(child, TASK).parameters < 100_000:
                yield name, child, parent


def test_new_channels_learn() -> None:
    parent, child = (STAGED.parse(f"{STEM}-bb_r1_k3_s1_c{width}") for width in (8, 12))
    _, larger = morphed(STAGED, parent, child)
    larger.train()(images(3)).square().sum().backward()
    gradient = larger.get_submodule("output").weight.grad
    assert isinstance(gradient, torch.Tensor)
    assert (gradient[:, 8:] != 0).all()


def test_a_space_without_morphisms_says_so() -> None:
    from tests.support import setup_of

    space = setup_of("search_space=mlp").space
    genome = space.sample(np.random.default_rng(0))
    assert not space.can_morph(genome, genome)
    with pytest.raises(TypeError, match="no network morphisms"):
        space.morph(genome, genome, {}, nn.Identity())
