"""How fast a file of NAS-Bench-101's records is read, and how fast a cached table of its size is loaded.

    python scripts/bench_tfrecord.py [--records 10000] [--runs 3]

Needs nasrun[nasbench] and the tests. Generates records in the format of the published files (random cells with their
real hashes, 108 epochs, three repeats) and reads them, each time in a separate process: records per second, and peak
memory above that of the imports. Then fills a cache of the benchmark's size (423,624 cells, three repeats, synthetic
values) and times the steps of a later run: load, first look-up, look-ups. Prints medians with their range.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasrun.core import Genome
from nasrun.core.environment import describe_environment
from nasrun.spaces.nasbench101.space import NASBench101
from nasrun.tables.nasbench101.cache import CELLS, PUBLISHED, REPEATS, Runs, folder_of, write_folder
from nasrun.tables.nasbench101.table import RecordFile
from tests.tables import tfrecord_writer

LOOKUPS = 20_000


class Keys(NASBench101):
    """A space with given hashes: its genomes are (hash,)."""

    def key(self, genome: Genome) -> str:
        return str(genome[0])


def memory_mb(name: str) -> float:
    """The resident memory of this process now (`VmRSS`), or at its peak (`VmHWM`), in MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1e3


def read_once(path: Path, cache: str) -> tuple[float, float]:
    """Seconds to read a file into an empty cache, and the memory in MB above that of the imports."""
    os.environ["NASRUN_CACHE"] = cache
    import filelock  # noqa: F401  # imported before the clock runs
    import google_crc32c  # noqa: F401

    before, started = memory_mb("VmRSS"), time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        RecordFile(path).load()
    return time.perf_counter() - started, memory_mb("VmHWM") - before


def load_cached(path: Path, cache: str, keys: Sequence[str]) -> tuple[float, float, float]:
    """Milliseconds to load from the cache, those of the first look-up, and microseconds of each later one."""
    os.environ["NASRUN_CACHE"] = cache
    started = time.perf_counter()
    table = RecordFile(path)
    table.load()
    trainings = table.trainings("cifar10", 108)
    loaded = time.perf_counter()
    space = Keys(vertices=2, operations=["conv3x3"])

    def look_up(key: str) -> float:
        row = table.find(space, (key,))
        assert row is not None
        return float(trainings.validation[trainings.of(row)].mean())

    look_up(keys[0])
    first = time.perf_counter()
    for key in keys:
        look_up(key)
    each = (time.perf_counter() - first) / len(keys)
    return 1e3 * (loaded - started), 1e3 * (first - loaded), 1e6 * each


def fill_cache(path: Path, cache: str) -> list[str]:
    """A cache with as many cells as the benchmark has, and some of their hashes."""
    os.environ["NASRUN_CACHE"] = cache
    path.write_bytes(b"stands for the published file\n")
    rng = np.random.default_rng(0)
    digests = [rng.bytes(16) for _ in range(CELLS)]
    runs = Runs()
    for digest in digests:
        for value in rng.random(REPEATS).tolist():
            runs.add(digest, 108, 1_000_000, value, value, 1000.0)
    folder = folder_of(path)
    folder.parent.mkdir(parents=True)
    write_folder(runs, {"sha256": ""}, folder)
    return [digests[i].hex() for i in rng.integers(0, CELLS, LOOKUPS)]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    """Generate, read and load, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "generated.tfrecord"
        cells = -(-arguments.records // REPEATS)
        runs = list(tfrecord_writer.runs(0, cells, epochs=(108,)))[: arguments.records]
        tfrecord_writer.write(path, map(tfrecord_writer.payload, runs))
        size = path.stat().st_size
        readings, loads = [], []
        for run in range(arguments.runs):
            with context.Pool(1) as pool:
                readings.append(pool.apply(read_once, (path, str(folder / f"cache-{run}"))))
        full = folder / "full.tfrecord"
        keys = fill_cache(full, str(folder / "full"))
        kept = sum(file.stat().st_size for file in folder_of(full).iterdir())
        for _ in range(arguments.runs):
            with context.Pool(1) as pool:
                loads.append(pool.apply(load_cached, (full, str(folder / "full"), keys)))
    environment = describe_environment()
    print(f"{environment['processor']}, Python {environment['python']}; median of {arguments.runs} (least to largest)")
    print(f"{len(runs):,} records of {cells:,} cells, {size / 1e6:.1f} MB, {size / len(runs):.0f} bytes each")
    rates = [len(runs) / seconds for seconds, _ in readings]
    print(f"read into the cache     {spread([seconds for seconds, _ in readings], 3)} s")
    print(f"records per second      {spread(rates, 0)}")
    print(f"memory above imports    {spread([mb for _, mb in readings])} MB")
    for file, (_, lengths) in PUBLISHED.items():
        seconds = CELLS * REPEATS * lengths / statistics.median(rates)
        print(f"projection              {file}: {CELLS:,} x {REPEATS} x {lengths} records in {seconds:,.0f} s")
    print(f"cache of {CELLS:,} cells x {REPEATS}: {kept / 1e6:.0f} MB")
    for what, values in zip(
        ("load, ms", "first look-up, ms", "look-up, microseconds"), zip(*loads, strict=True), strict=True
    ):
        print(f"{what:<23} {spread(values)}")


if __name__ == "__main__":
    main()
