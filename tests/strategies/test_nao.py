"""Strategy nao: its networks learn, decode what they encode and lead uphill; it finds what is good."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core import Objective, Proposal, Trial
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.strategies.nao.network import ArchitectureModel, ArchitectureNetworks
from nasrun.strategies.nao.settings import NetworkSettings
from nasrun.strategies.nao.strategy import NAO, SlotCoder
from nasrun.strategies.predictor.reading import shares_below
from tests.strategies.words import ok
from tests.support import setup_of, with_options

SETTINGS = NetworkSettings(predictor_hidden=32)


def worth(genome: Sequence[Any]) -> float:
    """A score of a cell: how many of its edges are 3x3 convolutions, less a little for poolings."""
    return genome.count("nor_conv_3x3") - 0.1 * genome.count("avg_pool_3x3")


@pytest.fixture(scope="module")
def learned() -> tuple[ArchitectureModel, SlotCoder, list[Any]]:
    """A model of 150 cells."""
    space, rng = NASBench201(), np.random.default_rng(0)
    cells = [space.sample(rng) for _ in range(150)]
    slots = SlotCoder(space)
    targets = shares_below([worth(cell) for cell in cells])
    return ArchitectureModel([slots.of(cell) for cell in cells], targets, slots.count, SETTINGS, 0), slots, cells


def test_scores_of_other_cells_are_predicted(learned: tuple[ArchitectureModel, SlotCoder, list[Any]]) -> None:
    model, slots, _ = learned
    space, rng = NASBench201(), np.random.default_rng(1)
    others = [space.sample(rng) for _ in range(100)]
    predicted = model.predictions([slots.of(cell) for cell in others])
    assert np.corrcoef(predicted, [worth(cell) for cell in others])[0, 1] > 0.8


def test_without_a_step_what_was_read_is_written(learned: tuple[ArchitectureModel, SlotCoder, list[Any]]) -> None:
    model, slots, cells = learned
    read = cells[:40]
    written = slots.genomes(model.uphill([slots.of(cell) for cell in read], 0.0, slots.legal))
    assert np.mean([one == cell for one, cell in zip(written, read, strict=True)]) > 0.9


def test_steps_lead_uphill(learned: tuple[ArchitectureModel, SlotCoder, list[Any]]) -> None:
    model, slots, cells = learned
    poor = [cell for cell in cells if worth(cell) <= 1][:30]
    moved = slots.genomes(model.uphill([slots.of(cell) for cell in poor], 2.0, slots.legal))
    assert np.mean([worth(cell) for cell in moved]) > np.mean([worth(cell) for cell in poor]) + 1


def test_the_gradient_is_that_of_the_prediction() -> None:
    networks = ArchitectureNetworks(9, SETTINGS, seed=0).double()
    rows, present = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        states = networks.encode(rows, present).states

    def predicted(moved: torch.Tensor) -> torch.Tensor:
        return networks.predict(networks.whole(moved))

    assert torch.autograd.gradcheck(predicted, (states.requires_grad_(),))


def test_padding_changes_nothing() -> None:
    networks = ArchitectureNetworks(9, SETTINGS, seed=0)
    short, padded = torch.tensor([[1, 2]]), torch.tensor([[1, 2, 0, 0]])
    one = networks.encode(short, torch.ones(1, 2, dtype=torch.bool))
    other = networks.encode(padded, torch.tensor([[True, True, False, False]]))
    torch.testing.assert_close(one.whole, other.whole)
    torch.testing.assert_close(networks.decode(one, short), networks.decode(other, padded)[:, :2])


def test_what_is_written_step_by_step_is_what_the_whole_says() -> None:
    networks = ArchitectureNetworks(9, SETTINGS, seed=3)
    rows = torch.tensor([[4, 7, 1, 2], [3, 3, 5, 8]])
    with torch.no_grad():
        code = networks.encode(rows, torch.ones(2, 4, dtype=torch.bool))
        written = networks.write(code, lambda slots: range(9) if len(slots) < 4 else ())
        logits = networks.decode(code, torch.tensor(written))
    assert logits.argmax(-1).tolist() == written


def test_equal_seeds_give_equal_models() -> None:
    genomes, targets = [[1, 2, 3], [2, 3], [4, 1, 1]], np.array([0.1, 0.5, 0.9])
    first, again, other = (ArchitectureModel(genomes, targets, 6, SETTINGS, seed) for seed in (0, 0, 1))
    assert (first.predictions(genomes) == again.predictions(genomes)).all()
    assert not np.allclose(first.predictions(genomes), other.predictions(genomes))


def test_good_cells_are_found() -> None:
    """A random cell is worth 1.1 on average, and one in 600 is worth 5 or more."""
    space = NASBench201()
    strategy = with_options(NAO, space, Objective("val_accuracy", "max"), np.random.default_rng(0))
    proposals: list[Proposal] = []
    for number in range(80):
        (proposal,) = strategy.ask(1)
        proposals.append(proposal)
        strategy.tell(Trial(number, proposal), ok(number, worth(proposal.genome)))
    assert max(worth(p.genome) for p in proposals) >= 5
    assert np.mean([worth(p.genome) for p in proposals[-20:]]) > 2
    assert [p.origin for p in proposals[:20]] == ["sample"] * 20
    assert [p.origin for p in proposals[20:]].count("predicted") > 40
    assert len({p.genome for p in proposals}) == 80
    assert len(strategy.notes()["losses"]) == 6


@pytest.mark.parametrize("name", ["sequential_cnn", "staged_cnn", "micro_cell", "mlp"])
def test_spaces_of_any_length_are_read_and_written(name: str) -> None:
    """Tokens that the vocabulary does not know are written only where there are no others."""
    space = setup_of(f"search_space={name}").space
    rng, slots = np.random.default_rng(0), SlotCoder(space)
    cells = [space.sample(rng) for _ in range(6)]
    model = ArchitectureModel(
        [slots.of(cell) for cell in cells], np.linspace(0, 1, 6), slots.count, NetworkSettings(steps=3, hidden=16), 0
    )
    together = slots.genomes(model.uphill([slots.of(cell) for cell in cells], 1.0, slots.legal))
    for cell, genome in zip(cells, together, strict=True):
        space.validate(genome)
        assert slots.genomes(model.uphill([slots.of(cell)], 1.0, slots.legal)) == [genome]


def test_torch_is_imported_when_there_is_something_to_learn() -> None:
    code = "import sys, nasrun.strategies.nao.strategy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
