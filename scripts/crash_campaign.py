"""Kills real runs at random moments, resumes them, and compares them with runs that were never interrupted.

    python scripts/crash_campaign.py [--kills 50] [--targets runner,worker,node] [--runs NAME,...] [--seed 0]
                                     [--folder DIR]

Each of RUNS first runs undisturbed: real training of small networks on real images, shared weights, or look-ups in a
benchmark table. Then runs of the same config are started as separate processes, and SIGKILL is sent after a random time
between their start and end: to the runner, sometimes again during its resume, until the run is finished; to one of its
two worker processes; or to a node (raylet) of a Ray cluster on which it has two workers. The run must survive the last
two without help. `trials.csv`, `measurements.csv` and `history.csv` (without the timing columns), `genomes.txt`,
`best.json` and the winner's weights must be equal byte for byte to those of the undisturbed run, which had no workers;
the journal may hold no measurement twice; no process of a run may be left. Prints one line per kill and exits with 1 if
any run differs.
"""

import argparse
import contextlib
import csv
import io
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nasrun.storage import journal

sys.path.insert(0, str(Path(__file__).parent))  # scripts are not a package
from ray_nodes import Nodes, children, cluster

MARK = f"nasrun-campaign-{uuid.uuid4().hex}"
"""In the environment of all processes that the campaign starts."""
COMMON = (
    "hardware.threads=1",
    "hardware.in_flight=4",
    "hardware.device=cpu",
    "output.console=none",
    "output.plots=false",
)
IMAGES = ("dataset=fashion_mnist_mini", "dataset.train_samples=600")
TRAINED = (
    *IMAGES,
    "search_space=sequential_cnn",
    "recipe=plain",
    "search_space.max_depth=4",
    "search_space.filters=[4,8]",
    "evaluator.epochs=1",
    "evaluator.repeats=2",
    "evaluator.final_epochs=1",
    "evaluator.final_data=train",
    "trials=10",
)
EVOLUTION = ("strategy=aging_evolution", "strategy.population=4", "strategy.sample=2")
SHARED = (
    "strategy=reinforce_ienas",
    "search_space=micro_cell",
    "search_space.blocks=1",
    "search_space.layout=cr",
    "search_space.channels=2",
    "evaluator=supernet",
    "evaluator.rounds=6",
    "evaluator.batch_size=32",
    "evaluator.pad_to=null",
    "trials=24",
)
TABLE = ("evaluator=table", "search_space=nasbench201", "trials=400")


class Kind(NamedTuple):
    """A run of the campaign: the arguments of its command, and whether it may have workers."""

    words: tuple[str, ...]
    workers: bool = True


RUNS = {
    "random": Kind((*TRAINED, "strategy=random")),
    "aging_evolution": Kind((*TRAINED, *EVOLUTION)),
    "genetic": Kind((*TRAINED, "strategy=genetic", "strategy.population=4", "strategy.elitism=1")),
    "dqn": Kind((*TRAINED, "strategy=dqn", "strategy.warm_up=4")),
    "pso": Kind((*TRAINED, "strategy=pso", "strategy.population=5")),
    "miha": Kind(("experiment=miha_smoke", "dataset.train_samples=600")),
    "reinforce": Kind((*IMAGES, *SHARED), workers=False),
    "table": Kind((*TABLE, *EVOLUTION), workers=False),
    "table_dqn": Kind((*TABLE, "strategy=dqn", "trials=100"), workers=False),
}
TARGETS = ("runner", "worker", "node")


def command(name: str, directory: Path, *more: str) -> list[str]:
    """The command of one of RUNS in a directory."""
    # Options of the hardware come after the chosen hardware, which `more` may change.
    chosen = [word for word in more if word.startswith("hardware=")]
    others = [word for word in more if word not in chosen]
    return [str(program()), *chosen, *RUNS[name].words, *COMMON, *others, f"hydra.run.dir={directory}"]


def program() -> Path:
    """The installed `nasrun` beside this Python."""
    return Path(sys.executable).with_name("nasrun")


def results(directory: Path) -> dict[str, bytes]:
    """The results that must be equal: tables without their timing columns, genomes, the best network and its
    weights."""
    kept: dict[str, bytes] = {}
    for name in ("trials.csv", "measurements.csv", "history.csv"):
        if not (directory / name).is_file():  # look-ups have no learning curves
            continue
        rows = list(csv.DictReader(io.StringIO((directory / name).read_text())))
        kept[name] = repr([{k: v for k, v in row.items() if k != "seconds"} for row in rows]).encode()
    for name in ("genomes.txt", "best.json", "best/model.safetensors"):
        if (directory / name).is_file():
            kept[name] = (directory / name).read_bytes()
    return kept


def kill_after(words: list[str], seconds: float) -> int | None:
    """Start a process and SIGKILL it after some seconds; returns its exit code if it ended before."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def kill_part(words: list[str], seconds: float, parts: Callable[[int], Sequence[int]], rng: random.Random) -> bool:
    """Start a run and SIGKILL one of its `parts` some seconds after the first is at work; the run must survive.

    False if the run ended before. `parts`: the process ids of a runner's parts, once they are at work.
    """
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    began: float | None = None
    killed = False
    while process.poll() is None:
        there = parts(process.pid)
        if there and began is None:
            began = time.monotonic()
        if there and began is not None and time.monotonic() > began + seconds:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(there), signal.SIGKILL)
                killed = True
            break
        time.sleep(0.005)
    error = process.communicate()[1]
    if process.returncode != 0:
        raise SystemExit(f"{words[-1]} did not survive the death of a part of it: {error}")
    return killed


def workers_of(runner: int) -> list[int]:
    """The worker processes of a run."""
    return [worker for server in children(runner) for worker in children(server)]


def left_over(nodes: Nodes | None, seconds: float = 10.0) -> list[int]:
    """Processes of this campaign's runs, and nodes of a cluster at work for one, that are left after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = nodes.at_work() if nodes else []
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
    """Kill a run at a random moment, maybe its resume too, then let it finish; returns when it was killed."""
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
        else:
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"resume of {directory} failed: {done.stderr}")
        return " and ".join(f"{value:.2f} s" for value in moments)
    raise SystemExit(f"{directory}: killed too often")


def disturbed(target: str, name: str, directory: Path, length: float, rng: random.Random, nodes: Nodes | None) -> str:
    """Run one of RUNS and kill the target; returns when."""
    if target == "runner":
        # Every second one has workers, which must end with it.
        workers = 2 if RUNS[name].workers and rng.random() < 0.5 else 1
        return one_kill(command(name, directory, f"hardware.workers={workers}"), directory, length, rng)
    if nodes is not None and target == "node":
        words = command(name, directory, "hardware=ray", f"hardware.address={nodes.address}")
    else:
        words = command(name, directory, "hardware.workers=2")
    parts = workers_of if target == "worker" or nodes is None else lambda runner: nodes.at_work()
    moment = rng.uniform(0.0, length / 2)
    while not kill_part(words, moment, parts, rng):
        shutil.rmtree(directory)
        moment /= 2
    return f"{moment:.2f} s"


def campaign(
    kills: int, seed: int, folder: Path, targets: Sequence[str] = ("runner",), names: Sequence[str] = tuple(RUNS)
) -> int:
    """The number of runs that equalled the uninterrupted run of their kind, and left no process behind."""
    rng = random.Random(seed)
    expected, lengths = {}, {}
    for name in names:
        started = time.monotonic()
        subprocess.run(command(name, folder / f"whole_{name}"), check=True)
        lengths[name] = time.monotonic() - started
        expected[name] = results(folder / f"whole_{name}")
        print(f"{name}: uninterrupted in {lengths[name]:.1f} s", flush=True)
    turns = {
        target: itertools.cycle([name for name in names if target == "runner" or RUNS[name].workers])
        for target in targets
    }
    equal = 0
    with cluster(2, on_head=0) if "node" in targets else contextlib.nullcontext() as nodes:
        for number, target in zip(range(kills), itertools.cycle(targets), strict=False):
            name = next(turns[target])
            directory = folder / f"{number:03d}_{name}"
            with marked():
                moments = disturbed(target, name, directory, lengths[name], rng, nodes)
            found = results(directory)
            differing = [key for key in expected[name] | found if found.get(key) != expected[name].get(key)]
            twice = measured_twice(directory)
            left = left_over(nodes)
            if nodes:
                nodes.mend()
            good = not differing and not twice and not left
            equal += good
            verdict = "equal" if good else f"DIFFERS: {differing} {twice}, processes left: {left}"
            print(f"{number + 1:3d}/{kills} {name:<16} {target} killed after {moments:<20} {verdict}", flush=True)
    return equal


@contextlib.contextmanager
def marked() -> Iterator[None]:
    """A scope in which all started processes carry the mark."""
    os.environ["NASRUN_CAMPAIGN"] = MARK
    try:
        yield
    finally:
        del os.environ["NASRUN_CAMPAIGN"]


def main() -> int:
    """Run the campaign and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--targets", default="runner", help=f"some of {','.join(TARGETS)}")
    parser.add_argument("--runs", default=",".join(RUNS), help="names of RUNS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    targets, names = arguments.targets.split(","), arguments.runs.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        equal = campaign(arguments.kills, arguments.seed, folder, targets, names)
    print(f"{equal} of {arguments.kills} killed runs are equal to the uninterrupted ones")
    return 0 if equal == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
