"""The space of NAS-Bench-201: its genomes and strings, which of them are the same network, and the network itself."""

import hashlib
import pickle
from collections import Counter
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrun.core import Cost, Genome, Task
from nasrun.spaces.nasbench201.encoding import EDGES, OPERATIONS
from nasrun.spaces.nasbench201.space import NASBench201, same_network

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "search_space" / "nasbench201.yaml"
EVERYTHING: list[Genome] = list(product(OPERATIONS, repeat=6))
CIFAR10 = Task("cifar10", 3, 32, 32, 10)
CIFAR100 = Task("cifar100", 3, 32, 32, 100)
IMAGENET16 = Task("imagenet16", 3, 16, 16, 120)
BENCHMARK = [CIFAR10, CIFAR100, IMAGENET16]
EXAMPLE: Genome = ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "skip_connect")
STRING = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"

# As the benchmark stores them: string, then the parameters for CIFAR-10, CIFAR-100 and ImageNet16-120.
STORED = [
    ("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|", 129306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|", 802426),
    ("|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|", 559386),
    ("|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|skip_connect~2|", 73306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|", 1073466),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|", 1288506),
    ("|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|", 858426),
    ("|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|", 185306),
    ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|", 1531546),
    ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 73306),
]
# SHA-256 of all 15,625 lines "string,parameters,parameters,parameters" of the benchmark, sorted, joined by "\n".
STORED_DIGEST = "199bcf2ddbd371112079d2278681206723cdc8cba4a279b2f587349780b99feb"


def space(**changes: Any) -> NASBench201:
    options: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del options["_target_"]
    return NASBench201(**{**options, **changes})


genomes = st.tuples(*[st.sampled_from(OPERATIONS)] * 6)


# What is in the space


def test_yaml_is_the_benchmark() -> None:
    default = space()
    assert (default.channels, default.cells, default.merge_isomorphs) == (16, 5, False)
    assert default.size == len(EVERYTHING) == 15625
    assert default.flops_limit is None


def test_choices_enumerate_exactly_the_space() -> None:
    tested, prefixes = space(), [()]
    for _ in range(6):
        prefixes = [(*prefix, token) for prefix in prefixes for token in tested.choices(prefix)]
    assert prefixes == EVERYTHING
    assert not any(tested.choices(genome) for genome in EVERYTHING)


def test_neighbours_differ_in_one_operation() -> None:
    tested = space()
    for genome in EVERYTHING[::619]:
        near = tested.neighbours(genome)
        assert len(near) == len(set(near)) == 24
        assert all(sum(a != b for a, b in zip(genome, other, strict=True)) == 1 for other in near)


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        (list(EXAMPLE), "genome of type list: expected a tuple"),
        (("conv", *EXAMPLE[1:]), "token 0 (edge 1<-0): expected one of {}; got 'conv'"),
        ((*EXAMPLE[:2], 3, *EXAMPLE[3:]), "token 2 (edge 2<-1): expected one of {}; got 3"),
        (EXAMPLE[:5], "token 5 (edge 3<-2): expected one of {}; got the end"),
        ((), "token 0 (edge 1<-0): expected one of {}; got the end"),
        ((*EXAMPLE, "none"), "token 6: expected the end; got 'none'"),
    ],
)
def test_validate_names_what_is_wrong(genome: Any, message: str) -> None:
    space().validate(EXAMPLE)
    with pytest.raises(ValueError, match="expected") as caught:
        space().validate(genome)
    assert str(caught.value) == message.format(", ".join(OPERATIONS))


# Drawing and varying


def test_sample_is_uniform() -> None:
    tested, rng = space(), np.random.default_rng(0)
    expected = 20
    counts = Counter(tested.sample(rng) for _ in range(expected * 15625))
    assert set(counts) == set(EVERYTHING)
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert abs(statistic - 15624) < 5 * (2 * 15624) ** 0.5


def test_operation_reaches_all_neighbours_alike() -> None:
    tested, rng = space(), np.random.default_rng(1)
    for genome in EVERYTHING[::2503]:
        counts = Counter(tested.mutations["operation"](genome, rng) for _ in range(2400))
        assert set(counts) == set(tested.neighbours(genome))
        assert max(abs(count - 100) for count in counts.values()) < 50


def test_crossover_takes_from_both() -> None:
    tested, rng = space(), np.random.default_rng(2)
    first, second = ("none",) * 6, ("skip_connect",) * 6
    counts = Counter(tested.crossover(first, second, rng) for _ in range(6200))
    assert set(counts) == set(product(("none", "skip_connect"), repeat=6)) - {first, second}
    assert max(abs(count - 100) for count in counts.values()) < 50
    assert tested.crossover(EXAMPLE, EXAMPLE, rng) == EXAMPLE


def test_space_can_be_pickled() -> None:
    tested = pickle.loads(pickle.dumps(space(merge_isomorphs=True)))
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    assert tested.mutations["operation"](EXAMPLE, first) == space().mutations["operation"](EXAMPLE, second)
    assert tested.key(EXAMPLE) == same_network(EXAMPLE)


# Strings and vectors


def test_format_is_the_string_of_the_benchmark() -> None:
    tested = space()
    assert tested.format(EXAMPLE) == STRING
    for text, _ in STORED:
        assert tested.format(tested.parse(text)) == text
    assert len({tested.format(genome) for genome in EVERYTHING}) == 15625
    assert all(tested.parse(tested.format(genome)) == genome for genome in EVERYTHING[::7])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 (start): expected '|'; got the end"),
        ("none", "character 1 (start): expected '|'; got 'none'"),
        ("|conv~0|", f"character 2 (edge 1<-0): expected one of {', '.join(OPERATIONS)}; got 'conv~0|'"),
        ("|none~1|", "character 6 (after edge 1<-0): expected '~0|+|'; got '~1|'"),
        ("|none~0|+|none~0|", f"character 18 (edge 2<-1): expected one of {', '.join(OPERATIONS)}; got the end"),
        (STRING[:-1], "character 85 (after edge 3<-2): expected '~2|'; got '~2'"),
        (STRING + "\n", "character 88 (after edge 3<-2): expected the end; got '\\n'"),
        (STRING * 2, "character 88 (after edge 3<-2): expected the end; got '|nor_conv_3x3~0|'"),
    ],
)
def test_parse_names_the_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        space().parse(text)
    assert str(caught.value) == message


@settings(max_examples=200, deadline=None)
@given(genomes, st.integers(0, 88), st.integers(0, 12), st.text(alphabet="none~|+012skip", max_size=8))
def test_any_text_is_refused_or_written_back(genome: Genome, start: int, length: int, put: str) -> None:
    tested = space()
    text = tested.format(genome)
    text = text[:start] + put + text[start + length :]
    try:
        parsed = tested.parse(text)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert tested.format(parsed) == text
    assert not refusal or refusal.startswith("character ")


def test_encode_is_the_middle_of_each_share() -> None:
    assert space().encode(EXAMPLE).tolist() == pytest.approx([0.7, 0.1, 0.3, 0.9, 0.5, 0.3])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-2, 3) | st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0, float("inf")]), min_size=6, max_size=6))
def test_any_vector_decodes_to_the_nearest_genome(entries: list[float]) -> None:
    tested = space()
    genome = tested.decode(np.array(entries))
    tested.validate(genome)
    assert tested.decode(tested.encode(genome)) == genome
    for entry, share in zip(np.clip(entries, 0, 1), tested.encode(genome), strict=True):
        assert abs(entry - share) <= 0.1 + 1e-9


def test_uniform_vectors_give_uniform_operations() -> None:
    tested, rng = space(), np.random.default_rng(3)
    counts = Counter(enumerate_ for _ in range(5000) for enumerate_ in enumerate(tested.decode(rng.random(6))))
    assert len(counts) == 30
    assert max(abs(count - 1000) for count in counts.values()) < 5 * 1000**0.5


def test_decode_refuses_what_is_no_vector() -> None:
    with pytest.raises(ValueError, match=r"shape \(30,\): expected \(6,\)"):
        space().decode(np.zeros(30))
    with pytest.raises(ValueError, match="NaN"):
        space().decode(np.array([0, 0, np.nan, 0, 0, 0]))


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


# Price and build


def test_cost_equals_the_stored_parameters_of_all() -> None:
    """15,625 of 15,625, in all three data sets."""
    tested = space()
    lines = sorted(
        ",".join([tested.format(genome), *(str(tested.cost(genome, task).parameters) for task in BENCHMARK)])
        for genome in EVERYTHING
    )
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == STORED_DIGEST


@pytest.mark.parametrize(("text", "parameters"), STORED)
def test_cost_equals_the_stored_parameters(text: str, parameters: int) -> None:
    tested = space()
    genome = tested.parse(text)
    # The classifier alone differs: 64 weights and a bias per class.
    stored = [parameters, parameters + 65 * 90, parameters + 65 * 110]
    assert [tested.cost(genome, task).parameters for task in BENCHMARK] == stored


def test_cost_by_hand() -> None:
    tested = space(channels=4, cells=1)
    task = Task("tiny", 1, 5, 7, 10)  # 5x7 becomes 3x4 becomes 2x2
    bare = tested.cost(("none",) * 6, task)
    weights = (9 * 4, 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8, 9 * 8 * 16 + 9 * 16 * 16 + 8 * 16, 16 * 10)
    assert bare.parameters == sum(weights) + 2 * 4 + 4 * 8 + 4 * 16 + 2 * 16 + 10
    # The first convolution of a reduction halves height and width, so all of its three work on the smaller image.
    assert bare.flops == 2 * (weights[0] * 35 + weights[1] * 12 + weights[2] * 4 + weights[3])
    one = tested.cost((*["none"] * 5, "nor_conv_3x3"), task)
    assert one.parameters - bare.parameters == 9 * (16 + 64 + 256) + 2 * (4 + 8 + 16)
    assert one.flops - bare.flops == 2 * 9 * (16 * 35 + 64 * 12 + 256 * 4)


def built(tested: NASBench201, genome: Genome, task: Task, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The network on the meta device, where there are no weights to draw; going through the motions is most of it."""
    import torch

    for name in ("kaiming_uniform_", "uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    with torch.device("meta"):
        return tested.build(genome, task).eval()


def test_networks_have_the_parameters_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = space()
    for number, genome in enumerate(EVERYTHING[::97]):
        task = BENCHMARK[number % 3]
        model = built(tested, genome, task, monkeypatch)
        assert sum(weight.numel() for weight in model.parameters()) == tested.cost(genome, task).parameters


@pytest.mark.parametrize("task", [CIFAR10, IMAGENET16, Task("odd", 2, 7, 5, 3), Task("dot", 1, 1, 1, 2, "regression")])
def test_cost_is_what_torch_counts(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tested = space(cells=2, channels=6)
    for genome in [EXAMPLE, *EVERYTHING[::3001]]:
        model = built(tested, genome, task, monkeypatch)
        with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            assert model(torch.empty(1, task.channels, task.height, task.width)).shape == (1, task.outputs)
        parameters = sum(weight.numel() for weight in model.parameters())
        assert tested.cost(genome, task) == Cost(parameters, counter.get_total_flops())


def test_cell_is_what_the_genome_says() -> None:
    """Each node the sum over all edges into it, `none` being a multiplication by zero."""
    import torch
    from torch.nn import functional

    from nasrun.spaces.nasbench201.network import Cell

    torch_generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 4, 6, generator=torch_generator, dtype=torch.float64)
    inside = torch.ones(1, 1, 4, 6, dtype=torch.float64)
    box = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    neighbours = functional.conv2d(inside, box, padding=1)  # 4 in the corners, 6 at the border, 9 within

    def applied(cell: Any, name: str, operation: str, value: torch.Tensor) -> torch.Tensor:
        if operation == "none":
            return value * 0
        if operation == "skip_connect":
            return value
        if operation == "avg_pool_3x3":
            return functional.conv2d(value, box.repeat(3, 1, 1, 1), padding=1, groups=3) / neighbours
        module = cell.operations[name]
        size = int(operation[-1])
        assert module.convolution.weight.shape == (3, 3, size, size)
        convolved = functional.conv2d(value.clamp(min=0), module.convolution.weight, padding=size // 2)
        mean, variance = convolved.mean((0, 2, 3), True), convolved.var((0, 2, 3), unbiased=False, keepdim=True)
        return (convolved - mean) / (variance + 1e-5).sqrt() * module.norm.weight.view(1, 3, 1, 1)

    for genome in EVERYTHING[::151]:
        edges = [(target, source, name) for (target, source), name in zip(EDGES, genome, strict=True)]
        cell = Cell(edges, 3).double()
        nodes = [image, *[torch.zeros_like(image)] * 3]
        for target, source, operation in edges:
            nodes[target] = nodes[target] + applied(cell, f"{target}_{source}", operation, nodes[source])
        assert torch.allclose(cell(image), nodes[3], atol=1e-9), genome


def test_reduction_adds_a_shortcut() -> None:
    import torch
    from torch.nn import functional

    from nasrun.spaces.nasbench201.network import Reduction

    image = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    block = Reduction(3).double().eval()  # normalisations as they begin: a division by sqrt(1 + 1e-5)
    features = functional.conv2d(image.clamp(min=0), block.first.convolution.weight, stride=2, padding=1)
    features = (features / (1 + 1e-5) ** 0.5).clamp(min=0)
    features = functional.conv2d(features, block.second.convolution.weight, padding=1) / (1 + 1e-5) ** 0.5
    means = image.view(2, 3, 2, 2, 3, 2).mean((3, 5))
    expected = features + functional.conv2d(means, block.shortcut.weight)
    assert expected.shape == (2, 6, 2, 3)
    assert torch.allclose(block(image), expected)


def test_network_is_that_of_the_benchmark() -> None:
    from torch import nn

    from nasrun.spaces.nasbench201.network import Cell, Reduction

    model: Any = space().build(EXAMPLE, CIFAR10)
    names = ["stem"]
    for stage in (1, 2, 3):
        names += [f"reduction{stage}"] * (stage > 1) + [f"stage{stage}_cell{number}" for number in range(1, 6)]
    assert [name for name, _ in model.named_children()][:-5] == names
    kinds = [Cell] * 5 + [Reduction] + [Cell] * 5 + [Reduction] + [Cell] * 5
    assert [type(part) for part in list(model)[1:-5]] == kinds
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert {part.out_channels for part in convolutions} == {16, 32, 64}
    assert not any(part.bias is not None for part in convolutions)
    assert [part.stride for part in convolutions].count((2, 2)) == 2


@pytest.mark.parametrize("genome", [("none",) * 6, ("none", "nor_conv_3x3", "none", "skip_connect", "none", "none")])
def test_networks_with_parts_that_lead_nowhere_train(genome: Genome) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = space(cells=1, channels=4).build(genome, CIFAR10)
        images, labels = torch.rand(8, 3, 8, 8), torch.arange(8)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses = []
        for _ in range(20):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_initial_weights_follow_the_seed() -> None:
    import torch

    states = []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            states.append(space(cells=1).build(EXAMPLE, CIFAR10).state_dict())
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states[1:]]
    assert same == [True, False]
