"""Kill real runs at random moments, resume them, and compare with runs that were never interrupted.

    python scripts/crash_campaign.py [--kills 50] [--workers 1] [--seed 0] [--folder DIR]

For each strategy one real run (small networks, real images, real training) goes through undisturbed. Then runs of the
same config are started as processes of their own and killed with SIGKILL after a random time between start and end,
sometimes again while they resume, and are resumed until they finish. `trials.csv` and `measurements.csv` (without the
timing columns), `genomes.txt`, `best.json` and the winner's weights must be equal byte for byte; no trial may be
measured twice in the journal. With several workers every second kill is of one worker instead, which the run must
survive by itself, and the undisturbed runs have none: results may not depend on the number of workers. No process may
be left of any run. Prints one line per kill and exits with 1 if any differs.
"""

import argparse
import contextlib
import csv
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from nasrun import journal

MARK = f"nasrun-campaign-{uuid.uuid4().hex}"
"""In the environment of all that the campaign starts."""
IN_FLIGHT = ("hardware.threads=1", "hardware.in_flight=4")
"""What runs with and without workers have in common, for equal results."""
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


def command(strategy: str, directory: Path, *more: str) -> list[str]:
    """The run of one strategy in a directory."""
    words = [word.replace("STRATEGY", strategy) for word in SMALL]
    return [str(program()), *words, *POPULATION[strategy], *more, f"hydra.run.dir={directory}"]


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


def kill_worker(words: list[str], seconds: float, rng: random.Random) -> str:
    """Start a run and SIGKILL one of its workers some seconds after the first is there; the run must survive that."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    began: float | None = None
    killed = "over before a worker could be killed"
    while process.poll() is None:
        workers = [worker for server in children(process.pid) for worker in children(server)]
        if workers and began is None:
            began = time.monotonic()
        if workers and began is not None and time.monotonic() > began + seconds:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed = f"worker, {seconds:.2f} s"
            break
        time.sleep(0.005)
    error = process.communicate()[1]
    if process.returncode != 0:
        raise SystemExit(f"{words[-1]} did not survive the death of a worker: {error}")
    return killed


def children(process: int) -> list[int]:
    """The child processes of a process (Linux)."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def left_over(seconds: float = 3.0) -> list[int]:
    """Processes of this campaign's runs that are still there after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if MARK.encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


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


def one_kill(first: list[str], directory: Path, length: float, rng: random.Random) -> str:
    """Kill a run at a random moment, maybe its resume too, then let it finish; says when it was killed."""
    moment = rng.uniform(0.0, length)
    moments = [moment]
    kill_after(first, moment)
    for _ in range(20):
        resumable = (directory / journal.NAME).is_file()
        words = [str(program()), "resume", str(directory)] if resumable else first
        if rng.random() < 0.3:
            moments.append(rng.uniform(0.0, length))
            if kill_after(words, moments[-1]) != 0:
                continue
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"resume of {directory} failed: {done.stderr}")
        return " and ".join(f"{value:.2f} s" for value in moments)
    raise SystemExit(f"{directory}: killed too often")


def campaign(kills: int, seed: int, folder: Path, workers: int = 1) -> int:
    """The number of runs that were equal to the uninterrupted run of their strategy, and left no process behind."""
    rng = random.Random(seed)
    os.environ["NASRUN_CAMPAIGN"] = MARK
    common = IN_FLIGHT if workers > 1 else ()
    expected, lengths = {}, {}
    for strategy in STRATEGIES:
        started = time.monotonic()
        subprocess.run(command(strategy, folder / f"whole_{strategy}", *common), check=True)
        lengths[strategy] = time.monotonic() - started
        expected[strategy] = results(folder / f"whole_{strategy}")
        print(f"{strategy}: uninterrupted in {lengths[strategy]:.1f} s", flush=True)
    equal = 0
    for number in range(kills):
        strategy = STRATEGIES[number % len(STRATEGIES)]
        directory = folder / f"{number:03d}_{strategy}"
        words = command(strategy, directory, *common, f"hardware.workers={workers}")
        length = lengths[strategy]
        if workers > 1 and number % 2:
            moments = kill_worker(words, rng.uniform(0.0, length / 2), rng)
        else:
            moments = one_kill(words, directory, length, rng)
        found = results(directory)
        differing = [name for name, content in expected[strategy].items() if found[name] != content]
        twice = measured_twice(directory)
        left = left_over()
        good = not differing and not twice and not left
        equal += good
        verdict = "equal" if good else f"DIFFERS: {differing} {twice}, processes left: {left}"
        print(f"{number + 1:3d}/{kills} {strategy:<16} killed after {moments:<20} {verdict}", flush=True)
    return equal


def main() -> int:
    """Run the campaign and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        equal = campaign(arguments.kills, arguments.seed, folder, arguments.workers)
    print(f"{equal} of {arguments.kills} killed runs are equal to the uninterrupted ones")
    return 0 if equal == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
