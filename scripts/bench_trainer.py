"""nasrun's trainer and a plain PyTorch `DataLoader` loop: same network, data, optimizer, batch size and epochs.

    python scripts/bench_trainer.py [--device cpu] [--samples 12800] [--epochs 3] [--seeds 5] [--cases cnn dense]
                                    [--schedule constant]

The plain loop is that of PyTorch's own tutorials: a `TensorDataset` of normalised floats, `DataLoader(shuffle=True)`
without workers (each was slower with them, because the data are in memory), Adam at its defaults, contiguous fp32. The
variants take turns within each seed, so that changes of the machine's speed affect all of them; ratios are between runs
of one seed, and their median and range are printed. Accuracies are on the test set, mean and standard deviation over
the seeds, with the mean difference from the plain loop's accuracy (same seed, same initial weights) and its standard
error, which shows a faster variant that learns worse. `--schedule cosine` anneals the rate in all of them, which
reduces the noise of the last epoch: for comparing accuracies.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core.environment import describe_environment
from nasrun.datasets import Splits
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.training.data import DeviceData
from nasrun.training.loop import train
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from nasrun.training.single import measure

CNN = "N32k3relu-R64k3relu-N64k3relu-R128k3relu"


@dataclass(frozen=True)
class Case:
    """A network and its training settings."""

    name: str
    make: Callable[[], torch.nn.Module]
    batch_size: int
    epochs: int
    schedule: Literal["constant", "cosine"]


def cnn() -> torch.nn.Module:
    """A small network of the main job's space: four convolutions with batch normalisation, 121,738 parameters."""
    overrides = [
        "search_space=sequential_cnn",
        "recipe=plain",
        "search_space.filters=[32,64,128]",
        "dataset=fashion_mnist_mini",
    ]
    setup = build(task_config(compose_config(overrides)))
    return setup.space.build(setup.space.parse(CNN), setup.dataset.task)


def dense() -> torch.nn.Module:
    """784-128-64-10 with ReLU and dropout 0.2."""
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(784, 128),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(64, 10),
    )


def plain_loop(model: torch.nn.Module, splits: Splits, case: Case, device: str) -> float:
    """The tutorial's loop; returns the seconds of its epochs."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (splits.mean, splits.std))
    images = (torch.from_numpy(splits.train.images).float() / 255 - mean) / std
    labels = torch.from_numpy(splits.train.labels)
    loader = DataLoader(TensorDataset(images, labels), case.batch_size, shuffle=True, pin_memory=device == "cuda")
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    steps = case.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if case.schedule == "cosine" else None
    synchronise(device)
    started = time.perf_counter()
    for _ in range(case.epochs):
        model.train()
        running_loss = 0.0
        for batch, target in loader:
            batch, target = batch.to(device), target.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            running_loss += loss.item()
    synchronise(device)
    return time.perf_counter() - started


def our_loop(model: torch.nn.Module, data: DeviceData, case: Case, runtime: Runtime, seed: int) -> float:
    """nasrun's trainer with the same settings; returns the seconds of its epochs."""
    settings = TrainSettings(
        epochs=case.epochs, batch_size=case.batch_size, optimizer="adam", lr=0.001, schedule=case.schedule
    )
    data.split("train")
    synchronise(runtime.device)
    started = time.perf_counter()
    train(model, seed, TrainingRequest(data, settings, runtime, validation=None))
    synchronise(runtime.device)
    return time.perf_counter() - started


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def run_case(case: Case, splits: Splits, device: str, seeds: int, threads: int) -> None:
    """Time all variants of a case, taking turns, and print a table."""
    data = DeviceData(splits, device)
    precisions = ["fp32", "bf16"] if device == "cuda" or "cnn" in case.name else ["fp32"]
    runtimes = {
        f"nasrun {precision}": Runtime(device, precision, "", threads, True)  # type: ignore[arg-type]
        for precision in precisions
    }
    seconds: dict[str, list[float]] = {name: [] for name in ["plain", *runtimes]}
    accuracies: dict[str, list[float]] = {name: [] for name in seconds}
    reference = Runtime(device, "fp32", "", threads, False)  # type: ignore[arg-type]
    for seed in range(-1, seeds):
        for name in seconds:
            torch.manual_seed(seed + 1)
            model = case.make()
            runtime = runtimes.get(name)
            if runtime is None:
                taken = plain_loop(model, splits, case, device)
            else:
                runtime.apply()
                taken = our_loop(model, data, case, runtime, seed + 1)
            if seed >= 0:  # the first round warms up
                seconds[name].append(taken)
                accuracies[name].append(measure(model, data, "test", runtime or reference)["accuracy"])
        latest = "  ".join(f"{name} {values[-1]:.4f}" for name, values in accuracies.items() if values)
        print(f"seed {seed}: {latest}" if latest else "warmed up", flush=True)
    images = len(splits.train) * case.epochs
    print(
        f"\n{case.name}, batch {case.batch_size}, {case.epochs} epochs of {len(splits.train):,} images, "
        f"{case.schedule} rate, n={seeds}"
    )
    print(f"{'':<14}{'images/s':>10}  {'ratio to plain (min to max)':<30}{'test accuracy':<20}difference +- its error")
    for name, times in seconds.items():
        ratios = [base / own for base, own in zip(seconds["plain"], times, strict=True)]
        rate = statistics.median(images / value for value in times)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        accuracy = f"{statistics.fmean(accuracies[name]):.4f} +- {deviation(accuracies[name]):.4f}"
        gaps = [own - base for base, own in zip(accuracies["plain"], accuracies[name], strict=True)]
        gap = f"{statistics.fmean(gaps):+.4f} +- {deviation(gaps) / math.sqrt(seeds):.4f}"
        print(f"{name:<14}{rate:>10,.0f}  {spread:<30}{accuracy:<20}{gap}")


def deviation(values: list[float]) -> float:
    """Standard deviation of a sample; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    """Print one table per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--samples", type=int, default=12800)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--cases", choices=["cnn", "dense"], nargs="+", default=["cnn", "dense"])
    arguments = parser.parse_args()
    overrides = [f"dataset={arguments.dataset}", f"dataset.train_samples={arguments.samples}"]
    splits = build(task_config(compose_config(overrides))).dataset.load()
    runtime = Hardware(device=arguments.device).resolve()
    runtime.apply()
    environment = describe_environment()
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{runtime.threads} threads"
    print(f"{environment['processor']}, {where}, torch {torch.__version__}, Python {environment['python']}")
    length = arguments.epochs, arguments.schedule
    cases = [Case("cnn " + CNN, cnn, 128, *length), Case("dense 784-128-64-10", dense, 32, *length)]
    for case in cases:
        if case.name.split()[0] not in arguments.cases:
            continue
        run_case(case, splits, arguments.device, arguments.seeds, runtime.threads)


if __name__ == "__main__":
    main()
