"""Worker processes and threads: the same search in one process with all threads, and in one process per core.

    python scripts/bench_workers.py [--quick] [--rounds 3] [--workers 2] [--folder DIR]

Two searches, each a real run of the installed `nasrun`, with the same seed and so the same networks: convolutional
networks of the default space, one epoch each, on Fashion-MNIST (`--dataset`); and ten repeats at a time of dense
networks, which train together. Variants: one process with as many threads as there are workers; one process with one
thread; workers with one thread each. All variants take turns within a round. Prints training samples per second from
the first proposal to the end of the last job, including the start of the workers (median and range over the rounds),
the ratio to the first variant of the same round, the share of the workers' time outside of jobs after the first job
began, and the seconds until then. The first job of a new process takes a second longer, for imports that workers have
already done.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from nasrun.storage import journal

DENSE = ("search_space=mlp", "search_space.min_width=64", "search_space.max_width=256", "evaluator.batch_size=32")
SEARCHES = {
    "convolutions": ("search_space=sequential_cnn", "evaluator.repeats=1", "trials=16"),
    "ten dense": (*DENSE, "evaluator.repeats=10", "trials=8"),
}
COMMON = ("strategy=random", "evaluator.epochs=1", "evaluator.final_epochs=null", "hardware.device=cpu")
QUIET = ("hardware.in_flight=4", "output.console=none", "output.plots=false", "output.keep=none")


class Result(NamedTuple):
    """The results of one run: samples per second, the share of worker time outside of jobs, seconds until the first
    job."""

    rate: float
    idle: float
    start: float


def run(search: str, workers: int, threads: int, arguments: argparse.Namespace, directory: Path) -> Result:
    """Run a search and compute its speed from its journal."""
    words = [*SEARCHES[search], *COMMON, *QUIET, f"dataset={arguments.dataset}"]
    words += [f"dataset.train_samples={arguments.samples}"] if arguments.samples else []
    words += [f"trials={arguments.trials}"] if arguments.trials else []
    words += [f"hardware.workers={workers}", f"hardware.threads={threads}", f"hydra.run.dir={directory}"]
    subprocess.run([str(Path(sys.executable).with_name("nasrun")), *words], check=True)
    events = journal.read(directory / journal.NAME)
    asked = next(event["time"] for event in events if event["event"] == "ask")
    measured = [event for event in events if event["event"] == "measure"]
    failed = [event["error"] for event in measured if event["status"] != "ok"]
    if failed:
        raise SystemExit(f"{directory}: a trial failed: {failed[0]}")
    # The members of the first group are recorded at the same time, and each one's seconds are its share.
    first = [event for event in measured if event["time"] - measured[0]["time"] < 0.01]
    company = max(1, len(first) // workers) if search == "ten dense" else 1
    begun = measured[0]["time"] - company * measured[0]["seconds"]
    wall = measured[-1]["time"] - begun
    samples = sum(event["metrics"]["epochs"] for event in measured) * size(arguments)
    spent = sum(event["seconds"] for event in measured)
    return Result(samples / (measured[-1]["time"] - asked), max(0.0, 1 - spent / (workers * wall)), begun - asked)


def size(arguments: argparse.Namespace) -> int:
    """Training images of the data set."""
    if arguments.samples:
        return int(arguments.samples)
    from nasrun.config.build import build
    from nasrun.config.compose import compose_config, task_config

    setup = build(task_config(compose_config([f"dataset={arguments.dataset}"])))
    return len(setup.dataset.load().train)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of a few dense networks, to test the script")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--samples", type=int, help="maximum number of training images")
    parser.add_argument("--trials", type=int, help="number of trials, in place of 16 and 8")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.trials, arguments.samples = 1, 4, 200
        arguments.dataset = "fashion_mnist_mini"
    workers = arguments.workers
    ways = {"1 process": (1, workers), "1 process, 1 thread": (1, 1), f"{workers} workers": (workers, 1)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for search in list(SEARCHES)[1 if arguments.quick else 0 :]:
            rounds: list[dict[str, Result]] = []
            for number in range(arguments.rounds):
                directory = folder / f"{search.replace(' ', '_')}_{number}"
                rounds.append(
                    {way: run(search, *ways[way], arguments, directory / "x".join(map(str, ways[way]))) for way in ways}
                )
            print(f"{search}: samples per second, ratio, idle share, seconds to the first job", flush=True)
            for way, (count, threads) in ways.items():
                rates = [one[way].rate for one in rounds]
                ratio = statistics.median(one[way].rate / one["1 process"].rate for one in rounds)
                idle = statistics.median(one[way].idle for one in rounds)
                start = statistics.median(one[way].start for one in rounds)
                middle, low, high = statistics.median(rates), min(rates), max(rates)
                print(
                    f"  {count} x {threads} thread(s): {middle:>9,.0f} ({low:,.0f} to {high:,.0f})  {ratio:5.2f}  "
                    f"{idle:6.1%}  {start:5.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
