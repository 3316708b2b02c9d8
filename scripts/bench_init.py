"""The value of a finished run's weights on few images: CIFAR-10's animals, with and without those of its vehicles.

    python scripts/bench_init.py [--seeds 5] [--folder bench_init] [--time 600s] [--epochs 60] [WORD...]

nasrun searches and trains a network on the vehicles, 5,000 images of each of four classes, within `--time` of one
thread. The same architecture is then trained on 50 images of each of the six animals, with `init=` that run and
without, with the same recipe, epochs and seeds; both are tested on CIFAR-10's 6,000 test images of animals. Prints the
means, with 95 % intervals (Student's t), and the paired difference. Results are appended to `FOLDER/init.jsonl`;
existing ones are not measured again. WORDs are further overrides of the training runs on animals.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_value import interval

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.datasets.base import Raw

NASRUN = Path(sys.executable).with_name("nasrun")
VEHICLES = ("airplane", "automobile", "ship", "truck")
FEW, MANY = 50, 5000
"""Training images of each class of animals, and maximum of each class of vehicles."""
ROWS = ("without", "init")


def make(folder: Path, raw: Raw, names: Sequence[str], most: int) -> None:
    """Write some classes of CIFAR-10 as PNG files, with all their test images, unless they exist."""
    from PIL import Image

    if folder.is_dir():
        return
    temporary = folder.with_name(f"{folder.name}.tmp")
    for part, split, limit in (("train", raw.training, most), ("test", raw.test, None)):
        for name in names:
            (temporary / part / name).mkdir(parents=True)
            chosen = np.flatnonzero(split.labels == raw.classes.index(name))[:limit]
            for number, image in enumerate(split.images[chosen], 1):
                Image.fromarray(image.transpose(1, 2, 0)).save(temporary / part / name / f"{number}.png")
    temporary.rename(folder)


def run(directory: Path, *words: str) -> None:
    """Run a command of nasrun with one thread, unless its directory exists."""
    if (directory / "summary.json").is_file():
        return
    command = [str(NASRUN), *words, "hardware.threads=1", "output.console=plain", f"hydra.run.dir={directory}"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    directory.with_suffix(".log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}; see {directory.with_suffix('.log')}")


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("bench_init"))
    parser.add_argument("--time", default="600s", help="time budget on the vehicles, of one thread")
    parser.add_argument("--epochs", type=int, default=60, help="epochs on the animals")
    arguments, words = parser.parse_known_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    raw = build(task_config(compose_config(["dataset=cifar10"]))).dataset.read()
    make(folder / "vehicles", raw, VEHICLES, MANY)
    make(folder / "animals", raw, [name for name in raw.classes if name not in VEHICLES], FEW)
    first = folder / "on_vehicles"
    data = "dataset=image_folder", f"dataset.path={folder / 'vehicles'}"
    run(first, *data, f"time={arguments.time}", "constraints.parameters=100000", "hardware.clock=cpu")
    summary = json.loads((first / "summary.json").read_text())
    genome = summary["best"]["genome"]
    print(
        f"vehicles: {summary['final']['test_accuracy']:.4f}, {summary['best']['parameters']:,.0f} parameters, {genome}"
    )
    path = folder / "init.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {(line["row"], line["seed"]): line["accuracy"] for line in lines}
    common = ["dataset=image_folder", f"dataset.path={folder / 'animals'}", "strategy=fixed", "trials=1"]
    common += [f"strategy.genomes=['{genome}']", f"evaluator.epochs={arguments.epochs}"]
    common += [f"evaluator.final_epochs={arguments.epochs}", "output.plots=false"]
    for seed in range(arguments.seeds):
        for row in ROWS:
            if (row, seed) not in found:
                place = folder / f"{row}_{seed}"
                run(place, *common, f"seed={seed}", *([f"init={first}"] if row == "init" else []), *words)
                accuracy = json.loads((place / "summary.json").read_text())["final"]["test_accuracy"]
                found[row, seed] = accuracy
                with path.open("a") as file:
                    file.write(json.dumps({"row": row, "seed": seed, "accuracy": accuracy}) + "\n")
    print("| 50 images of each of six animals | n | test accuracy | difference |\n|---|---|---|---|")
    for row in ROWS:
        values = [found[row, seed] for seed in range(arguments.seeds)]
        gaps = [found[row, seed] - found["without", seed] for seed in range(arguments.seeds)]
        gap = "-" if row == "without" else interval(gaps)
        print(f"| {row} | {len(values)} | {interval(values)} | {gap} |")


if __name__ == "__main__":
    main()
