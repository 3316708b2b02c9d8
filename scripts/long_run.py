"""The resources of a long run: memory, descriptors, processes and time per trial, at the start and at the end.

    python scripts/long_run.py [--trials 5000] [--every 500] [--workers 1]

Runs the installed `nasrun` on the synthetic landscape and on the table of NAS-Bench-201 (`strategy=aging_evolution`)
like from a shell, and reads from `/proc` (Linux) the resources of the process, and with workers of all its children,
during the run. The time per trial is that between the tells of the journal.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from nasrun.storage import journal

KINDS = {
    "synthetic": ("evaluator=synthetic", "dataset=synthetic"),
    "table": ("evaluator=table", "search_space=nasbench201"),
}
EVOLUTION = ("strategy=aging_evolution", "strategy.population=100", "strategy.sample=25", "deduplicate=never")


class Sample(NamedTuple):
    """The resources of a run after some number of trials: resident kilobytes, open descriptors, processes."""

    trials: int
    kilobytes: int
    descriptors: int
    processes: int


def long_run(directory: Path, words: list[str], every: int) -> list[Sample]:
    """The resources of a run of the installed command, about every `every` trials; RuntimeError if it failed."""
    program = Path(sys.executable).with_name("nasrun")
    words = [*words, "output.console=none", "output.plots=false", f"hydra.run.dir={directory}"]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    path, told, offset = directory / journal.NAME, 0, 0
    samples: list[Sample] = []
    while process.poll() is None:
        if path.is_file():
            with path.open("rb") as file:
                file.seek(offset)
                new = file.read()
            whole = new.rfind(b"\n") + 1
            told, offset = told + new[:whole].count(b'"event":"tell"'), offset + whole
        if told >= every * (len(samples) + 1):
            samples += [sample] if (sample := look(process.pid, told)) else []
        time.sleep(0.002)
    error = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(error)
    return samples


def look(process: int, trials: int) -> Sample | None:
    """The resources of a process and its descendants; None if it is just ending."""
    family = [process]
    for parent in family:
        family += children(parent)
    try:
        pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family)
        descriptors = sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in family)
    except OSError:
        return None
    return Sample(trials, pages * os.sysconf("SC_PAGE_SIZE") // 1024, descriptors, len(family))


def children(process: int) -> list[int]:
    """The child processes of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def microseconds(directory: Path, part: int) -> tuple[float, float]:
    """Time per trial over the first and the last `part` trials, from tell to tell, in microseconds."""
    times = [event["time"] for event in journal.read(directory / journal.NAME) if event["event"] == "tell"]
    steps = [1e6 * (later - earlier) for earlier, later in itertools.pairwise(times)]
    return sorted(steps[:part])[part // 2], sorted(steps[-part:])[part // 2]


def main() -> None:
    """Run both kinds and print their resources."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    print("evaluator,trials,kilobytes,descriptors,processes")
    for kind, words in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "run"
            more = [f"trials={arguments.trials}", f"hardware.workers={arguments.workers}"]
            for sample in long_run(directory, [*words, *EVOLUTION, *more], arguments.every):
                print(kind, *sample, sep=",", flush=True)
            first, last = microseconds(directory, min(500, arguments.trials // 3))
            print(f"{kind}: median time per trial {first:.0f} us at the start, {last:.0f} us at the end", flush=True)


if __name__ == "__main__":
    main()
