"""The value of training recipes: one hand-written network, trained with each, several seeds, validation images.

usage: python scripts/bench_recipes.py [options] RECIPE ...

RECIPE is an option of the group `recipe` with changes, such as "strong weight_decay=0.002 shift=2". The network is a
ResNet-8 (three residual blocks, average-pooled shortcuts). It is trained on a number of training images of each class
(--per-class) and compared on other training images; no test image is used. All recipes have the same epochs, so that
the numbers do not depend on the load of the machine; their processor time is printed too, and the accuracy of means
over an image and its mirror image (`mirrored`, the key `test_flip`).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import yaml
from torch import nn

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Task, seeding
from nasrun.core.option_files import option_values
from nasrun.datasets import Dataset
from nasrun.datasets.cifar10 import Cifar10
from nasrun.datasets.fashion_mnist import FashionMnist
from nasrun.datasets.mnist import Mnist
from nasrun.evaluators.train.recipe import by_data
from nasrun.hardware.devices import Hardware
from nasrun.training.data import DeviceData
from nasrun.training.loop import train
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import measure

DATASETS: dict[str, Callable[..., Dataset]] = {"cifar10": Cifar10, "fashion_mnist": FashionMnist, "mnist": Mnist}


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut, which average-pools if the block halves its images."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        pool = [nn.AvgPool2d(stride)] if stride > 1 else []
        narrow = [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)] if before != after else []
        self.shortcut = nn.Sequential(*pool, *narrow)
        self.activation = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, before, H, W) to (batch, after, H / stride, W / stride)."""
        activated: torch.Tensor = self.activation(self.path(images) + self.shortcut(images))
        return activated


class ResNet8(nn.Module):
    """78,000 parameters for colour images in ten classes; the network of MLPerf Tiny, except for the pooled
    shortcuts."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(task.channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.output = nn.Linear(64, task.outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, H, W) to logits (batch, outputs)."""
        logits: torch.Tensor = self.output(self.blocks(self.stem(images)).mean((2, 3)))
        return logits


def settings_of(words: str, epochs: int, dataset: Dataset) -> TrainSettings:
    """The settings of a recipe with changes."""
    name, *changes = words.split()
    pairs = (change.partition("=") for change in changes)
    values = option_values("recipe", name) | {key: yaml.safe_load(value) for key, _, value in pairs}
    space = build(task_config(compose_config(["search_space=staged_cnn"]))).space  # a space with similar networks
    return TrainSettings(epochs=epochs, **by_data(values, dataset, space)[0])


class Result(NamedTuple):
    """Validation accuracy after the last epoch, the same for means over an image and its mirror image, and the
    processor seconds of the training."""

    accuracy: float
    mirrored: float
    seconds: float


def trained(dataset: Dataset, settings: TrainSettings, seed: int) -> Result:
    """Train the network with one seed."""
    runtime = Hardware(device="cpu", threads=1).resolve()
    runtime.apply()
    data = DeviceData(dataset.load(), "cpu")
    torch.manual_seed(seeding.integer(seed, seeding.Purpose.INIT))
    model = ResNet8(dataset.task)
    started = time.process_time()
    train(model, seed, TrainingRequest(data, settings, runtime, validation=None))
    seconds = time.process_time() - started
    once, twice = (replace(settings, flip=True, test_flip=test_flip) for test_flip in (False, True))
    accuracy, mirrored = (measure(model, data, "validation", runtime, each)["accuracy"] for each in (once, twice))
    return Result(accuracy, mirrored, seconds)


def main(words: Sequence[str] | None = None) -> None:
    """Train with every recipe and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", metavar="RECIPE")
    parser.add_argument("--dataset", choices=DATASETS, default="cifar10")
    parser.add_argument("--per-class", type=int, default=600, help="training images of each class")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args(words)
    dataset = DATASETS[arguments.dataset](train_samples=10 * arguments.per_class, validation=0.2)
    print(f"{'recipe':<60} {'mean':>6} {'sd':>6} {'mirrored':>8}  {'s of one core':>13}  each seed")
    for recipe in arguments.recipes:
        settings = settings_of(recipe, arguments.epochs, dataset)
        found = [trained(dataset, settings, seed) for seed in range(arguments.seeds)]
        accuracies = [result.accuracy for result in found]
        spread = statistics.stdev(accuracies) if len(found) > 1 else 0.0
        mirrored, seconds = (statistics.fmean(values) for values in list(zip(*found, strict=True))[1:])
        each = " ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        numbers = f"{statistics.fmean(accuracies):6.4f} {spread:6.4f} {mirrored:8.4f}  {seconds:13.1f}"
        print(f"{recipe:<60} {numbers}  {each}", flush=True)


if __name__ == "__main__":
    main()
