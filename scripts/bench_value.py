"""The accuracy for a budget: nasrun and a hand-written ResNet-8 at equal processor time, search included.

    python scripts/bench_value.py V1 --seeds 5 [--folder bench] [--rows handwritten optuna nasrun genes] [WORD...]

Each row of each seed is a separate process with one thread; the rows take turns, so that changes of the machine's speed
affect all of them. The budget of a process is `time=` with `hardware.clock=cpu` for nasrun and `--seconds` for the
others, including imports and reading the data; the time used, as counted by the system, is printed. Row `genes` is
nasrun with genes for learning rate, weight decay and augmentation beside the architecture. Row `elastic` is nasrun that
trains weights shared by all networks (`experiment=elastic`), searches with them, and trains the network it found for
the remaining time. Differences are to the first row. Results are appended to `FOLDER/CASE.jsonl`; existing ones are not
measured again. WORDs are added to nasrun's command line, such as `strategy.start=random` for an ablation; use another
folder then.

V1, V2 and V6 use the images of `docs/own_images.md`, the first 600 of each class of CIFAR-10 as PNG files, a fifth of
which is the test set; the resulting networks are also tested on CIFAR-10's own 10,000 test images, which show
differences that 1,200 do not. E1 has 40, 80, ..., 400 training images of the ten classes, and class weights in both
rows; the balanced accuracy is measured on further images, equally many of each class. Cases for two cores get twice the
time of one thread. No choice in nasrun was made on any of these test images.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy import stats

from nasrun.checkpoints.store import load_weights
from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core.environment import describe_environment
from nasrun.hardware.devices import Hardware
from nasrun.storage.run_directory import load_config
from nasrun.training.data import DeviceData
from nasrun.training.settings import TrainSettings
from nasrun.training.single import measure

HERE = Path(__file__).parent
NASRUN = Path(sys.executable).with_name("nasrun")
PER_CLASS = 600
GENES = "search_space.recipe=[lr,weight_decay,augmentation]"
STEP, TESTED = 40, 100
"""For E1: the additional training images of each class compared with the one before, and test images per class."""


class Case(NamedTuple):
    """A task: the data, processor seconds of one thread, maximum number of parameters, a description of the goal.

    `more`: another data set to test on. `words`: additional arguments of nasrun; `flags`: of the hand-written script.
    """

    data: tuple[str, ...]
    seconds: int
    parameters: int
    goal: str
    more: str | None = None
    words: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


PHOTOS = ("dataset=image_folder", "dataset.path={photos}")
CASES = {
    "V1": Case(PHOTOS, 60, 100_000, "hand-written + 0.02", "dataset=cifar10"),
    "V2": Case(PHOTOS, 300, 100_000, "hand-written + 0.02", "dataset=cifar10"),
    "V3": Case(("dataset=fashion_mnist",), 2 * 480, 100_000, "0.940, and above the hand-written one"),
    "V4": Case(("dataset=mnist",), 2 * 180, 20_000, "0.9955"),
    "V5": Case(("dataset=cifar10",), 2 * 3600, 100_000, "0.90"),
    "V5long": Case(("dataset=cifar10",), 2 * 9000, 100_000, "as high as it goes"),
    "V6_10k": Case(PHOTOS, 120, 10_000, "above the hand-written one of that size", "dataset=cifar10"),
    "V6_30k": Case(PHOTOS, 120, 30_000, "above the hand-written one of that size", "dataset=cifar10"),
    "V6_100k": Case(PHOTOS, 120, 100_000, "above the hand-written one of that size", "dataset=cifar10"),
    "E1": Case(
        ("dataset=image_folder", "dataset.path={imbalanced}"),
        120,
        100_000,
        "hand-written + 0.02",
        "dataset=cifar10",
        ("evaluator.class_weights=balanced", "objective=val_balanced_accuracy"),
        ("--balanced",),
    ),
}

Row = Callable[[Case, int, Path, Sequence[str]], dict[str, Any]]


def make_photos(folder: Path) -> None:
    """Write the first images of each class of CIFAR-10 as PNG files, in a folder per class, unless they exist."""
    from PIL import Image

    if folder.is_dir():
        return
    dataset = build(task_config(compose_config(["dataset=cifar10"]))).dataset
    raw = dataset.read()
    temporary = folder.with_name(f"{folder.name}.tmp")
    for label, name in enumerate(raw.classes):
        (temporary / name).mkdir(parents=True)
        chosen = raw.training.images[raw.training.labels == label][:PER_CLASS]
        for number, image in enumerate(chosen, 1):
            Image.fromarray(image.transpose(1, 2, 0)).save(temporary / name / f"{number}.png")
    temporary.rename(folder)


def make_imbalanced(folder: Path) -> None:
    """Write 40, 80, ..., 400 training images of the classes of CIFAR-10, and 100 further ones of each for testing,
    unless they exist."""
    from PIL import Image

    if folder.is_dir():
        return
    raw = build(task_config(compose_config(["dataset=cifar10"]))).dataset.read()
    temporary = folder.with_name(f"{folder.name}.tmp")
    for label, name in enumerate(raw.classes):
        images = raw.training.images[raw.training.labels == label]
        kept = STEP * (label + 1)
        for part, chosen in (("train", images[:kept]), ("test", images[kept : kept + TESTED])):
            (temporary / part / name).mkdir(parents=True)
            for number, image in enumerate(chosen, 1):
                Image.fromarray(image.transpose(1, 2, 0)).save(temporary / part / name / f"{number}.png")
    temporary.rename(folder)


def timed(command: Sequence[str], log: Path) -> tuple[str, float, float]:
    """Run a command with one thread; returns its output, and its processor and wall seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = (
        "import resource, subprocess, sys, time; started = time.monotonic(); code = subprocess.call(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print('\\n%.2f %.2f %d' % (used.ru_utime + used.ru_stime, time.monotonic() - started, code))"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], env=environment, capture_output=True, text=True)
    log.write_text(done.stdout + done.stderr)
    output, _, last = done.stdout.rstrip().rpartition("\n")
    cpu, wall, code = last.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)}: exit code {code}; see {log}")
    return output, float(cpu), float(wall)


def nasrun(case: Case, seed: int, folder: Path, words: Sequence[str], kind: str = "") -> dict[str, Any]:
    """Run one command of nasrun. `kind`: part of its directory's name."""
    run = _run(case, seed, folder, kind)
    budget = ["search_space=staged_cnn", "recipe=auto", f"time={case.seconds}s", "hardware.clock=cpu"]
    _, cpu, wall = _command(case, seed, run, [*budget, *case.words, *words])
    return _found(case, run, cpu, wall)


def elastic(case: Case, seed: int, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Run two commands: a search by one training of shared weights, then its winner for the remaining seconds."""
    search, run = (_run(case, seed, folder, kind) for kind in ("shared_", "elastic_"))
    _, cpu, wall = _command(case, seed, search, ["experiment=elastic", *words])
    found = json.loads((search / "summary.json").read_text())["best"]["genome"]
    budget = [f"time={int(case.seconds - cpu)}s", "hardware.clock=cpu", "recipe=auto"]
    genome = ["search_space=staged_cnn", "strategy=fixed", f"strategy.genomes=[{found}]"]
    _, more_cpu, more_wall = _command(case, seed, run, [*genome, *budget, *case.words])
    return {**_found(case, run, cpu + more_cpu, wall + more_wall), "search_cpu": cpu}


def _run(case: Case, seed: int, folder: Path, kind: str) -> Path:
    """The directory of a run."""
    return folder / "runs" / f"{kind}{case.seconds}s_{case.parameters}_{seed}"


def _command(case: Case, seed: int, run: Path, words: Sequence[str]) -> tuple[str, float, float]:
    """Run nasrun on the data and with the limit of a case; returns the result of `timed`."""
    command = [str(NASRUN), *case.data, "hardware.threads=1", f"constraints.parameters={case.parameters}"]
    run.parent.mkdir(exist_ok=True)
    return timed([*command, f"seed={seed}", f"hydra.run.dir={run}", *words], run.with_suffix(".log"))


def _found(case: Case, run: Path, cpu: float, wall: float) -> dict[str, Any]:
    """The results of a run."""
    summary = json.loads((run / "summary.json").read_text())
    best = summary["best"]
    found = {"accuracy": summary["final"]["test_accuracy"], "parameters": best["parameters"], "genome": best["genome"]}
    found |= {"trials": summary["trials"], "cpu": cpu, "wall": wall, "trained_on": _trained_on(run)}
    return found | ({"more": _tested(run, case.more, best["genome"])} if case.more else {})


def genes(case: Case, seed: int, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """The same with a search for training settings too."""
    return nasrun(case, seed, folder, [GENES, *words], "genes_")


def _trained_on(run: Path) -> str:
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return str(next(event["trained_on"] for event in events if event["event"] == "final"))


def _tested(run: Path, words: str, genome: str) -> float:
    """The accuracy of a run's network on the test images of another data set."""
    setup = build(load_config(run, [], data_only=True))
    other = build(task_config(compose_config([words]))).dataset.load()
    own = setup.dataset.load()
    runtime = Hardware(device="cpu", threads=1).resolve()
    runtime.apply()
    data = DeviceData(type(own)(**{**vars(own), "test": other.test}), "cpu")
    model = setup.space.build(setup.space.parse(genome), setup.dataset.task)
    model.load_state_dict(load_weights(run / "best" / "model.safetensors"))
    flip = bool(setup.config["evaluator"].get("test_flip"))
    return measure(runtime.place(model), data, "test", runtime, TrainSettings(flip=flip, test_flip=flip))["accuracy"]


def script(name: str, case: Case, seed: int, folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Run a script of this folder that takes the arguments of `handwritten_baseline.py`."""
    command = [sys.executable, str(HERE / f"{name}_baseline.py"), "--seconds", str(case.seconds)]
    command += ["--seed", str(seed), "--parameters", str(case.parameters)]
    command += ["--more", case.more] if case.more else []
    command += case.flags
    output, cpu, wall = timed([*command, *case.data], folder / f"{name}_{case.seconds}s_{seed}.log")
    return {**json.loads(output.splitlines()[-1]), "cpu": cpu, "wall": wall}


ROWS: Mapping[str, Row] = {
    "handwritten": partial(script, "handwritten"),
    "optuna": partial(script, "optuna"),
    "nasrun": nasrun,
    "genes": genes,
    "elastic": elastic,
}
"""A practitioner's script; the same with Optuna for its settings; nasrun; nasrun that also searches for training
settings; and nasrun that searches with weights that all networks share."""


def interval(values: Sequence[float]) -> str:
    """Mean, with half the width of its 95 % interval (Student's t) if there are two values or more."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} +- {half:.4f}"


def report(name: str, case: Case, found: Mapping[tuple[str, int], Mapping[str, Any]], rows: Sequence[str]) -> None:
    """Print a table of the rows, with their paired differences to the first one."""
    print(f"\n{name}: {case.seconds} s of one thread, at most {case.parameters:,} parameters; goal: {case.goal}")
    for key in ("accuracy", "more") if case.more else ("accuracy",):
        print(f"| {'test accuracy' if key == 'accuracy' else 'on 10,000 further images'} | n | mean | difference |")
        print("|---|---|---|---|")
        for row in rows:
            seeds = [seed for kind, seed in found if kind == row and key in found[kind, seed]]
            if not seeds:
                continue
            paired = [s for s in seeds if (rows[0], s) in found and row != rows[0]]
            gaps = [found[row, s][key] - found[rows[0], s][key] for s in paired]
            gap = interval(gaps) if gaps else "-"
            print(f"| {row} | {len(seeds)} | {interval([found[row, s][key] for s in seeds])} | {gap} |")
    for row in rows:
        mine = [values for (kind, _), values in found.items() if kind == row]
        if mine:
            cpu, size = (statistics.fmean(values[key] for values in mine) for key in ("cpu", "parameters"))
            print(f"{row}: {cpu:.1f} s of the processor, {size:,.0f} parameters")


def main() -> None:
    """Run what is missing of a case, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("bench"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["handwritten", "nasrun"])
    arguments, words = parser.parse_known_args()
    torch.set_num_threads(1)
    folder, case = arguments.folder.absolute(), CASES[arguments.case]
    folder.mkdir(parents=True, exist_ok=True)
    places = {"photos": (folder / "photos", make_photos), "imbalanced": (folder / "imbalanced", make_imbalanced)}
    for name, (place, make) in places.items():
        if f"{{{name}}}" in "".join(case.data):
            make(place)
    names = {name: place for name, (place, _) in places.items()}
    case = case._replace(data=tuple(word.format(**names) for word in case.data))
    path = folder / f"{arguments.case}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {(line["row"], line["seed"]): line for line in lines}
    print(f"{describe_environment()['processor']}, torch {torch.__version__}, words: {' '.join(words) or 'none'}")
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for row in arguments.rows:
            if (row, seed) not in found:
                line = {"row": row, "seed": seed, **ROWS[row](case, seed, folder, words)}
                found[row, seed] = line
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    report(arguments.case, case, found, arguments.rows)


if __name__ == "__main__":
    main()
