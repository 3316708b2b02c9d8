"""A sweep of many table runs that is interrupted, killed and resumed: its time, files and memory.

    python scripts/bench_sweep.py FOLDER --seeds 500      # two strategies: 1,000 runs of 50 trials

The sweep gets SIGINT when a tenth of its runs are finished, SIGKILL at half of them, and is resumed each time by
`nasrun resume FOLDER`; then once more when all is done. Needs the table of NAS-Bench-201 (docs/search_spaces.md). For
measurements give it a core of its own: taskset -c 0.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

NASRUN = (sys.executable, "-m", "nasrun.cli.main")
STRATEGIES = ("random", "aging_evolution")
LOOK_SECONDS = 0.3


def over(folder: Path) -> int:
    """Number of finished runs, which have a summary."""
    return sum(1 for _ in folder.glob("*/summary.json"))


def call(folder: Path, title: str, *words: str, at: int | None = None, by: signal.Signals = signal.SIGINT) -> None:
    """Run the command, send it a signal when `at` runs are finished, and print its time and memory."""
    began = time.monotonic()
    with (folder.parent / f"{folder.name}.log").open("wb+") as log:
        process = subprocess.Popen([*NASRUN, *words], stdout=log, stderr=log)
        while at is not None and over(folder) < at and process.poll() is None:
            time.sleep(LOOK_SECONDS)
        if at is not None:
            process.send_signal(by)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read().decode().strip().splitlines()[-1:]
    print(
        f"{title}: {time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.1f} s of the processor, "
        f"{used.ru_maxrss / 1e3:.0f} MB, code {process.returncode}, {over(folder)} runs over: {' '.join(said)[-200:]}",
        flush=True,
    )


def describe(folder: Path) -> None:
    """Print the contents of the folder, and whether each run is there once."""
    runs = sorted(path.parent for path in folder.glob("*/journal.jsonl"))
    found: Counter[tuple[str, int]] = Counter()
    begun = []
    for run in runs:
        with (run / "journal.jsonl").open() as file:
            header = json.loads(file.readline())
        found[header["choices"]["strategy"], header["seed"]] += 1
        begun.append(header["time"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(runs)} runs, {len(found)} of them different; {len(files)} files, {size / 1e6:.1f} MB")
    begun.sort()
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    tenth = max(1, len(gaps) // 10)
    medians = [sorted(gaps[at : at + tenth])[tenth // 2] for at in range(0, len(gaps) - tenth + 1, tenth)]
    print("seconds from one run to the next, medians of tenths:", *(f"{gap:.2f}" for gap in medians), flush=True)


def main(words: Sequence[str] | None = None) -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--trials", type=int, default=50)
    given = parser.parse_args(words)
    folder, runs = given.folder.absolute(), given.seeds * len(STRATEGIES)
    sweep = [
        *("-m", f"strategy={','.join(STRATEGIES)}", f"seed=range({given.seeds})", f"trials={given.trials}"),
        *("search_space=nasbench201", "evaluator=table", "output.plots=false", "output.console=none"),
        f"hydra.sweep.dir={folder}",
    ]
    call(folder, "begun, SIGINT at a tenth", *sweep, at=runs // 10)
    call(folder, "resumed, SIGKILL at half", "resume", str(folder), at=runs // 2, by=signal.SIGKILL)
    call(folder, "resumed", "resume", str(folder))
    call(folder, "resumed when all is over", "resume", str(folder))
    describe(folder)
    call(folder, "status", "status", str(folder))
    call(folder, "compare", "compare", str(folder))


if __name__ == "__main__":
    main()
