"""A practitioner's ten-minute script: a ResNet-8 in plain PyTorch, trained for a given processor time.

    python scripts/handwritten_baseline.py --seconds 60 --seed 0 dataset=cifar10 dataset.train_samples=6000

The arguments after the flags name a data set in nasrun's notation; only its arrays are used. Prints one line of JSON:
test accuracy, parameters, epochs, and the processor seconds of the process, over which the schedule runs.

ResNet-8 as in MLPerf Tiny, with shortcuts that average-pool (He et al. 2019, "Bag of Tricks"); flip and shift; SGD with
Nesterov momentum 0.9; a rate that rises linearly to 0.3 over the first fifth of the time and falls linearly to 0;
weight decay 5e-4 on weights only; label smoothing 0.05; batch 64 below 10,000 images and otherwise 128; bf16 if it is
faster.
"""

import argparse
import json
import time
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.datasets import Split, Splits
from nasrun.datasets.mapped import Images

RISE = 0.2
MIRRORLESS = ("mnist",)
"""Data sets whose images change their meaning when mirrored."""
TIMED_STEPS = 5


class Settings(NamedTuple):
    """The practitioner's settings: the highest learning rate, weight decay, label smoothing, maximum shift of images in
    pixels (None: 2 of 28, else 4), whether all classes have the same weight in the loss."""

    peak: float = 0.3
    decay: float = 5e-4
    smoothing: float = 0.05
    shift: int | None = None
    balanced: bool = False


class Block(torch.nn.Module):
    """Two 3x3 convolutions with a shortcut, which pools and projects if the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = torch.nn.BatchNorm2d(outputs)
        self.second = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = torch.nn.BatchNorm2d(outputs)
        self.shortcut: torch.nn.Module = torch.nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = torch.nn.Sequential(
                torch.nn.AvgPool2d(stride, ceil_mode=True),
                torch.nn.Conv2d(inputs, outputs, 1, bias=False),
                torch.nn.BatchNorm2d(outputs),
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.second_norm(self.second(hidden)) + self.shortcut(images))


def resnet8(channels: int, classes: int, width: int = 16) -> torch.nn.Module:
    """Stem and three stages of one block; widths `width`, twice and four times that. 78k parameters at 16."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, width, 3, 1, 1, bias=False),
        torch.nn.BatchNorm2d(width),
        torch.nn.ReLU(),
        Block(width, width, 1),
        Block(width, 2 * width, 2),
        Block(2 * width, 4 * width, 2),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * width, classes),
    )


def parameters(model: torch.nn.Module) -> int:
    """Number of trainable parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def widest(channels: int, classes: int, limit: int) -> int:
    """The width of the ResNet-8 of 16 channels, or of the widest narrower one with at most `limit` parameters."""
    for width in range(16, 1, -1):
        if parameters(resnet8(channels, classes, width)) <= limit:
            return width
    raise SystemExit(f"--parameters {limit}: no ResNet-8 is that small")


def augmented(images: torch.Tensor, shift: int, flip: bool, rng: np.random.Generator) -> torch.Tensor:
    """A batch with each image shifted by up to `shift` pixels, and half of the images mirrored."""
    count, _, height, width = images.shape
    padded = F.pad(images, (shift,) * 4)
    down, right = (torch.from_numpy(rng.integers(0, 2 * shift + 1, count)) for _ in range(2))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    images = windows[torch.arange(count), :, down, right]
    if flip:
        mirrored = torch.from_numpy(rng.random(count) < 0.5).view(-1, 1, 1, 1)
        images = torch.where(mirrored, images.flip(3), images)
    return images


class Loop:
    """The training loop: network, optimizer, data, and the processor time available.

    `splits`: used for mean and deviation in standardising; `whole`: the images to train on.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        splits: Splits,
        whole: Split,
        name: str,
        seed: int,
        settings: Settings = Settings(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.settings = settings
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (splits.mean, splits.std))
        self.images, self.labels = torch.from_numpy(np.asarray(whole.images)), torch.from_numpy(whole.labels)
        counts = torch.bincount(self.labels, minlength=len(splits.classes))
        self.weights = len(whole) / (len(counts) * counts) if settings.balanced else None
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batch = 64 if len(whole) < 10_000 else 128
        self.shift = (2 if whole.images.shape[-1] == 28 else 4) if settings.shift is None else settings.shift
        self.flip = name not in MIRRORLESS
        self.rng, self.steps, self.bf16 = np.random.default_rng(seed), 0, False
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=settings.peak, momentum=0.9, nesterov=True, fused=True)

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes as standardised floats."""
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        return floats.div_(255).sub_(self.mean).div_(self.std)

    def step(self, index: torch.Tensor, rate: float) -> None:
        """One update."""
        images = self.prepared(augmented(self.images[index], self.shift, self.flip, self.rng))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            outputs = self.model(images)
        smoothing = self.settings.smoothing
        loss = F.cross_entropy(outputs.float(), self.labels[index], self.weights, label_smoothing=smoothing)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1

    def choose_precision(self) -> None:
        """Choose bf16 if a few of its steps, at a rate of 0, take less time than in fp32."""
        index = torch.arange(self.batch)
        taken = {}
        for self.bf16 in (False, True):
            self.step(index, 0.0)
            started = time.process_time()
            for _ in range(TIMED_STEPS):
                self.step(index, 0.0)
            taken[self.bf16] = time.process_time() - started
        self.bf16 = taken[True] < taken[False]
        self.optimizer.state.clear()
        self.steps = 0

    def train(self, seconds: float) -> float:
        """Train until the process has used that much processor time; returns the epochs."""
        started, count = time.process_time(), len(self.labels)
        while True:
            for index in torch.from_numpy(self.rng.permutation(count)).split(self.batch):
                now = time.process_time()
                if now >= seconds:
                    return self.steps * self.batch / count
                share = (now - started) / (seconds - started)
                if len(index) == min(self.batch, count):  # the last batch of a pass may be smaller
                    rate = share / RISE if share < RISE else (1 - share) / (1 - RISE)
                    self.step(index, self.settings.peak * rate)

    def accuracy(self, images: Images, labels: np.ndarray) -> float:
        """Share of correct answers, with running statistics."""
        self.model.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(labels), 1000):
                part = slice(start, start + 1000)
                with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                    answers = self.model(self.prepared(torch.from_numpy(np.asarray(images[part])))).argmax(1)
                right += int((answers == torch.from_numpy(labels[part])).sum())
        return right / len(labels)


def arguments_of(description: str) -> argparse.Namespace:
    """The flags, and the arguments that name the data."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, required=True, help="processor time of the whole process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parameters", type=int, default=100_000, help="maximum number of parameters")
    parser.add_argument("--balanced", action="store_true", help="give images of rare classes more weight in the loss")
    parser.add_argument("--more", help="another data set of the same classes, to test on as well")
    parser.add_argument("data", nargs="+", help="a data set, in the notation of nasrun's command line")
    return parser.parse_args()


def tell(loop: Loop, splits: Splits, epochs: float, more: str | None) -> None:
    """Print the results as a line of JSON."""
    found = {"seconds": round(time.process_time(), 1), "parameters": parameters(loop.model)}
    found |= {"epochs": round(epochs, 1), "bf16": loop.bf16}
    found["accuracy"] = loop.accuracy(splits.test.images, splits.test.labels)
    if more:
        test = build(task_config(compose_config([more]))).dataset.load().test
        found["more"] = loop.accuracy(test.images, test.labels)
    print(json.dumps(found))


def main() -> None:
    """Train once and print the results."""
    arguments = arguments_of(__doc__.splitlines()[0])
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    dataset = build(task_config(compose_config(arguments.data))).dataset
    splits, task = dataset.load(), dataset.task
    model = resnet8(task.channels, task.outputs, widest(task.channels, task.outputs, arguments.parameters))
    settings = Settings(balanced=arguments.balanced)
    loop = Loop(model, splits, splits.whole_training, dataset.name, arguments.seed, settings)
    loop.choose_precision()
    tell(loop, splits, loop.train(arguments.seconds), arguments.more)


if __name__ == "__main__":
    main()
