"""The cost of a trial on a benchmark table besides the look-up: nasrun, Optuna and pygmo, in one run.

    python scripts/bench_peers.py [--trials 1500] [--peer-trials 500] [--runs 3]

All of them look up NAS-Bench-201 (CIFAR-10, 200 epochs) with nasrun's evaluator, so that only the search and its
storage differ. nasrun: the loop with its journal on disk, for three strategies; and the installed command from start to
exit, tables included. Optuna: its random sampler over the six operations, with its three storages. pygmo: its
generational PSO called directly, which stores nothing. Prints the median of the runs, their range, and the ratio to
nasrun's random search. Optuna's runs are shorter (`--peer-trials`), because they take long.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pygmo
from bench_loop import run_search
from optuna.storages.journal import JournalFileBackend

from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, Job, Proposal, Trial
from nasrun.core.environment import describe_environment

NASRUN = Path(sys.executable).with_name("nasrun")
TABLE = ["search_space=nasbench201", "evaluator=table", "dataset=cifar10"]
POPULATION = 30


def table_setup(strategy: str, trials: int) -> Setup:
    """A strategy on the table, ready to search."""
    setup = build(task_config(compose_config([f"strategy={strategy}", f"trials={trials}", *TABLE])))
    setup.evaluator.prepare()
    return setup


def lookup(setup: Setup, genome: Genome) -> float:
    """The validation accuracy of an architecture from nasrun's evaluator."""
    (measurement,) = setup.evaluator.evaluate([Job(Trial(0, Proposal(genome)), 0, 0)])
    return measurement.metrics["val_accuracy"]


def nasrun_search(strategy: str) -> Callable[[int, Path], float]:
    """Time of the loop and its journal, without the tables afterwards."""
    return lambda trials, folder: run_search(table_setup(strategy, trials), folder)[0]


def nasrun_command(trials: int, folder: Path) -> float:
    """Time of the installed command from start to exit."""
    words = ["strategy=aging_evolution", *TABLE[:2], f"trials={trials}", f"hydra.run.dir={folder / 'run'}"]
    started = time.perf_counter()
    subprocess.run([NASRUN, *words, "output.plots=false"], check=True, capture_output=True)
    return time.perf_counter() - started


def lookups(trials: int, folder: Path) -> float:
    """Time of only drawing and looking up, which all of them share."""
    setup, rng = table_setup("random", trials), np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(trials):
        lookup(setup, setup.space.sample(rng))
    return time.perf_counter() - started


def optuna_search(storage: Callable[[Path], optuna.storages.BaseStorage]) -> Callable[[int, Path], float]:
    """Optuna's random sampler over the same six choices."""

    def search(trials: int, folder: Path) -> float:
        setup = table_setup("random", trials)
        operations = list(setup.space.choices(()))

        def objective(trial: optuna.Trial) -> float:
            return lookup(setup, tuple(str(trial.suggest_categorical(f"edge{i}", operations)) for i in range(6)))

        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(storage=storage(folder), sampler=sampler, direction="maximize")
        started = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        return time.perf_counter() - started

    return search


def pygmo_alone(trials: int, folder: Path) -> float:
    """Time of generational PSO, called directly."""
    setup = table_setup("random", trials)
    length = len(setup.space.encode(setup.space.sample(np.random.default_rng(0))))

    class Problem:
        def fitness(self, vector: np.ndarray) -> list[float]:
            return [-lookup(setup, setup.space.decode(vector))]

        def get_bounds(self) -> tuple[list[float], list[float]]:
            return [0.0] * length, [1.0] * length

    algorithm = pygmo.algorithm(pygmo.pso_gen(gen=trials // POPULATION - 1, seed=0))
    started = time.perf_counter()
    algorithm.evolve(pygmo.population(pygmo.problem(Problem()), size=POPULATION, seed=0))
    return time.perf_counter() - started


def journal_storage(folder: Path) -> optuna.storages.BaseStorage:
    """Optuna's append-only file."""
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.log")))


def main() -> None:
    """Take turns and print microseconds per trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--peer-trials", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    own, peer = arguments.trials, arguments.peer_trials
    kinds: dict[str, tuple[int, Callable[[int, Path], float]]] = {
        "nasrun random, journal": (own, nasrun_search("random")),
        "nasrun aging_evolution, journal": (own, nasrun_search("aging_evolution")),
        "nasrun pso, journal": (own, nasrun_search("pso")),
        "nasrun command, start to exit": (own, nasrun_command),
        "drawing and looking up alone": (own, lookups),
        "pygmo pso_gen alone": (own, pygmo_alone),
        "Optuna random, in memory": (peer, optuna_search(lambda folder: optuna.storages.InMemoryStorage())),
        "Optuna random, journal": (peer, optuna_search(journal_storage)),
        "Optuna random, SQLite": (
            peer,
            optuna_search(lambda folder: optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}")),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for run in range(arguments.runs + 1):
        for name, (trials, search) in kinds.items():
            if run or trials == own:  # the first round warms up what is short
                with tempfile.TemporaryDirectory() as folder:
                    seconds = search(trials, Path(folder))
                times[name] += [1e6 * seconds / trials] if run else []
    environment = describe_environment()
    print(
        f"{environment['processor']}, Python {environment['python']}, Optuna {optuna.__version__}, "
        f"pygmo {pygmo.__version__}; microseconds per trial, median of {arguments.runs} runs (min to max)"
    )
    base = statistics.median(times["nasrun random, journal"])
    for name, micro in times.items():
        middle = statistics.median(micro)
        spread = f"({min(micro):.1f} to {max(micro):.1f})"
        print(f"{name:<32} {kinds[name][0]:>5} trials {middle:>10.1f}  {spread:<26} {middle / base:>7.1f}x")


if __name__ == "__main__":
    main()
