"""What every search space promises, held by each option in conf/search_space."""

import importlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrun.core import Genome, SearchSpace, Task
from nasrun.core.options import check_section
from tests.forks import Forks, forks

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "conf" / "search_space").glob("*.yaml"))
TASKS = [Task("grey", 1, 28, 28, 10), Task("colour", 3, 32, 32, 100)]
STRANGE: list[Any] = [None, -1, 10**9, 0.5, True, "", "?", (1,)]


def load(path: Path) -> SearchSpace:
    """The space of a YAML file, made as the runner makes it: options checked, then given as keywords."""
    options: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    module, name = options.pop("_target_").rsplit(".", 1)
    cls = getattr(importlib.import_module(module), name)
    return cls(**check_section(cls, options, "search_space"))


def trajectory(space: SearchSpace) -> list[Any]:
    """One long chain of everything that draws, each step from the one before."""
    rng = np.random.default_rng(7)
    genome = space.sample(rng)
    steps: list[Any] = [genome]
    for _ in range(20):
        for name, mutate in space.mutations.items():
            genome = mutate(genome, rng)
            steps.append((name, genome, space.format(genome), space.encode(genome).tolist()))
        genome = space.crossover(genome, space.sample(rng), rng)
        steps.append((genome, space.choices(genome[:1]), space.cost(genome, TASKS[0])))
    return [*steps, rng.random()]


def sampled(space: SearchSpace, count: int, seed: int = 0) -> Iterator[Genome]:
    rng = np.random.default_rng(seed)
    return (space.sample(rng) for _ in range(count))


def refused(space: SearchSpace, genome: Any) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        space.validate(genome)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def space(config: Path) -> SearchSpace:
    return load(config)


@pytest.fixture(scope="module")
def networks(config: Path) -> int:
    """How many networks a test builds: few of nasnet, which is micro_cell with more cells and takes time."""
    return 5 if config.stem == "nasnet" else 20


def test_there_are_options() -> None:
    assert "sequential_cnn" in [path.stem for path in CONFIGS]


def test_first_line_is_the_help(config: Path) -> None:
    first = config.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 10


def test_seed_repeats(space: SearchSpace, config: Path) -> None:
    assert trajectory(space) == trajectory(space) == trajectory(load(config))


def test_a_pickled_space_is_the_same(space: SearchSpace) -> None:
    assert trajectory(pickle.loads(pickle.dumps(space))) == trajectory(space)


HERE = "import sys; from tests.contracts.test_search_spaces import *"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Forks]:
    """Another process, which has not imported torch."""
    with forks(HERE) as made:
        yield made


@pytest.fixture(scope="module")
def elsewhere_with_torch() -> Iterator[Forks]:
    """Another process, which has imported torch and not its compiler."""
    with forks(f"{HERE}; import torch") as made:
        yield made


def test_another_process_repeats_without_torch(space: SearchSpace, config: Path, elsewhere: Forks) -> None:
    there, torch = elsewhere.value(f"(trajectory(load(Path({str(config)!r}))), 'torch' in sys.modules)")
    assert there == json.loads(json.dumps(trajectory(space)))
    assert not torch, "torch was imported though nothing was built"


def test_samples_are_plain_valid_and_varied(space: SearchSpace) -> None:
    seen = set()
    for genome in sampled(space, 200):
        space.validate(genome)
        assert type(genome) is tuple
        assert {type(token) for token in genome} <= {int, str}
        assert tuple(json.loads(json.dumps(genome))) == genome
        hash(space.key(genome))
        assert space.key(genome) == space.key(tuple(json.loads(json.dumps(genome))))
        seen.add(genome)
    assert len(seen) > 1
    assert space.size is None or space.size >= len(seen)


def test_format_and_parse(space: SearchSpace) -> None:
    for genome in sampled(space, 200):
        text = space.format(genome)
        assert space.parse(text) == genome
        assert not set(text) & set("\t,\n\r\v\f")
        assert text == text.strip() != ""


def test_parse_refuses_or_stays_in_the_space(space: SearchSpace) -> None:
    refusals: list[str] = []
    for genome in sampled(space, 10):
        text = space.format(genome)
        broken = [text[:i] for i in range(len(text))] + [text[:i] + "?" + text[i + 1 :] for i in range(len(text))]
        for other in [*broken, f"{text}{text}", f"{text}\n", f" {text}"]:
            try:
                space.validate(space.parse(other))
            except ValueError as error:
                refusals.append(str(error))
    assert len(refusals) > 10
    assert all(len(refusal.splitlines()) == 1 for refusal in refusals)


def test_encode_and_decode(space: SearchSpace) -> None:
    lengths = set()
    for genome in sampled(space, 200):
        vector = space.encode(genome)
        assert vector.ndim == 1
        assert vector.dtype.kind == "f"
        assert vector.min() >= 0
        assert vector.max() <= 1
        lengths.add(len(vector))
        assert space.decode(vector) == genome
    assert len(lengths) == 1


def test_every_vector_decodes(space: SearchSpace) -> None:
    rng = np.random.default_rng(1)
    length = len(space.encode(space.sample(rng)))
    vectors = [np.zeros(length), np.ones(length)]
    vectors += [rng.random(length) for _ in range(200)]
    vectors += [rng.integers(0, 2, length).astype(float) for _ in range(100)]
    decoded = [space.decode(vector) for vector in vectors]
    for genome in decoded:
        space.validate(genome)
        assert space.decode(space.encode(genome)) == genome
    assert len(set(decoded)) > 1


def test_walks_through_choices_end_in_the_space(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        genome: Genome = ()
        while legal := space.choices(genome):
            assert type(legal) is tuple
            assert len(set(legal)) == len(legal)
            genome = (*genome, legal[int(rng.integers(len(legal)))])
            assert len(genome) < 1000
        space.validate(genome)


def test_choices_reach_every_genome(space: SearchSpace) -> None:
    for genome in sampled(space, 200):
        for position, token in enumerate(genome):
            assert token in space.choices(genome[:position])
        assert space.choices(genome) == ()


def test_mutations(space: SearchSpace) -> None:
    assert space.mutations
    for name, mutate in space.mutations.items():
        rng = np.random.default_rng(3)
        changed = 0
        for genome in sampled(space, 100, seed=4):
            child = mutate(genome, rng)
            space.validate(child)
            changed += child != genome
        assert changed, f"{name} changed none of 100 genomes"


def test_crossover(space: SearchSpace) -> None:
    rng = np.random.default_rng(5)
    mixed = 0
    for first, second in zip(sampled(space, 200, seed=1), sampled(space, 200, seed=2), strict=True):
        child = space.crossover(first, second, rng)
        space.validate(child)
        mixed += child not in (first, second)
    assert mixed


def test_validate_refuses_what_choices_do_not_offer(space: SearchSpace) -> None:
    genomes = list(sampled(space, 10))
    vocabulary = [*{token: None for genome in genomes for token in genome}, *STRANGE]
    for genome in genomes:
        refused(space, list(genome))
        refused(space, (*genome, genome[-1]))
        for position in range(len(genome)):
            refused(space, genome[:position])
            legal = [(type(token), token) for token in space.choices(genome[:position])]
            for token in vocabulary:
                if (type(token), token) not in legal:
                    refused(space, (*genome[:position], token, *genome[position + 1 :]))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_build_and_cost(space: SearchSpace, networks: int, task: Task) -> None:
    import torch

    for genome in sampled(space, networks):
        model = space.outline(genome, task).eval()
        output = model(torch.empty(3, task.channels, task.height, task.width, device="meta"))
        assert output.shape == (3, task.outputs)
        assert output.is_floating_point()
        cost = space.cost(genome, task)
        assert cost.parameters == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        assert type(cost.parameters) is type(cost.flops) is int
        assert cost.flops > 0


def test_an_outline_is_the_network_without_values(space: SearchSpace) -> None:
    import torch

    genome = next(sampled(space, 1, seed=8))
    state = torch.random.get_rng_state()
    outline = space.outline(genome, TASKS[1]).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(tensor.is_meta for tensor in outline.values())
    built = space.build(genome, TASKS[1]).state_dict()
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in outline.items()}
    assert shapes == {name: (tensor.shape, tensor.dtype) for name, tensor in built.items()}


def outlined(config: Path) -> bool:
    """Whether torch's compiler is imported when a network was outlined."""
    space = load(config)
    space.outline(next(sampled(space, 1)), TASKS[1])
    return "torch._dynamo" in sys.modules


def test_an_outline_is_made_without_the_compiler(config: Path, elsewhere_with_torch: Forks) -> None:
    assert not elsewhere_with_torch.value(f"outlined(Path({str(config)!r}))")
