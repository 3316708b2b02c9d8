"""The trainer against the plain loop of PyTorch's tutorials on real images: fed the same batches, the same training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasrun.config.build import Setup
from nasrun.core import seeding
from nasrun.training.data import DeviceData
from nasrun.training.loop import train
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import measure
from tests.support import setup_of
from tests.training.conftest import cpu

GENOME = "N16k3relu-R32k3gelu-R32k3relu"
SEED = 5
SETTINGS = TrainSettings(epochs=2, batch_size=32, optimizer="adam", lr=0.003, schedule="constant", weight_decay=0.0)


@pytest.fixture(scope="module")
def setup() -> Setup:
    return setup_of("dataset=fashion_mnist_mini", "dataset.train_samples=1280")


@pytest.fixture(scope="module")
def images(setup: Setup) -> DeviceData:
    return DeviceData(setup.dataset.load(), "cpu")


def network(setup: Setup) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        return setup.space.build(setup.space.parse(GENOME), setup.dataset.task)


def plain_losses(model: nn.Module, setup: Setup) -> list[float]:
    """Mean loss of each epoch of a loop written out: floats made at once, Adam as it comes, one batch at a time."""
    splits = setup.dataset.load()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (splits.mean, splits.std))
    pixels = (torch.from_numpy(splits.train.images).float() / 255 - mean) / std
    labels = torch.from_numpy(splits.train.labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.peak_lr)
    order = torch.Generator().manual_seed(seeding.integer(SEED, seeding.Purpose.ORDER))
    epochs = []
    model.train()
    for _ in range(SETTINGS.epochs):
        losses = []
        for chosen in torch.randperm(len(labels), generator=order).split(SETTINGS.batch_size):
            if len(chosen) == SETTINGS.batch_size:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(pixels[chosen]), labels[chosen])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        epochs.append(float(np.mean(losses)))
    return epochs


@pytest.mark.parametrize(
    ("precision", "channels_last", "tolerance"),
    [("fp32", False, 1e-3), ("fp32", True, 1e-3), ("bf16", True, 0.01)],
)
def test_the_same_batches_give_the_same_training(
    setup: Setup, images: DeviceData, precision: str, channels_last: bool, tolerance: float
) -> None:
    runtime = cpu(precision, channels_last)
    ours, plain = network(setup), network(setup)
    training = train(ours, SEED, TrainingRequest(images, SETTINGS, runtime, validation=None))
    expected = plain_losses(plain, setup)
    assert [row["train_loss"] for row in training.history] == pytest.approx(expected, rel=tolerance)
    assert expected[-1] < 0.8 * expected[0]
    accuracies = [measure(model, images, "test", cpu(channels_last=False))["accuracy"] for model in (ours, plain)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=20 * tolerance)


@pytest.mark.parametrize("size", [64, 100])
def test_an_epoch_is_a_permutation_of_all_images(images: DeviceData, size: int) -> None:
    """Every image once per epoch (but for the remainder of the last batch), and another order in the next."""
    settings = TrainSettings(batch_size=size)
    split = images.split("train")
    numbered = type(split)(torch.arange(len(split)).view(-1, 1, 1, 1), torch.arange(len(split)))
    order, augment = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    epochs = []
    for _ in range(2):
        batches = images.training_batches(numbered, settings, torch.contiguous_format, order, augment)
        epochs.append(torch.cat([labels for _, labels in batches]))
    assert all(len(epoch) == len(epoch.unique()) == len(split) // size * size for epoch in epochs)
    assert not torch.equal(*epochs)
    # Ranks of a uniform order: no trend, and neighbours apart by a third of the data on average.
    gaps = (epochs[0][1:] - epochs[0][:-1]).abs().double().mean().item()
    assert gaps == pytest.approx(len(split) / 3, rel=0.1)
