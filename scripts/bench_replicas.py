"""Small dense networks trained in eight ways on the same data: Keras, a `DataLoader` loop, ... ten together by nasrun.

    python scripts/bench_replicas.py [--quick] [--rounds 7] [--samples 6400] [--threads 1 2] [--device cpu]

Networks 784-128-64-10 and 784-256-256-10, ReLU, dropout 0.2, batch 32, Adam at 0.001. All ways take turns within a
round, so that changes of the machine's speed affect all of them. Prints training samples per second (for ten networks:
of all together), median and range over the rounds, and the ratio to the `DataLoader` loop of the same round; each by
the clock, and by the processor time of all threads and processes, which other work on the machine affects less. The
first round is a warm-up and does not count. Pixels and labels are random: the speed does not depend on them. Keras is
measured if installed (`pip install 'nasrun[keras]'`), and only on all threads, because it sets their number once.
`--quick`: one round of a few samples, which tests the script but does not measure speed.
"""

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from nasrun.core.environment import describe_environment
from nasrun.datasets import Split, Splits
from nasrun.evaluators.train.groups import MOST
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.hardware.pool import shares
from nasrun.training.data import DeviceData
from nasrun.training.dense.threads import MOST_THREADS
from nasrun.training.loop import train_together
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings

NETWORKS = ((784, 128, 64, 10), (784, 256, 256, 10))
BATCH, DROPOUT, RATE = 32, 0.2, 0.001
TOGETHER, BASE = 10, "DataLoader loop"
SETTINGS = TrainSettings(epochs=1, batch_size=BATCH, optimizer="adam", lr=RATE, schedule="constant", weight_decay=0.0)

Way = Callable[[], tuple[int, float]]
"""Trains once and returns the number of samples, and the processor seconds of other processes."""


class Rates(NamedTuple):
    """Training samples per second: by the clock, and by processor time."""

    clock: float
    processor: float


def made_up(samples: int) -> Splits:
    """A data set of random pixels in the shape of MNIST."""
    rng = np.random.default_rng(0)

    def part(count: int) -> Split:
        images = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
        return Split(images, rng.integers(0, 10, count))

    return Splits(part(samples), part(100), part(100), (0.5,), (0.29,), tuple("0123456789"))


def network(widths: Sequence[int]) -> nn.Sequential:
    """Flatten, then Linear, ReLU and Dropout in turn, Linear last."""
    parts: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths[:-1]):
        parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


def floats(splits: Splits, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The training images as standardised floats, and their labels."""
    images = (torch.from_numpy(splits.train.images).float() / 255 - splits.mean[0]) / splits.std[0]
    return images.to(device), torch.from_numpy(splits.train.labels).to(device)


def loader_loop(widths: Sequence[int], splits: Splits, device: str) -> Way:
    """Times the loop of PyTorch's tutorials."""
    images, labels = floats(splits, "cpu")
    loader = DataLoader(TensorDataset(images, labels), BATCH, shuffle=True, pin_memory=device == "cuda")
    model = network(widths).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def way() -> tuple[int, float]:
        model.train()
        running_loss = 0.0
        for batch, target in loader:
            batch, target = batch.to(device), target.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        return len(labels), 0.0

    return way


def sliced(widths: Sequence[int], splits: Splits, device: str) -> Way:
    """Times one plain module on slices of shuffled tensors, with the fused optimizer."""
    images, labels = floats(splits, device)
    model = network(widths).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def way() -> tuple[int, float]:
        model.train()
        for chosen in torch.randperm(len(labels), device=device).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
        return len(labels), 0.0

    return way


def by_vmap(widths: Sequence[int], splits: Splits, device: str) -> Way:
    """Times ten networks by `torch.func.vmap` over their stacked parameters, each on its own batches."""
    images, labels = floats(splits, device)
    models = [network(widths).to(device) for _ in range(TOGETHER)]
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    base = models[0].train()
    tensors = [nn.Parameter(tensor.detach()) for tensor in parameters.values()]
    optimizer = torch.optim.Adam(tensors, lr=RATE, fused=True)

    def loss_of(weights: dict[str, torch.Tensor], batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(base, (weights, buffers), (batch,)), target)

    step = vmap(grad_and_value(loss_of), randomness="different")

    def way() -> tuple[int, float]:
        orders = torch.stack([torch.randperm(len(labels), device=device) for _ in range(TOGETHER)])
        for chosen in orders.split(BATCH, 1):
            weights = dict(zip(parameters, tensors, strict=True))
            gradients, _ = step({k: v.detach() for k, v in weights.items()}, images[chosen], labels[chosen])
            for name, tensor in weights.items():
                tensor.grad = gradients[name]
            optimizer.step()
        return TOGETHER * len(labels), 0.0

    return way


def ours(count: int, widths: Sequence[int], data: DeviceData, runtime: Runtime) -> Way:
    """Times nasrun's trainer with so many networks, in groups of the size that evaluator `train` forms."""
    parameters = sum((before + 1) * after for before, after in pairwise(widths))
    networks, most = (min(runtime.threads, MOST_THREADS) * limit for limit in MOST[runtime.device])
    groups = -(-count // max(1, min(networks, most // parameters)))
    sizes = [count // groups + (number < count % groups) for number in range(groups)]
    split = data.split("train")

    def way() -> tuple[int, float]:
        for size in sizes:
            models = [network(widths) for _ in range(size)]
            train_together(models, range(size), TrainingRequest(data, SETTINGS, runtime, validation=None))
        return count * (len(split) // BATCH * BATCH), 0.0

    return way


def by_workers(workers: int, widths: Sequence[int], splits: Splits, runtime: Runtime) -> Way:
    """Times ten networks in shares, each in a process of one thread, as `hardware.workers` spreads them."""
    count = len(splits.train.labels) // BATCH * BATCH
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    _POOLS.append(pool)
    sizes = [len(share) for share in shares(range(TOGETHER), workers)]  # type: ignore[arg-type]

    def way() -> tuple[int, float]:
        made = [pool.submit(_in_worker, size, widths, count, runtime._replace(threads=1)) for size in sizes]
        samples, seconds = zip(*(future.result() for future in made), strict=True)
        return sum(samples), sum(seconds)

    return way


def _in_worker(networks: int, widths: Sequence[int], samples: int, runtime: Runtime) -> tuple[int, float]:
    """The work of a process, and its processor time; the first round, which does not count, sets it up."""
    if (samples, *widths) not in _SET_UP:
        runtime.apply()
        _SET_UP[(samples, *widths)] = ours(networks, widths, DeviceData(made_up(samples), "cpu"), runtime)
    started = time.process_time()
    done, _ = _SET_UP[(samples, *widths)]()
    return done, time.process_time() - started


_SET_UP: dict[tuple[int, ...], Way] = {}
_POOLS: list[ProcessPoolExecutor] = []


def by_keras(widths: Sequence[int], splits: Splits) -> Way:
    """Times `model.fit` of the network in TensorFlow's quick start."""
    backend = "tensorflow" if importlib.util.find_spec("tensorflow") else "torch"
    os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:  # Keras would leave its settings in the home folder
        os.environ.setdefault("KERAS_HOME", folder)
        import keras

    layers: list[Any] = [keras.layers.Input((28, 28)), keras.layers.Flatten()]
    for width in widths[1:-1]:
        layers += [keras.layers.Dense(width, activation="relu"), keras.layers.Dropout(DROPOUT)]
    model = keras.Sequential([*layers, keras.layers.Dense(widths[-1])])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss, metrics=["accuracy"])
    images, labels = np.asarray(splits.train.images)[:, 0].astype(np.float32) / 255, splits.train.labels

    def way() -> tuple[int, float]:
        model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)
        return len(labels), 0.0

    return way


def ways(widths: Sequence[int], splits: Splits, runtime: Runtime, keras: bool) -> dict[str, Way]:
    """All ways to measure, by name."""
    device, data = runtime.device, DeviceData(splits, runtime.device)
    found = {BASE: loader_loop(widths, splits, device)}
    if keras:
        found["Keras model.fit"] = by_keras(widths, splits)
    found |= {
        "one module, sliced tensors": sliced(widths, splits, device),
        f"vmap of {TOGETHER}": by_vmap(widths, splits, device),
        "nasrun, one network": ours(1, widths, data, runtime),
        f"nasrun, {TOGETHER} networks": ours(TOGETHER, widths, data, runtime),
    }
    if device == "cpu" and runtime.threads > 1:
        found[f"nasrun, {TOGETHER}, {runtime.threads} workers"] = by_workers(runtime.threads, widths, splits, runtime)
    return found


def rates(measured: dict[str, Way], rounds: int, device: str) -> dict[str, list[Rates]]:
    """The rates of each way in each round, without the first."""
    found: dict[str, list[Rates]] = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, way in measured.items():
            started, used = time.perf_counter(), time.process_time()
            samples, elsewhere = way()
            if device == "cuda":
                torch.cuda.synchronize()
            clock, processor = time.perf_counter() - started, time.process_time() - used + elsewhere
            if number:
                found[name].append(Rates(samples / clock, samples / processor))
    return found


def table(found: dict[str, list[Rates]]) -> Iterator[str]:
    """The lines of a table: medians and ranges, and ratios to the first way within each round."""
    base = next(iter(found.values()))
    yield f"{'':<28}{'samples/s':>12}  {'ratio (min to max)':<24}{'per processor s':>16}  ratio (min to max)"
    for name, measured in found.items():
        line = f"{name:<28}"
        for kind, width in (("clock", 12), ("processor", 16)):
            values = [getattr(one, kind) for one in measured]
            ratios = [own / getattr(other, kind) for own, other in zip(values, base, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            line += f"{statistics.median(values):>{width},.0f}  {spread:<24}"
        yield line.rstrip()


def main() -> None:
    """Print one table per network and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to test the script")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=6400, help="training samples of one network in one round")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1, and all usable cores")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    rounds, samples = (1, 320) if arguments.quick else (arguments.rounds, arguments.samples)
    runtime = Hardware(device=arguments.device).resolve()
    counts = arguments.threads or sorted({1, runtime.threads}, reverse=True)
    environment, splits = describe_environment(), made_up(samples)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{runtime.threads} cores"
    print(f"{environment['processor']} ({environment['instructions']}), {where}", end=", ")
    print(f"torch {torch.__version__}, Python {environment['python']}; ratios are relative to {BASE}")
    has_keras = importlib.util.find_spec("keras") is not None
    print("Keras is not installed" if not has_keras else "Keras is measured on all threads only")
    for threads in counts:
        runtime = runtime._replace(threads=threads)
        runtime.apply()
        for widths in NETWORKS:
            keras = has_keras and threads == max(counts) and arguments.device == "cpu"
            found = rates(ways(widths, splits, runtime, keras), rounds, arguments.device)
            print(f"\n{'-'.join(map(str, widths))}, {threads} threads, {samples:,} samples per network, n={rounds}")
            print("\n".join(table(found)), flush=True)
    for pool in _POOLS:
        pool.shutdown()


if __name__ == "__main__":
    main()
