"""`staged_cnn` as one network, elastic in width, depth, kernel and expansion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome, Task
from nasrun.core.options import ConfigError
from nasrun.spaces.elastic import part_of
from nasrun.spaces.staged_cnn.genome import network_of
from nasrun.spaces.staged_cnn.space import StagedCNN
from nasrun.spaces.staged_cnn.supernet import shared_weights
from tests.evaluators.test_supernet import groups_of, prepared
from tests.spaces.checks import walked
from tests.spaces.staged_cnns import ALL_BLOCKS, space
from tests.support import FITTING, FOUR_CLASSES, SHORTER, measure, searching, setup_of, trajectory

TASK = Task("colour", 3, 9, 8, 5)
SPACES = {
    "all": {"max_width": 24},
    "kernels": {"max_width": 12, "kernels": [1, 3, 5, 7], "depthwise_kernels": [5, 3], "expansions": [3, 1]},
    "large images": {"max_width": 8, "resolution": 3, "max_stages": 2},
    "one width": {"max_width": 4, "max_stages": 3, "blocks": ["bb", "ir"], "squeeze": False},
}
SMALL = (
    "evaluator=supernet",
    "search_space=staged_cnn",
    "search_space.max_stages=3",
    "search_space.max_repeats=2",
    "search_space.max_width=16",
    "evaluator.batch_size=64",
    *FOUR_CLASSES,
)


@pytest.fixture(scope="module")
def shared() -> Callable[[str], tuple[StagedCNN, Any]]:
    made = {}
    for name, options in SPACES.items():
        torch.manual_seed(1)
        one = space(**options)
        made[name] = (one, one.supernet(TASK))
    return made.__getitem__


@pytest.mark.parametrize("name", SPACES)
def test_the_number_of_weights_is_known_by_formula(name: str, shared: Callable[[str], Any]) -> None:
    one, network = shared(name)
    widest = one.limits.widths[-1]
    count = sum(weight.numel() for weight in network.parameters())
    assert shared_weights(one.limits, TASK, one.resolution, widest) == count
    if widest > 8:
        expected = sum(
            weight.numel() for weight in space(**{**SPACES[name], "max_width": 8}).supernet(TASK).parameters()
        )
        assert shared_weights(one.limits, TASK, one.resolution, 8) == expected


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(SPACES)), seed=st.integers(0, 10**6))
def test_any_genome_is_a_path_that_computes_what_its_own_network_does(
    name: str, seed: int, shared: Callable[[str], Any]
) -> None:
    one, network = shared(name)
    genome = walked(one, np.random.default_rng(seed))
    images = torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(seed))
    weights = dict(network.named_parameters())
    alone, names = one.build(genome, TASK).train(), one.supernet_name(genome, TASK)
    with torch.no_grad():
        for own, weight in alone.named_parameters():
            weight.copy_(part_of(weights[names(own)], weight.shape))
    answers, expected = network(images, genome), alone(images)
    torch.testing.assert_close(answers, expected, rtol=0, atol=0)
    gradients = torch.autograd.grad(answers.square().sum(), list(weights.values()), allow_unused=True)
    expected.square().sum().backward()
    given_to = dict(zip(weights, gradients, strict=True))
    used = {names(own): weight for own, weight in alone.named_parameters()}
    assert {own for own, gradient in given_to.items() if gradient is not None} == set(used)
    for own, weight in used.items():
        whole = given_to[own]
        assert whole is not None
        assert weight.grad is not None
        torch.testing.assert_close(part_of(whole, weight.shape), weight.grad, rtol=1e-4, atol=1e-5)
        rest = whole.clone()
        part_of(rest, weight.shape).zero_()
        assert not rest.any()


def test_parts_are_the_first_channels_and_the_centre() -> None:
    whole = torch.arange(4 * 3 * 5 * 5).view(4, 3, 5, 5)
    assert torch.equal(part_of(whole, (2, 1, 3, 3)), whole[:2, :1, 1:4, 1:4])
    assert part_of(whole, whole.shape) is whole


@pytest.mark.parametrize("text", ["relu-cn_r1_k3_s1_c16-bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64", ALL_BLOCKS])
def test_smaller_ones_are_parts(text: str) -> None:
    one = space()
    genome = one.parse(text)

    def sizes(parts: Genome) -> list[int]:
        network = network_of(parts)
        rows = [(stage.repeats, stage.kernel, stage.expansion, stage.width) for stage in network.stages]
        return [network.stem_kernel, network.stem_width, *(size for row in rows for size in row)]

    def shape(parts: Genome) -> list[Any]:
        network = network_of(parts)
        return [network.activation, *((stage.block, stage.stride, stage.squeeze) for stage in network.stages)]

    smallest = one.smaller(genome)
    found = [one.smaller(genome, np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(found)) > 20
    for parts in (smallest, *found):
        one.validate(parts)
        assert shape(parts) == shape(genome)
        assert all(map(int.__le__, sizes(smallest), sizes(parts)))
        assert all(map(int.__le__, sizes(parts), sizes(genome)))
    assert all(5 * width >= whole for width, whole in zip(sizes(smallest)[5::4], sizes(genome)[5::4], strict=True))


def test_a_sandwich_is_a_draw_with_parts_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator, chosen = prepared("staged_cnn", "evaluator.sampling=sandwich", "evaluator.distil=inplace")
    groups = groups_of(evaluator, chosen.sample, monkeypatch)
    assert len({group[0] for group in groups}) > 1
    for first, smallest, *others in groups:
        assert smallest == chosen.smaller(first)
        assert len(others) == 2
        prices = [chosen.cost(genome, evaluator.task).parameters for genome in (smallest, *others, first)]
        assert prices[0] <= min(prices[1:])
        assert max(prices) == prices[-1]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("evaluator.sampling=uniform",),
        ("evaluator.sampling=fair",),
        ("evaluator.operation_weights={bb:3,ir:0}",),
        ("evaluator.operation_weights=cost",),
        ("evaluator.warm_up_epochs=2",),
    ],
)
def test_what_is_trained_is_steered_by_limits(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(*SMALL, "constraints.parameters=3000", *words)
    setup.evaluator.prepare()
    evaluator: Any = setup.evaluator
    trained = [genome for group in groups_of(evaluator, setup.steered.sample, monkeypatch) for genome in group]
    assert trained
    assert sum(setup.steered.usage(genome) <= 1 for genome in trained) > 0.7 * len(trained)
    assert all(setup.steered.fit(genome) == genome for genome in trained)
    if "ir:0" in "".join(words):
        assert all(stage.block != "ir" for genome in trained for stage in network_of(genome).stages)


@pytest.mark.parametrize("strategy", searching())
def test_strategies_search_under_a_limit_or_say_why_not(strategy: str) -> None:
    words = (*SHORTER.get(strategy, ()), *[word for word in FITTING.get(strategy, ()) if "search_space" not in word])
    limits = ("constraints.parameters=3000", "trials=6", "deduplicate=never")
    try:
        setup = setup_of(f"strategy={strategy}", *words, *SMALL, *limits)
    except ConfigError as error:
        [line] = str(error).splitlines()
        pytest.skip(line)
    setup.evaluator.prepare()
    proposals = trajectory(setup.strategy, setup, 6)
    assert proposals
    assert all(setup.space.cost(one.genome, setup.dataset.task).parameters <= 3000 for one in proposals)


def test_costs_are_those_of_the_formula() -> None:
    from nasrun.core import Proposal, Trial

    setup = setup_of(*SMALL)
    setup.evaluator.prepare()
    for seed in range(5):
        genome = setup.space.sample(np.random.default_rng(seed))
        [found] = measure(setup, Trial(seed, Proposal(genome)))
        cost = setup.space.cost(genome, setup.dataset.task)
        assert (found.metrics["parameters"], found.metrics["flops"]) == cost
        network = setup.space.build(genome, setup.dataset.task)
        assert cost.parameters == sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        ((), "use search_space.max_width=100 or less (evaluator=supernet)"),
        (("search_space.max_width=256", "search_space.blocks=[ds]"), None),
        (("search_space.kernels=[7]", "search_space.expansions=[10]", "search_space.max_stages=10"), "or less"),
        (("search_space.max_width=104",), "or less"),
    ],
)
def test_too_large_a_network_is_refused_with_the_width_that_will_do(words: tuple[str, ...], ending: str | None) -> None:
    base = ("evaluator=supernet", "search_space=staged_cnn", *FOUR_CLASSES, *words)
    if ending is None:
        setup_of(*base)
        return
    with pytest.raises(ConfigError) as error:
        setup_of(*base)
    text = str(error.value)
    assert text.startswith("search_space.max_width=")
    assert ending in text
    assert len(text.splitlines()) == 1
    width = text.partition("use search_space.")[2].partition(" ")[0]
    setup_of(*base, f"search_space.{width}")
