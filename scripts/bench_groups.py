"""The cost of training together where nasrun does not by default: different widths, and convolutional networks.

    python scripts/bench_groups.py [--rounds 5] [--steps 60]

1. The ASNN paper's 25 two-layer networks, one of each: one after the other, and in groups of ten, as
   `evaluator.replicas=padded` forms them.
2. Five repeats of a small convolutional network: one after the other, as one network with grouped convolutions, and by
   `torch.func.vmap`. Each of the five has a batch of its own.

All variants take turns within a round on one thread; the first round does not count. Prints microseconds of processor
time per network and step, median and range over the rounds, and the ratio to training one after the other in the same
round.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from nasrun.core.environment import describe_environment
from nasrun.spaces.mlp.network import dense_network
from nasrun.training.dense.steps import DenseStepper
from nasrun.training.settings import TrainSettings

WIDTHS = (16, 32, 64, 128, 256)
CHANNELS = (16, 32, 64)
DENSE_BATCH, CNN_BATCH, REPEATS, GROUP = 32, 64, 5, 10
SETTINGS = TrainSettings(epochs=1, optimizer="adam", lr=0.001, schedule="constant")

Way = Callable[[], None]
"""One step of all networks."""


def dense_ways() -> dict[str, Way]:
    """The 25 networks of the grid, in groups of one and of ten."""
    widths = list(product(WIDTHS, repeat=2))

    def way(groups: Sequence[Sequence[tuple[int, ...]]]) -> Way:
        steps: list[Callable[[], torch.Tensor]] = []
        for group in groups:
            models = [dense_network(784, one, "relu", dropout=0.2, outputs=10) for one in group]
            generators = [torch.Generator().manual_seed(number) for number in range(len(group))]
            stepper = DenseStepper(models, SETTINGS, 10**6, DENSE_BATCH, generators)
            labels = torch.randint(0, 10, (len(group), DENSE_BATCH))
            steps.append(partial(stepper.step, stepper.inputs.normal_(), labels))

        def all_of_them() -> None:
            for step in steps:
                step()

        return all_of_them

    ordered = sorted(widths)
    return {
        "one after the other": way([[one] for one in widths]),
        "groups of ten": way([ordered[start : start + GROUP] for start in range(0, len(ordered), GROUP)]),
    }


def convolutional(groups: int = 1) -> nn.Sequential:
    """A small network for 28 x 28 images; with `groups`, that many of them side by side in grouped convolutions."""
    parts: list[nn.Module] = []
    before = 1
    for channels in CHANNELS:
        parts += [
            nn.Conv2d(before * groups, channels * groups, 3, stride=2, padding=1, groups=groups, bias=False),
            nn.BatchNorm2d(channels * groups),
            nn.ReLU(),
        ]
        before = channels
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Conv2d(before * groups, 10 * groups, 1, groups=groups))


def cnn_ways() -> dict[str, Way]:
    """Five repeats: one by one, grouped, and by vmap."""
    images, labels = torch.randn(REPEATS, CNN_BATCH, 1, 28, 28), torch.randint(0, 10, (REPEATS, CNN_BATCH))

    def fused(tensors: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(list(tensors), lr=0.001, fused=True)

    def autograd(models: Sequence[nn.Sequential]) -> Way:
        optimizers = [fused(list(model.parameters())) for model in models]

        def way() -> None:
            for place, (model, optimizer) in enumerate(zip(models, optimizers, strict=True)):
                batch = images[place] if len(models) > 1 else images.transpose(0, 1).flatten(1, 2)
                outputs = model(batch).view(CNN_BATCH, -1, 10)
                target = labels[place : place + 1] if len(models) > 1 else labels
                loss = F.cross_entropy(outputs.transpose(0, 1).flatten(0, 1), target.flatten(), reduction="sum")
                optimizer.zero_grad()
                (loss / CNN_BATCH).backward()
                optimizer.step()

        return way

    def by_vmap() -> Way:
        # Normalises without running statistics, which vmap cannot update.
        models = [convolutional() for _ in range(REPEATS)]
        for module in (m for model in models for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
            module.num_batches_tracked = None
        parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
        tensors = [nn.Parameter(tensor.detach()) for tensor in parameters.values()]
        optimizer = fused(tensors)

        def loss_of(weights: dict[str, torch.Tensor], batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(functional_call(models[0], (weights, buffers), (batch,)).flatten(1), target)

        step = vmap(grad_and_value(loss_of))

        def way() -> None:
            weights = {name: tensor.detach() for name, tensor in zip(parameters, tensors, strict=True)}
            gradients, _ = step(weights, images, labels)
            for name, tensor in zip(parameters, tensors, strict=True):
                tensor.grad = gradients[name]
            optimizer.step()

        return way

    return {
        "one after the other": autograd([convolutional() for _ in range(REPEATS)]),
        "grouped convolutions": autograd([convolutional(REPEATS)]),
        "vmap": by_vmap(),
    }


def measure(ways: dict[str, Way], networks: int, rounds: int, steps: int) -> None:
    """Print the microseconds of each way."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            for _ in range(steps):
                way()
            if number:
                found[name].append((time.process_time() - started) / steps / networks * 1e6)
    base = next(iter(found.values()))
    for name, values in found.items():
        ratios = [own / other for own, other in zip(values, base, strict=True)]
        spread = f"{statistics.median(values):>8,.0f} ({min(values):,.0f} to {max(values):,.0f})"
        print(f"{name:<26}{spread:<28}{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    environment = describe_environment()
    print(f"{environment['processor']}, one thread, torch {torch.__version__}, n={arguments.rounds}")
    print("microseconds per network and step (min to max), ratio to those of one after the other (min to max)")
    print(f"\n25 dense networks 784-a-b-10, a and b of {WIDTHS}, batch {DENSE_BATCH}")
    measure(dense_ways(), 25, arguments.rounds, arguments.steps)
    print(f"\n{REPEATS} convolutional networks, channels {CHANNELS}, batch {CNN_BATCH}")
    measure(cnn_ways(), REPEATS, arguments.rounds, arguments.steps)


if __name__ == "__main__":
    main()
