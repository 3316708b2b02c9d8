"""Exports of what a search with shared weights found: its border belongs to the network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nasrun.checkpoints.winner import build_for
from nasrun.export.network import load_network, measured_again
from tests.runner.test_shared_runs import SMALL
from tests.support import made_run, setup_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search whose networks see pictures of 8 x 8 pixels as 13 x 13."""
    directory = tmp_path_factory.mktemp("export") / "run"
    words = [*SMALL, "strategy=random", "trials=4", "evaluator.pad_to=13", "hardware.precision=fp32"]
    return made_run(directory, *words)


def test_the_network_of_a_run_sees_the_border_that_it_was_trained_with(run: Path) -> None:
    network = load_network(run, None)
    final = network.metrics
    again = measured_again(network, setup_of(*SMALL).dataset.load())
    assert again["test_accuracy"] == final["test_accuracy"]
    assert again["test_loss"] == pytest.approx(final["test_loss"], rel=1e-5)
    assert network.cost.parameters == sum(p.numel() for p in network.model.parameters())
    setup = setup_of(*SMALL)
    assert network.cost.flops > setup.space.cost(network.record.trial.proposal.genome, setup.dataset.task).flops


def test_every_format_of_it_agrees_and_is_rebuilt_with_the_border(
    run: Path, nasrun_inprocess: Callable, tmp_path: Path
) -> None:
    exported = nasrun_inprocess(f"export {run} --out out")
    assert exported.returncode == 0, exported.stderr
    images = setup_of(*SMALL).dataset.load().test.images
    assert exported.stdout.count(f"same class for {len(images)} of {len(images)} test images") == 4
    for number, image in enumerate(images[:3]):
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    answers = [nasrun_inprocess(f"predict {place} 0.png 1.png 2.png") for place in (run, "out")]
    assert answers[0].returncode == 0, answers[0].stderr
    assert answers[0].stdout == answers[1].stdout


def test_the_border_repeats_the_pixels_at_the_edge() -> None:
    setup = setup_of(*SMALL)
    genome = setup.space.sample(np.random.default_rng(0))
    task = setup.dataset.task
    alone = build_for(setup.space, genome, task, None)
    behind = build_for(setup.space, genome, task, 11, alone.state_dict())
    assert isinstance(behind, nn.Sequential)
    pictures = torch.arange(task.channels * task.height * task.width, dtype=torch.float32)
    pictures = pictures.view(1, task.channels, task.height, task.width)
    enlarged = behind[0](pictures)
    assert enlarged.shape == (1, task.channels, 11, 11)
    assert torch.equal(enlarged[..., 1:9, 1:9], pictures)
    assert torch.equal(enlarged[..., 0, 1:9], pictures[..., 0, :])
    assert torch.equal(enlarged[..., 10, 1:9], pictures[..., 7, :])
