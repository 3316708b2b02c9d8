"""Common checks of several search spaces."""

from collections.abc import Collection

import numpy as np
import pytest

from nasrun.core import Cost, Genome, SearchSpace, Task


def walked(tested: SearchSpace, rng: np.random.Generator) -> Genome:
    """A genome of random tokens, each as likely as any other that is legal: reaches all of a space."""
    genome: Genome = ()
    while legal := tested.choices(genome):
        genome = (*genome, legal[int(rng.integers(len(legal)))])
    return genome


def check_choices(tested: SearchSpace, expected: Collection[Genome]) -> None:
    """`choices` leads to these genomes, to each once, and `size` counts them."""
    found: list[Genome] = []
    open_ends: list[Genome] = [()]
    while open_ends:
        prefix = open_ends.pop()
        legal = tested.choices(prefix)
        open_ends += [(*prefix, token) for token in legal]
        if not legal:
            found.append(prefix)
    assert len(found) == len(expected) == tested.size
    assert set(found) == set(expected)
    for genome in expected:
        tested.validate(genome)


def check_round_and_variation(tested: SearchSpace, seed: int) -> None:
    """Random genomes go through text and vector and back, and all that is made of them belongs to the space."""
    rng = np.random.default_rng(seed)
    genome, other = tested.sample(rng), tested.sample(rng)
    for one in (genome, other):
        tested.validate(one)
        assert tested.parse(tested.format(one)) == one
        assert tested.decode(tested.encode(one)) == one
    for mutate in tested.mutations.values():
        tested.validate(mutate(genome, rng))
    tested.validate(tested.crossover(genome, other, rng))


def check_costs(tested: SearchSpace, task: Task, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What random genomes cost by formula is what torch counts of their networks."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # There are no weights to draw on the meta device, but going through the motions is half of the time.
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "zeros_", "ones_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)
    rng, counter, before = np.random.default_rng(5), FlopCounterMode(display=False), 0
    with torch.device("meta"), torch.inference_mode(), counter:
        image = torch.empty(1, task.channels, task.height, task.width)
        for _ in range(count):
            genome = tested.sample(rng)
            model = tested.build(genome, task).eval()
            assert model(image).shape == (1, task.outputs)
            total = counter.get_total_flops()
            parameters = sum(weight.numel() for weight in model.parameters())
            assert tested.cost(genome, task) == Cost(parameters, total - before), tested.format(genome)
            before = total
