"""Kill real runs at random moments, resume them, and compare with runs that were never interrupted.

    python scripts/crash_campaign.py [--kills 50] [--seed 0] [--folder DIR]

For each strategy one real run (small networks, real images, real training) goes through undisturbed. Then runs of the
same config are started as processes of their own and killed with SIGKILL after a random time between start and end,
sometimes again while they resume, and are resumed until they finish. `trials.csv` and `measurements.csv` (without the
timing columns), `genomes.txt`, `best.json` and the winner's weights must be equal byte for byte; no trial may be
measured twice in the journal. Prints one line per kill and exits with 1 if any differs.
"""

import argparse
import csv
import io
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nasrun import journal

STRATEGIES = ("random", "aging_evolution", "genetic")
SMALL = (
    "dataset=fashion_mnist_mini",
    "dataset.train_samples=600",
    "search_space.max_depth=4",
    "search_space.filters=[4,8]",
    "evaluator.epochs=1",
    "evaluator.repeats=2",
    "evaluator.final_epochs=1",
    "evaluator.final_data=train",
    "strategy=STRATEGY",
    "trials=10",
    "hardware.device=cpu",
    "output.console=none",
    "output.plots=false",
)
POPULATION = {"random": (), "aging_evolution": ("strategy.population=4", "strategy.sample=2")}
POPULATION["genetic"] = ("strategy.population=4", "strategy.elitism=1")


def command(strategy: str, directory: Path) -> list[str]:
    """The run of one strategy in a directory."""
    words = [word.replace("STRATEGY", strategy) for word in SMALL]
    return [str(program()), *words, *POPULATION[strategy], f"hydra.run.dir={directory}"]


def program() -> Path:
    """The installed `nasrun` beside this Python."""
    return Path(sys.executable).with_name("nasrun")


def results(directory: Path) -> dict[str, bytes]:
    """What must be equal: tables without their timing columns, genomes, the best and its weights."""
    kept: dict[str, bytes] = {}
    for name in ("trials.csv", "measurements.csv", "history.csv"):
        rows = list(csv.DictReader(io.StringIO((directory / name).read_text())))
        kept[name] = repr([{k: v for k, v in row.items() if k != "seconds"} for row in rows]).encode()
    for name in ("genomes.txt", "best.json", "best/model.safetensors"):
        kept[name] = (directory / name).read_bytes()
    return kept


def kill_after(words: list[str], seconds: float) -> int | None:
    """Start a process and SIGKILL it after some seconds; its exit code if it was done before."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def measured_twice(directory: Path) -> list[tuple[int, int]]:
    """Repeats of trials that the journal holds more than once."""
    seen: set[tuple[int, int]] = set()
    twice = []
    for event in journal.read(directory / journal.NAME):
        if event["event"] == "measure":
            pair = (event["trial"], event["repeat"])
            if pair in seen:
                twice.append(pair)
            seen.add(pair)
    return twice


def one_kill(strategy: str, directory: Path, length: float, rng: random.Random) -> str:
    """Kill a run at a random moment, maybe its resume too, then let it finish; says when it was killed."""
    moment = rng.uniform(0.0, length)
    moments = [moment]
    kill_after(command(strategy, directory), moment)
    for _ in range(20):
        resumable = (directory / journal.NAME).is_file()
        words = [str(program()), "resume", str(directory)] if resumable else command(strategy, directory)
        if rng.random() < 0.3:
            moments.append(rng.uniform(0.0, length))
            if kill_after(words, moments[-1]) != 0:
                continue
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"resume of {directory} failed: {done.stderr}")
        return " and ".join(f"{value:.2f} s" for value in moments)
    raise SystemExit(f"{directory}: killed too often")


def campaign(kills: int, seed: int, folder: Path) -> int:
    """The number of runs that were equal to the uninterrupted run of their strategy."""
    rng = random.Random(seed)
    expected, lengths = {}, {}
    for strategy in STRATEGIES:
        started = time.monotonic()
        subprocess.run(command(strategy, folder / f"whole_{strategy}"), check=True)
        lengths[strategy] = time.monotonic() - started
        expected[strategy] = results(folder / f"whole_{strategy}")
        print(f"{strategy}: uninterrupted in {lengths[strategy]:.1f} s", flush=True)
    equal = 0
    for number in range(kills):
        strategy = STRATEGIES[number % len(STRATEGIES)]
        directory = folder / f"{number:03d}_{strategy}"
        moments = one_kill(strategy, directory, lengths[strategy], rng)
        found = results(directory)
        differing = [name for name, content in expected[strategy].items() if found[name] != content]
        twice = measured_twice(directory)
        equal += not differing and not twice
        verdict = "equal" if not differing and not twice else f"DIFFERS: {differing} {twice}"
        print(f"{number + 1:3d}/{kills} {strategy:<16} killed after {moments:<20} {verdict}", flush=True)
    return equal


def main() -> int:
    """Run the campaign and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        equal = campaign(arguments.kills, arguments.seed, folder)
    print(f"{equal} of {arguments.kills} killed runs are equal to the uninterrupted ones")
    return 0 if equal == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
