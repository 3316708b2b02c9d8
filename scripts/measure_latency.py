"""Measures ONNX files on this device, using only onnxruntime and numpy: `python measure_latency.py FOLDER > table.csv`.

FOLDER comes from `scripts/latency_layers.py`; copy it and this file to the device. `layers.csv` in it names the files.
Each is called with one input of noise: 10 uncounted calls, then for a tenth of a second, at least 20 calls.
"""

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

WARM_UP, LEAST, SECONDS = 10, 20, 0.1


def milliseconds(path: Path, threads: int) -> float:
    """Median milliseconds of a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng, inputs = np.random.default_rng(0), {}
    for one in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in one.shape]
        noise = rng.integers(0, 256, shape) if "uint8" in one.type else rng.normal(size=shape)
        inputs[one.name] = noise.astype(np.uint8 if "uint8" in one.type else np.float32)
    times = []
    end = None
    for number in range(100_000):
        if number == WARM_UP:
            end = time.perf_counter() + SECONDS
        began = time.perf_counter()
        session.run(None, inputs)
        if end is not None:
            times.append(1000 * (time.perf_counter() - began))
            if len(times) >= LEAST and time.perf_counter() > end:
                break
    return statistics.median(times)


def main() -> None:
    """Print the table of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1, help="threads of onnxruntime [1]")
    arguments = parser.parse_args()
    folder, threads = arguments.folder, arguments.threads
    with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "layers", "ms"])
    for number, row in enumerate(rows, 1):
        table.writerow([row["file"], row["layers"], milliseconds(folder / row["file"], threads)])
        print(f"\r{number} of {len(rows)}", end="", file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
