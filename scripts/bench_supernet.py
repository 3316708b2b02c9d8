"""The time of an epoch of shared weights, and the part of it outside of forward, backward and optimizer.

    python scripts/bench_supernet.py [--steps 50] [--device auto] [--precision auto] [--channels-last true] [WORD...]

WORDs are overrides of the config (`search_space.channels=8`). Times steps of the epoch as in a search, with random
draws, then the same steps with the clock stopped around forward and loss, backward, and optimizer; on a GPU each stop
waits for the device, so the parts together are slower than the step. Prints Markdown: milliseconds per step, the parts,
their share, the epoch of the whole training part; memory on a GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.evaluators.supernet import Supernet
from nasrun.training.supernet.trainer import SharedTrainer

WARM_UP = 5
DEFAULTS = ("search_space=micro_cell", "dataset=fashion_mnist_mini", "evaluator=supernet")


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Clock:
    """Sums the seconds spent within some calls."""

    def __init__(self, device: str) -> None:
        self.seconds = 0.0
        self._device = device

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        """The same function, timed."""

        def timed(*arguments: object, **named: object) -> object:
            wait(self._device)
            started = time.perf_counter()
            result = call(*arguments, **named)
            wait(self._device)
            self.seconds += time.perf_counter() - started
            return result

        return timed


def steps(trainer: SharedTrainer, space: object, count: int, device: str) -> list[float]:
    """Seconds of some steps, each including its share of loading, drawing and the rest of an epoch."""
    rng = np.random.default_rng(0)
    found: list[float] = []
    last = [0.0]

    def draw(generator: np.random.Generator) -> object:
        wait(device)
        now = time.perf_counter()
        found.append(now - last[0])
        last[0] = now
        if len(found) > WARM_UP + count:
            raise StopIteration
        return [space.sample(generator)]  # type: ignore[attr-defined]

    number = 1
    try:
        while True:
            trainer.epoch(draw, rng, number, 1_000_000)  # type: ignore[arg-type]
            number += 1
    except StopIteration:
        pass
    return found[WARM_UP + 1 :]


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--channels-last", default="true")
    parser.add_argument("words", nargs="*", metavar="WORD")
    arguments = parser.parse_args()
    hardware = [f"hardware.device={arguments.device}", f"hardware.precision={arguments.precision}"]
    hardware += [f"hardware.channels_last={arguments.channels_last}"]
    setup = build(task_config(compose_config([*DEFAULTS, *hardware, *arguments.words])))
    evaluator = setup.evaluator
    assert isinstance(evaluator, Supernet)
    runtime = evaluator.prepare()["runtime"]
    device = runtime["device"]
    trainer = evaluator.new_trainer(0)
    whole = statistics.median(steps(trainer, setup.space, arguments.steps, device))
    forward, backward, update = Clock(device), Clock(device), Clock(device)
    trainer.model.forward = forward.around(trainer.model.forward)  # type: ignore[method-assign,assignment]
    torch.Tensor.backward = backward.around(torch.Tensor.backward)  # type: ignore[method-assign,assignment]
    trainer._optimizer.step = update.around(trainer._optimizer.step)  # type: ignore[method-assign,assignment]
    timed = steps(trainer, setup.space, arguments.steps, device)
    count, total = arguments.steps + WARM_UP, statistics.fmean(timed)
    parts = {"forward": forward.seconds, "backward": backward.seconds, "optimizer": update.seconds}
    inside = sum(parts.values()) / count
    rows = [("step, median", f"{1000 * whole:.2f} ms")]
    rows += [(name, f"{1000 * seconds / count:.2f} ms") for name, seconds in parts.items()]
    rows += [("outside of these", f"{100 * max(0.0, 1 - inside / total):.1f} % of {1000 * total:.2f} ms")]
    rows += [(f"epoch of {trainer.steps} steps", f"{whole * trainer.steps:.1f} s")]
    if device == "cuda":
        rows += [("memory", f"{torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB")]
    place = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {runtime['threads']} threads"
    print(f"{place}, {runtime['precision']}, channels_last={runtime['channels_last']}, torch {torch.__version__}\n")
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
