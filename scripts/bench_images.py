"""A folder of pictures: seconds to decode, memory, and images per second in training.

    python scripts/bench_images.py [--count 20000] [--size 224] [--python PYTHON] [--folder FOLDER]
    python scripts/bench_images.py --count 100000 --size 128 --run trials=1 evaluator.epochs=1

Makes a folder of JPEGs, the first training images of CIFAR-10 enlarged to `--size`, unless it exists; beyond its 50,000
images they are repeated with added noise. A process then reads it as a run does (decode and split; look at the data and
record them; one epoch of augmented batches), and again when nothing is left to decode. With `--run` it measures a whole
run of nasrun with these arguments instead: decoding, search, final training, test and report.

Memory is that of the process and all its children, sampled every 50 ms: `own` is RssAnon + RssShmem, which the system
cannot drop; `resident` also counts pages of mapped files, which it can. `--python`: the interpreter of another version
of nasrun to compare with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NOISE = 8.0
"""Standard deviation of the noise of repeated pictures, out of 256 levels."""

READ = """
import json, sys, time
began = time.monotonic()
from nasrun.datasets.image_folder import ImageFolder
try:
    from nasrun.datasets.record import record_of
    from nasrun.datasets.overview import overview_of
except ImportError:  # earlier versions did neither
    record_of = overview_of = lambda data: None
from nasrun.training.data import DeviceData
from nasrun.training.settings import TrainSettings
import torch
torch.set_num_threads(1)
def say(phase):
    print(json.dumps([phase, time.monotonic() - began]), flush=True)
say("imports")
data = ImageFolder(path=sys.argv[1], height=int(sys.argv[2]), width=int(sys.argv[2]))
splits = data.load()
say("load")
record, overview = record_of(data), overview_of(data)
say("record")
held = DeviceData(splits, "cpu")
settings = TrainSettings(batch_size=64, shift=4, flip=True)
streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
seen = 0
for images, labels in held.training_batches(held.split("train"), settings, torch.channels_last, *streams):
    seen += len(images)
say("epoch")
whole = held.split("whole_training")
for images, labels in held.training_batches(whole, settings, torch.channels_last, *streams):
    seen += len(images)
say("whole")
print(json.dumps(["seen", seen]), flush=True)
print(json.dumps(["fingerprint", getattr(record, "fingerprint", None)]), flush=True)
"""


def main() -> None:
    """Make the folder, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="pictures [20000]")
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels [224]")
    parser.add_argument("--folder", type=Path, help="folder of pictures, made if missing; default: temporary")
    parser.add_argument("--python", default=sys.executable, help="interpreter with the nasrun to measure [this one]")
    parser.add_argument("--cache", type=Path, help="folder for decoded pictures; default: a temporary one")
    parser.add_argument("--again", type=int, default=1, help="number of readings after the first [1]")
    parser.add_argument("--run", nargs="+", metavar="WORD", help="measure a run of nasrun with these arguments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.folder or Path(place, "pictures")
        make(folder, arguments.count, arguments.size)
        cache = (arguments.cache or Path(place, "cache")).absolute()
        if arguments.run:
            data = ["dataset=image_folder", f"dataset.path={folder.absolute()}"]
            size = [f"dataset.{side}={arguments.size}" for side in ("height", "width")]
            print("| run | seconds | own, MB | resident, MB |\n|---|---|---|---|")
            for reading in range(1 + arguments.again):
                command = [str(Path(arguments.python).with_name("nasrun")), *data, *size, *arguments.run]
                started = time.monotonic()
                _, own, resident = watched([*command, f"hydra.run.dir={place}/run{reading}"], cache)
                print(
                    f"| {reading + 1} | {time.monotonic() - started:.0f} | {own:,.0f} | {resident:,.0f} |", flush=True
                )
            return
        print("| reading | decode and split | look and record | batches, images/s | own, MB | resident, MB |")
        print("|---|---|---|---|---|---|")
        for reading in range(1 + arguments.again):
            print(f"| {reading + 1} | {row(measured(arguments.python, folder, arguments.size, cache))} |", flush=True)


def make(folder: Path, count: int, size: int) -> None:
    """JPEGs of the first images of CIFAR-10, enlarged, in folders of their classes."""
    from PIL import Image

    from nasrun.datasets.cifar10 import Cifar10

    if folder.exists():
        return
    raw, rng = Cifar10().read(), np.random.default_rng(0)
    for number in range(count):
        again, which = divmod(number, len(raw.training))
        place = folder / raw.classes[raw.training.labels[which]]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(raw.training.images[which]).transpose(1, 2, 0)
        if again:
            pixels = np.clip(pixels + rng.normal(0, NOISE, pixels.shape), 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(place / f"{number:06d}.jpg", quality=90)


def measured(python: str, folder: Path, size: int, cache: Path) -> dict[str, float]:
    """The phases that a process reports, and the maximum memory of it and its children."""
    output, own, resident = watched([python, "-c", READ, str(folder.absolute()), str(size)], cache)
    told = dict(json.loads(line) for line in output.splitlines())
    print(f"fingerprint of the data: {told.pop('fingerprint')}", file=sys.stderr)
    return {**told, "own": own, "resident": resident}


def watched(command: Sequence[str], cache: Path) -> tuple[str, float, float]:
    """The output of a process, and the maximum own and resident memory of it and its children, in MB."""
    environment = {**os.environ, "NASRUN_CACHE": str(cache)}
    own = resident = 0
    with tempfile.TemporaryFile("w+") as output:
        # In another directory, so that Python does not find this nasrun in the working directory.
        process = subprocess.Popen(command, stdout=output, text=True, env=environment, cwd=cache.parent)
        while process.poll() is None:
            taken = [memory(number) for number in tree(process.pid)]
            own = max(own, sum(one for one, _ in taken))
            resident = max(resident, sum(other for _, other in taken))
            time.sleep(0.05)
        if process.returncode:
            sys.exit(process.returncode)
        output.seek(0)
        return output.read(), own / 2**20, resident / 2**20


def row(found: dict[str, float]) -> str:
    """The cells of the table."""
    reading = found["whole"] - found["record"]
    cells = [
        f"{found['load'] - found['imports']:.1f} s",
        f"{found['record'] - found['load']:.1f} s",
        f"{found['seen'] / reading:,.0f}",
        f"{found['own']:,.0f}",
        f"{found['resident']:,.0f}",
    ]
    return " | ".join(cells)


def tree(process: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for number in found:
        found += parents.get(number, [])
    return found


def memory(process: int) -> tuple[int, int]:
    """Bytes that a process owns or shares as memory, and all resident bytes."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    except OSError:
        return 0, 0
    taken = {name: 1024 * int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem", "RssFile") if name in lines}
    own = taken.get("RssAnon", 0) + taken.get("RssShmem", 0)
    return own, own + taken.get("RssFile", 0)


if __name__ == "__main__":
    main()
