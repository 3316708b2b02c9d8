"""A small data set that a small network learns in a second, and what trains on it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasrun.datasets import Split
from nasrun.datasets.synthetic import Synthetic
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData
from nasrun.training.loop import train
from nasrun.training.outcomes import Training
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings

Trained = tuple[Training, nn.Module]


def small_network(channels: int = 1, outputs: int = 4) -> nn.Sequential:
    """A convolutional network with everything that a search space uses: normalisation, pooling, a dense layer."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, outputs),
    )


def cpu(precision: str = "fp32", channels_last: bool = True) -> Runtime:
    return Runtime("cpu", precision, "as configured", 1, channels_last)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _generators_and_threads() -> None:
    torch.manual_seed(0)
    cpu().apply()


def small_data() -> DeviceData:
    return DeviceData(Synthetic(samples=500, classes=4, height=12, width=12, noise=0.25, validation=0.2).load(), "cpu")


@pytest.fixture(scope="session")
def data() -> DeviceData:
    return small_data()


def train_network(data: DeviceData, seed: int = 1, runtime: Runtime | None = None, **options: Any) -> Trained:
    """Train the small network with dropout, from the same initial weights each time."""
    named = {name: options.pop(name) for name in ("limits", "first_epoch") if name in options}
    told = {name: options.pop(name) for name in ("on_epoch",) if name in options}
    settings = TrainSettings(**{"epochs": 2, "batch_size": 32, **options})
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        model = small_network()
        model.insert(6, nn.Dropout(0.1))
        training = train(model, seed, TrainingRequest(data, settings, runtime or cpu(), **named), **told)
    return training, model


def random_split(count: int, channels: int, height: int, width: int) -> Split:
    rng = np.random.default_rng(3)
    # Brightness differs between channels, so that one of them normalised by another's numbers shows.
    images = rng.integers(0, 120, (count, channels, height, width)) + 60 * np.arange(channels)[:, None, None]
    return Split(images.astype(np.uint8), np.arange(count, dtype=np.int64))


def accuracy(training: Training) -> float:
    return training.metrics["val_accuracy"]
