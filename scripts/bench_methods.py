"""Methods at equal cost on NAS-Bench-201: seconds of one core, including the training of all weights.

    python scripts/bench_methods.py FOLDER [--seconds 60] [--seeds 3] [--methods NAME...] [--samples 5000]
        [--trial-runs 3] [WORD...]

Each method searches small networks of the cells (8 channels, one cell per stage) on part of the training images of
CIFAR-10. Then its resulting cell is looked up in the table of training runs of 200 epochs. Methods with shared weights
use images of 16 by 16. The number of trials is that of a trial run with another seed which took `--seconds` of the
processor, within 15 %: a first one has as many as a short timing expects, later ones follow from the one before.

Runs are in `FOLDER/METHOD_SEED`; a finished one is reused, a killed one is resumed. `FOLDER/METHOD.json` holds the
number of trials and the seconds of each run. Prints a row for each method: trials, processor seconds (including
Python's start), and test accuracy of the cells in percent, mean and deviation over the seeds. WORDs are further
overrides of the config of all runs.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rank_correlation import merged
from table_kinds.cells import accuracies, found_by
from table_kinds.shared import print_table, spread

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Proposal, Trial
from nasrun.spaces.nasbench201.space import NASBench201

SHARED = ("evaluator.image_size=16", "evaluator.score=whole", "evaluator.batch_size=64")
TRAINED = ("evaluator=train", "evaluator.epochs=1", "evaluator.final_epochs=null")
METHODS: Mapping[str, Sequence[str]] = {
    "random": (*TRAINED, "strategy=random"),
    "evolution": (*TRAINED, "strategy=aging_evolution", "strategy.population=10", "strategy.sample=5"),
    "pnas": (*TRAINED, "strategy=pnas", "strategy.first=10", "strategy.beam=10"),
    "nao": (*TRAINED, "strategy=nao", "strategy.initial=10"),
    "zero_cost": ("evaluator=proxies", "evaluator.scores=[rank_sum]", "strategy=random"),
    "darts": ("evaluator=darts", "strategy=derived", *SHARED),
    "gdas": ("evaluator=gdas", "strategy=derived", *SHARED),
    "pc_darts": ("evaluator=pc_darts", "strategy=derived", *SHARED),
    "sgas": ("evaluator=sgas", "strategy=derived", *SHARED),
    "enas": ("evaluator=supernet", "evaluator.rounds=10", "strategy=reinforce", *SHARED),
    "shared_random": ("evaluator=supernet", "evaluator.rounds=10", "strategy=random", "objective=val_loss", *SHARED),
}
"""The overrides of each method, by name."""
TIMED = 3
"""Number of cells from which the seconds of a trial are estimated."""
TRIAL_SEED, NEAR = 1_000, 0.15
"""The seed of the runs that settle the number of trials, and how near to the wanted seconds one must be."""


def words_of(method: str, seed: int, arguments: argparse.Namespace) -> list[str]:
    """The overrides of one run, without its number of trials."""
    common = ("search_space=nasbench201", "search_space.channels=8", "search_space.cells=1", "dataset=cifar10")
    data = (f"dataset.train_samples={arguments.samples}", "dataset.validation=0.04")
    quiet = ("hardware=cpu", "hardware.threads=1", "output.plots=false", "output.console=none")
    return merged([*common, *data, *METHODS[method], *quiet, f"seed={seed}", *arguments.words])


def expected_trials(words: Sequence[str], seconds: float) -> int:
    """The number of trials that takes so many processor seconds, by a short timing."""
    setup = build(task_config(compose_config([*words, "trials=1"])))
    setup.evaluator.prepare()
    rng = np.random.default_rng(0)
    found = [
        setup.evaluator.estimate(Trial(number, Proposal(setup.space.sample(rng))), time.process_time)
        for number in range(TIMED)
    ]
    seconds -= setup.evaluator.estimate_start(setup.space.sample(rng))
    return max(1, round(seconds / statistics.fmean(one or 0.01 for one in found)))


def run(words: Sequence[str], directory: Path, trials: int) -> float:
    """Search, or resume a search that was killed; returns its processor seconds."""
    program = str(Path(sys.executable).with_name("nasrun"))
    call = [program, "resume", str(directory)]
    if not (directory / "journal.jsonl").is_file():
        call = [program, *words, f"trials={trials}", f"hydra.run.dir={directory}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def settled_trials(method: str, arguments: argparse.Namespace) -> int:
    """The number of trials of a trial run that took the wanted seconds, or of the last of `--trial-runs`.

    Strategies that train networks of their own, and evaluators whose first batches are slow, take longer than a short
    timing shows.
    """
    words = words_of(method, TRIAL_SEED, arguments)
    trials = expected_trials(words, arguments.seconds)
    for _ in range(arguments.trial_runs):
        with tempfile.TemporaryDirectory() as folder:
            share = run(words, Path(folder) / "run", trials) / arguments.seconds
        if abs(share - 1) <= NEAR or (trials == 1 and share > 1):
            break
        trials = max(1, round(trials / share))
    return trials


def runs_of(method: str, arguments: argparse.Namespace) -> tuple[list[Path], list[float]]:
    """The directories of a method's finished runs, and the processor seconds of each."""
    path = arguments.folder / f"{method}.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    if "trials" not in record:
        record = {"trials": settled_trials(method, arguments), "seconds": {}}
    directories = []
    for seed in range(arguments.seeds):
        directory = arguments.folder / f"{method}_{seed}"
        directories.append(directory)
        if not (directory / "summary.json").is_file():
            spent = run(words_of(method, seed, arguments), directory, record["trials"])
            record["seconds"][str(seed)] = record["seconds"].get(str(seed), 0) + spent
        path.write_text(json.dumps(record))
    return directories, [record["seconds"][str(seed)] for seed in range(arguments.seeds)]


def main() -> None:
    """Search with all methods, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="NAME")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--trial-runs", type=int, default=3, help="most runs that settle the number of trials")
    parser.add_argument("words", nargs="*", metavar="WORD", help="further overrides of the config")
    arguments = parser.parse_intermixed_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows, space = [], NASBench201()
    for method in arguments.methods:
        directories, seconds = runs_of(method, arguments)
        genomes = [found_by(directory, space)[1] for directory in directories]
        trials = [float(json.loads((one / "summary.json").read_text())["trials"]) for one in directories]
        found = spread([100 * value for value in accuracies(genomes, "cifar10")], 2)
        rows.append([method, str(len(genomes)), spread(trials, 0), spread(seconds, 0), found])
    print_table(("method", "seeds", "trials", "seconds of the processor", "test accuracy, %"), rows)
    print(f"\n{' '.join(sys.argv)}")


if __name__ == "__main__":
    main()
